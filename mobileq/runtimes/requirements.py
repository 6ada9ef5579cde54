"""What the installed mobileq asks pip for, always and with its extras."""

from __future__ import annotations

import importlib.metadata as metadata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from packaging.requirements import InvalidRequirement, Requirement

from mobileq.errors import NotInstalledError

USERS_EXTRAS = ("bench", "onnx", "tflite", "train")
"""Extras that bring packages for users; the others are for development."""


@dataclass(frozen=True)
class Wanted:
    """A package that is asked for.

    Attributes:
        requirement: With bounds.
        extras: Those that bring it; none for what is always installed.
    """

    requirement: Requirement
    extras: tuple[str, ...] = ()


def requirements() -> list[Wanted]:
    """What the installed mobileq asks pip for, sorted by name.

    An extra's bounds on a package that is always there count if the rest of that extra
    is installed: numpy 2 is fine without escnn.

    Raises:
        NotInstalledError: mobileq itself was not installed by pip.
    """
    try:
        lines = metadata.requires("mobileq") or []
    except metadata.PackageNotFoundError as error:
        raise NotInstalledError(
            "mobileq is not installed, only found on the path; wanted 'pip install "
            "mobileq' (or 'make setup' in its repository)"
        ) from error
    found = {one.name: Wanted(one) for one in _asked(lines, "")}
    always = set(found)
    for extra in USERS_EXTRAS:
        asked = list(_asked(lines, extra))
        others = [one.name for one in asked if one.name not in always]
        chosen = all(installed_version(name) is not None for name in others)
        for one in asked:
            if one.name not in found:
                found[one.name] = Wanted(one, (extra,))
            elif one.name not in always:
                known = found[one.name]
                found[one.name] = replace(known, extras=(*known.extras, extra))
            elif chosen:
                found[one.name].requirement.specifier &= one.specifier
    return [found[name] for name in sorted(found)]


def _asked(lines: Sequence[str], extra: str) -> Iterator[Requirement]:
    """Requirements that hold here with one extra alone, or without any (``)."""
    for line in lines:
        try:
            one = Requirement(line)
        except InvalidRequirement:
            continue
        always = one.marker is None or one.marker.evaluate({"extra": ""})
        if one.marker is not None and extra:
            if not always and one.marker.evaluate({"extra": extra}):
                yield one
        elif always and not extra:
            yield one


def installed_version(name: str) -> str | None:
    """Version of a package, or of one that stands for it; None without one."""
    for candidate in (name, name.removesuffix("-cpu")):
        try:
            return metadata.version(candidate)
        except metadata.PackageNotFoundError:
            continue
    return None
