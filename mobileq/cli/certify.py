"""`mobileq certify`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from mobileq.proof import Certificate, Motion

GROUPS = {
    "C2": [(2, False)],
    "C4": [(1, False)],
    "D2": [(2, False), (0, True)],
    "D4": [(1, False), (0, True)],
}
"""Generators, (quarter turns, mirrored), of what --require knows."""


def certify(
    target: Annotated[
        Path, typer.Argument(help="INT8 file (.tflite, .onnx) or a bundle.")
    ],
    require: Annotated[
        str | None,
        typer.Option(help=f"Fail unless this group is proven: {', '.join(GROUPS)}."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Prove from a file alone that turning the image cannot change the answer.

    The file is parsed, not run. Every operator is shown to commute with quarter turns
    and mirror images, exactly and for every image; or the first one that does not is
    named. Exit code 1 if nothing, or not what is required, is proven.
    """
    from mobileq.certify import certify_path
    from mobileq.errors import InputError, VerificationError

    if require is not None and require not in GROUPS:
        raise InputError(f"--require is {require!r}; wanted {' or '.join(GROUPS)}")
    found = certify_path(target)
    if as_json:
        _print_json(found)
    else:
        _print(found)
    for name, certificate in found.items():
        if require is not None and not certificate.covers(GROUPS[require]):
            raise VerificationError(
                f"{name}: {certificate.group} is proven; wanted {require}"
            )
        if not certificate.proof.proven:
            raise VerificationError(
                f"{name}: no symmetry is proven; wanted one (the operator that breaks "
                f"it is named above)"
            )


def _print_json(found: dict[str, Certificate]) -> None:
    """Print one object per file."""
    import json

    plain = [{"file": name, **found[name].to_dict()} for name in found]
    typer.echo(json.dumps(plain, indent=1, allow_nan=False))


def _print(found: dict[str, Certificate]) -> None:
    """Print what is proven, what is not and why, and the assumptions."""
    from mobileq.cli.output import console

    lines: list[str] = []
    for name, certificate in found.items():
        lines += [f"{name}: {verdict(certificate)}", *_details(certificate)]
    sets = {certificate.assumptions for certificate in found.values()}
    assumptions = dict.fromkeys(line for one in sorted(sets) for line in one)
    if any(certificate.proof.proven for certificate in found.values()):
        lines += ["", "This holds for every image, and rests on these assumptions:"]
        lines += [f"  - {line}" for line in assumptions]
    screen = console()
    for line in lines:
        screen.print(line, soft_wrap=True, markup=False)


def verdict(certificate: Certificate) -> str:
    """What is proven, in a sentence."""
    if not certificate.proof.proven:
        return "nothing is proven"
    effect = "changes no bit of the output"
    if not certificate.whole_image:
        effect = "does the same to the output, to the bit"
    return f"{certificate.group} is proven: {_motions(certificate)} {effect}"


def _motions(certificate: Certificate) -> str:
    """Proven turns and mirror images in words."""
    proven = certificate.proof.proven
    turns = {motion.turns for motion in proven if not motion.mirrored}
    mirrors = [str(m).removeprefix("mirrored ") for m in proven if m.mirrored]
    how = "in any way" if len(mirrors) == 4 else " or ".join(mirrors)
    if not turns:
        return f"mirroring the image {how}"
    angles = "90, 180 or 270" if 1 in turns else "180"
    mirroring = f", or mirroring it {how}," if mirrors else ""
    return f"turning the image by {angles} degrees{mirroring}"


def _details(certificate: Certificate) -> list[str]:
    """What was compared, and where other motions break, once for each operator."""
    proof = certificate.proof
    lines = []
    if proof.proven:
        lines.append(
            f"  {certificate.operators} operators, {proof.numbers:,} integers "
            f"compared; no sum exceeds {proof.largest_sum:,} of 2^31"
        )
    from mobileq.proof.motions import CHECKED

    broken: dict[int, list[Motion]] = {}
    for motion, found in sorted(proof.breaks.items()):
        broken.setdefault(found.position, []).append(motion)
    for position, motions in broken.items():
        names = ", ".join(str(motion) for motion in motions)
        if len(motions) == 4 and all(motion.mirrored for motion in motions):
            names = "mirrored in any way"
        elif len(motions) == len(CHECKED):
            names = "turned or mirrored in any way"
        lines.append(f"  not {names}: operator {position}, {proof.breaks[motions[0]]}")
    return lines
