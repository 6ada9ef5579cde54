"""The command line of benchmark_android.py."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Any

from mobileq_android.bundle import models_of
from mobileq_android.devices import Wanted, find
from mobileq_android.errors import DeviceGoneError, PhoneError
from mobileq_android.images import read_patches
from mobileq_android.plan import Options
from mobileq_android.process import Stop
from mobileq_android.report import text
from mobileq_android.rows import Report, measure, stopped, together
from mobileq_android.session import Session
from mobileq_android.tools import DELEGATES, Budget, settings, usual_delegates

_DESCRIPTION = """\
Time TFLite files on Android phones (adb) and Linux boards (ssh), and see whether
turning the image changes what they answer there. Needs Python 3.11 or newer and adb.
The same with accuracy and a report: mobileq bench --runtime android.
"""


_LIST: dict[str, Any] = {"action": "append", "default": []}
_DEVICES: tuple[tuple[str, dict[str, Any], str], ...] = (
    (
        "--serial",
        {**_LIST, "metavar": "NAME"},
        "as 'adb devices' lists it, or 'all'; may be repeated (default: "
        "ANDROID_SERIAL, or the only one)",
    ),
    ("--ssh", {**_LIST, "metavar": "HOST"}, "Linux board, user@host; may be repeated"),
    ("--adb", {}, "the adb program (default: ADB, or the one on PATH)"),
    (
        "--benchmark-binary",
        {"type": Path},
        "benchmark_model or benchmark_litert_model for the device (default: "
        "MOBILEQ_BENCHMARK_MODEL)",
    ),
    (
        "--device-python",
        {},
        "Python with ai-edge-litert there (default: python3 on boards, none on phones)",
    ),
    ("--device-packages", {}, "directory there to import ai-edge-litert from"),
    ("--keep", {"action": "store_true"}, "leave pushed files on the device"),
)
_MEASURING: tuple[tuple[str, dict[str, Any], str], ...] = (
    ("--threads", {"default": "1,2,4"}, "of one inference (default: 1,2,4)"),
    (
        "--delegate",
        {"action": "append", "choices": DELEGATES},
        "may be repeated (default: xnnpack, and gpu and nnapi on phones)",
    ),
    (
        "--patches",
        {"type": Path, "metavar": "FILE.npy"},
        "uint8 (N, H, W, C); turned, and run on the device",
    ),
    ("--runs", {"type": int, "default": 50}, "timed, at least (default: 50)"),
    ("--seconds", {"type": float, "default": 1.0}, "timed, at least (default: 1)"),
    ("--cool-down", {"type": float, "default": 5.0}, "rest before each (default: 5 s)"),
    ("--patience", {"type": float, "default": 180.0}, "longest run (default: 180 s)"),
    ("--no-pin", {"action": "store_true"}, "use all cores, not the fastest ones"),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; its exit code."""
    told = _parser().parse_args(arguments)
    stop = Stop()

    def interrupted(number: int, frame: FrameType | None) -> None:
        stop.set()
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupted)
    try:
        return _run(told, stop)
    except PhoneError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("interrupted; the devices have been cleaned", file=sys.stderr)
        return 130


def _run(told: argparse.Namespace, stop: Stop) -> int:
    """Measure and print.

    Raises:
        PhoneError: something is wrong.
    """
    models = [model for path in told.model for model in models_of(path)]
    patches = None if told.patches is None else read_patches(told.patches)
    if told.json is not None:
        _check(told.json, overwrite=told.overwrite)
    threads = _threads(told.threads)
    options = Options(
        binary=told.benchmark_binary,
        python=told.device_python,
        packages=told.device_packages,
        budget=Budget(told.runs, told.seconds),
        cool_down=told.cool_down,
        pin=not told.no_pin,
        keep=told.keep,
        patience=told.patience,
    )
    phones = bool(told.serial or not told.ssh)
    chosen = find(Wanted(phones, told.serial, told.ssh, told.adb, options), stop)

    def work(name: str) -> Report:
        one, report = chosen[name], Report(name, None, None, ())
        try:
            with Session(one.target, one.options, stop, _note) as session:
                delegates = told.delegate or usual_delegates(session.device.kind)
                wanted = settings(delegates, threads)
                report = measure(session, models, wanted, patches)
        except DeviceGoneError as error:
            # Perhaps only while it was cleaned up.
            return report if report.failure else replace(report, failure=str(error))
        return report

    try:
        reports = together(list(chosen), work, stop)
    except BaseException as error:
        if stopped(error):
            raise KeyboardInterrupt from error
        raise
    for report in reports:
        print(text(report), end="\n\n")
    if told.json is not None:
        _write(reports, told.json)
    return 1 if any(report.failure or not _timed(report) for report in reports) else 0


def _check(path: Path, *, overwrite: bool) -> None:
    """Check that a file can be written, before anything is measured.

    Raises:
        PhoneError: it exists, or its directory does not.
    """
    if path.exists() and not overwrite:
        raise PhoneError(
            f"{path}: exists already; wanted another --json-file (or --overwrite)"
        )
    if not path.parent.is_dir():
        raise PhoneError(
            f"{path}: cannot be written (no directory {path.parent}); wanted one that "
            f"exists (name another --json-file)"
        )


def _timed(report: Report) -> bool:
    """Whether there is any figure."""
    return any(row.timed for row in report.rows)


def _threads(text: str) -> list[int]:
    """Numbers of threads.

    Raises:
        PhoneError: not positive whole numbers.
    """
    parts = [part.strip() for part in text.split(",")]
    if not all(p.isascii() and p.isdigit() and 1 <= int(p[:5]) <= 64 for p in parts):
        raise PhoneError(f"--threads is {text[:60]!r}; wanted numbers such as 1,2,4")
    return [int(part) for part in parts]


def _note(line: str) -> None:
    """Say what is going on, on standard error."""
    print(line, file=sys.stderr)


def _write(reports: Sequence[Report], path: Path) -> None:
    """Write all figures, whole or not at all.

    Raises:
        PhoneError: the file cannot be written.
    """
    values = {"format": "mobileq-android", "version": 1}
    content = {**values, "devices": [report.to_dict() for report in reports]}
    try:
        with tempfile.NamedTemporaryFile(
            "w", dir=path.parent, prefix=f".{path.name}.", delete=False
        ) as file:
            try:
                json.dump(content, file, indent=1, allow_nan=False)
                file.flush()
                os.replace(file.name, path)
            except BaseException:
                os.unlink(file.name)
                raise
    except OSError as error:
        raise PhoneError(
            f"{path}: cannot be written ({error.strerror}); wanted a directory that "
            f"can be (name another --json-file)"
        ) from error


def _parser() -> argparse.ArgumentParser:
    """What the command takes."""
    parser = argparse.ArgumentParser(
        prog="benchmark_android.py", description=_DESCRIPTION, allow_abbrev=False
    )
    add = parser.add_argument
    add("model", nargs="+", type=Path, help="bundle, or .tflite file")
    for title, options in (("devices", _DEVICES), ("measuring", _MEASURING)):
        group = parser.add_argument_group(title)
        for name, more, what in options:
            group.add_argument(name, help=what, **more)
    add("--json-file", dest="json", type=Path, help="write all figures to this file")
    add("--overwrite", action="store_true", help="replace the file of --json-file")
    return parser
