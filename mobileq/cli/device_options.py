"""Options for phones and boards."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from mobileq.cli.bench_devices import DeviceRequest

_PANEL = "Phones and boards"

Serial = Annotated[
    list[str] | None,
    typer.Option(
        help="Phone, as 'adb devices' lists it, or 'all'; may be repeated. (default: "
        "ANDROID_SERIAL, or the only one)",
        rich_help_panel=_PANEL,
    ),
]
Ssh = Annotated[
    list[str] | None,
    typer.Option(
        metavar="USER@HOST",
        help="Linux board, reached by ssh without a password; may be repeated.",
        rich_help_panel=_PANEL,
    ),
]
Delegate = Annotated[
    list[str] | None,
    typer.Option(
        help="xnnpack, builtin, gpu or nnapi; may be repeated. (default: xnnpack, and "
        "gpu and nnapi on phones)",
        rich_help_panel=_PANEL,
    ),
]
BenchmarkBinary = Annotated[
    Path | None,
    typer.Option(
        help="benchmark_model or benchmark_litert_model for the device. (default: "
        "MOBILEQ_BENCHMARK_MODEL)",
        rich_help_panel=_PANEL,
    ),
]
DevicePython = Annotated[
    str | None,
    typer.Option(
        help="Python with ai-edge-litert on the device. (default: python3 on boards)",
        rich_help_panel=_PANEL,
    ),
]
DevicePackages = Annotated[
    str | None,
    typer.Option(
        help="Directory on the device to import ai-edge-litert from.",
        rich_help_panel=_PANEL,
    ),
]
AdbProgram = Annotated[
    str | None,
    typer.Option(
        help="The adb program. (default: ADB, or the one on PATH)",
        rich_help_panel=_PANEL,
    ),
]
CoolDown = Annotated[
    float,
    typer.Option(
        min=0, help="Seconds of rest before each run.", rich_help_panel=_PANEL
    ),
]
Pin = Annotated[
    bool,
    typer.Option(
        "--pin/--no-pin",
        help="Keep threads on the fastest cores.",
        rich_help_panel=_PANEL,
    ),
]
Keep = Annotated[
    bool,
    typer.Option(
        "--keep",
        help="Leave pushed files on the device; the next run pushes nothing.",
        rich_help_panel=_PANEL,
    ),
]


def request_of(
    *,
    phones: bool,
    serials: Sequence[str] | None,
    hosts: Sequence[str] | None,
    delegates: Sequence[str] | None,
    threads: tuple[int, ...],
    adb: str | None,
    binary: Path | None,
    python: str | None,
    packages: str | None,
    runs: int,
    seconds: float,
    cool_down: float,
    pin: bool,
    keep: bool,
) -> DeviceRequest:
    """What the options ask for.

    Raises:
        InputError: an unknown delegate.
    """
    from mobileq.cli.bench_devices import DeviceRequest
    from mobileq.cli.bench_inputs import chosen_of
    from mobileq_android.devices import Wanted
    from mobileq_android.plan import Options
    from mobileq_android.tools import DELEGATES, Budget

    options = Options(
        binary=binary,
        python=python,
        packages=packages,
        budget=Budget(runs, seconds),
        cool_down=cool_down,
        pin=pin,
        keep=keep,
    )
    return DeviceRequest(
        Wanted(phones, tuple(serials or ()), tuple(hosts or ()), adb, options),
        chosen_of("--delegate", delegates or (), DELEGATES),
        threads,
    )
