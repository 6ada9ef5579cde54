"""What is found out on devices, as rows: files, settings, devices side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass
from math import prod
from pathlib import Path
from typing import Any, TypeVar

from mobileq_android.bundle import Model
from mobileq_android.errors import DeviceGoneError, StoppedError, ToolError
from mobileq_android.facts import Device
from mobileq_android.images import Patches
from mobileq_android.plan import Inputs, Timed
from mobileq_android.process import Stop
from mobileq_android.session import Session
from mobileq_android.state import State
from mobileq_android.tools import Setting

_Found = TypeVar("_Found")


@dataclass(frozen=True)
class Turned:
    """What turning the image changes on the device.

    Attributes:
        compared: Turned images: images times three quarter turns.
        changed: How many of their outputs differ in any bit.
    """

    compared: int
    changed: int


@dataclass(frozen=True)
class Row:
    """One file with one setting on one device.

    Attributes:
        device: Its name.
        file: Of the model.
        setting: How it was run.
        unavailable: Why there are no times; None if there are.
        timed: Times, and how the device was.
        turned: What turning changes; None if that was not asked.
        note: Why it was not; empty otherwise.
    """

    device: str
    file: str
    setting: Setting
    unavailable: str | None = None
    timed: Timed | None = None
    turned: Turned | None = None
    note: str = ""


@dataclass(frozen=True)
class Report:
    """Everything that one device gave.

    Attributes:
        name: Of the device.
        device: What it is; None if it could not be asked.
        state: How it was at the beginning.
        rows: Figures.
        failure: Why there are no more rows; None if there are all.
    """

    name: str
    device: Device | None
    state: State | None
    rows: tuple[Row, ...]
    failure: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def together(
    names: Sequence[str], work: Callable[[str], _Found], stop: Stop
) -> list[_Found]:
    """Do the same on several devices at once.

    Args:
        names: Of the devices.
        work: What is done with each, in a thread of its own.
        stop: Set when something fails or the user interrupts; then all end and clean
            up before this function does.

    Raises:
        PhoneError: what one of them raises.
    """
    with ThreadPoolExecutor(max_workers=max(1, len(names))) as pool:
        futures = [pool.submit(work, name) for name in names]
        try:
            wait(futures, return_when=FIRST_EXCEPTION)
        finally:
            # Where nothing failed all have ended, and nobody hears it.
            stop.set()
    errors = [error for error in (one.exception() for one in futures) if error]
    # Those that were stopped say nothing of why.
    for error in sorted(errors, key=stopped):
        raise error
    return [future.result() for future in futures]


def measure(
    session: Session,
    models: Sequence[Model],
    settings: Sequence[Setting],
    patches: Patches | None,
) -> Report:
    """Run all files with all settings on a device.

    A setting that fails is a row that says why; a device that vanishes ends the list.

    Args:
        session: The device.
        models: Files.
        settings: How each is run. What turning changes does not depend on threads, so
            the first setting of each delegate is asked.
        patches: Images to turn; none by default.

    Raises:
        PhoneError: a file does not fit on the device.
        StoppedError: the user stopped us.
    """
    before = session.state()
    rows: list[Row] = []
    asked: set[tuple[Path, str]] = set()
    try:
        paths = {model.path: session.put(model.path) for model in models}
        for setting in settings:
            # Both files in turn, so that heat meets them alike.
            for model in models:
                key = (model.path, setting.delegate)
                images = None if key in asked else patches
                asked.add(key)
                rows.append(_row(session, model, paths[model.path], setting, images))
    except DeviceGoneError as error:
        return Report(
            session.device.name, session.device, before, tuple(rows), str(error)
        )
    return Report(session.device.name, session.device, before, tuple(rows))


def _row(
    session: Session,
    model: Model,
    path: str,
    setting: Setting,
    patches: Patches | None,
) -> Row:
    """One file with one setting."""
    name = session.device.name
    reason = session.why_not(setting)
    if reason is not None:
        return Row(name, model.path.name, setting, unavailable=reason)
    try:
        timed = session.time(path, setting)
    except ToolError as error:
        return Row(name, model.path.name, setting, unavailable=str(error))
    turned, note = None, ""
    if patches is not None:
        try:
            turned = _turned(session, model, path, setting, patches)
        except ToolError as error:
            note = str(error)
    return Row(
        name, model.path.name, timed.setting, timed=timed, turned=turned, note=note
    )


def _turned(
    session: Session, model: Model, path: str, setting: Setting, patches: Patches
) -> Turned:
    """What quarter turns change.

    Raises:
        ToolError: outputs cannot be had or compared.
    """
    source, made = model.source, model.made
    if source.shape != (1, *patches.shape[1:]) or not patches.square:
        raise ToolError(
            f"{model.path.name}: images of shape {patches.shape[1:]} are not turned; "
            f"wanted square ones for an input of shape {source.shape}"
        )
    if source.kind == "float32" and model.pixels is None:
        raise ToolError(
            f"{model.path.name}: nothing says how its pixels are normalized; wanted "
            f"the bundle that it is from"
        )
    if len(made.shape) != 2:
        raise ToolError(
            f"{model.path.name}: returns {made.shape}; wanted a vector ('mobileq bench "
            f"--runtime android' compares maps too)"
        )
    pixels = model.pixels or (1.0, 0.0)
    parts = [patches.turned(k).as_input(source.kind, *pixels) for k in range(4)]
    count = 4 * patches.count
    inputs = Inputs(b"".join(parts), source.name, source.shape, count)
    found = session.outputs(path, setting, inputs)
    size = prod(made.shape) * made.item_bytes
    if len(found) != size * count:
        raise ToolError(
            f"{model.path.name}: {len(found)} bytes came back for {count} images; "
            f"wanted {size} for each"
        )
    each = [found[i * size : (i + 1) * size] for i in range(count)]
    still = each[: patches.count]
    moved = each[patches.count :]
    changed = sum(one != still[i % patches.count] for i, one in enumerate(moved))
    return Turned(len(moved), changed)


def stopped(error: BaseException) -> bool:
    """Whether something ended because the user wanted it to."""
    return isinstance(error, (KeyboardInterrupt, StoppedError))
