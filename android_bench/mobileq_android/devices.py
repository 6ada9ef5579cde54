"""Which devices are asked for, and how each is worked with."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from mobileq_android.adb import AdbTarget, choose, connected, find_adb
from mobileq_android.plan import Options
from mobileq_android.process import Stop
from mobileq_android.ssh import SshTarget
from mobileq_android.target import Target
from mobileq_android.tools import VARIABLE

BOARD_PYTHON = "python3"


@dataclass(frozen=True)
class Wanted:
    """What a command line asks for.

    Attributes:
        phones: Whether phones are asked for, named or not.
        serials: Their serial numbers, or `all`.
        hosts: Boards, as ssh takes them.
        adb: The adb program; None for the one on PATH.
        options: For all of them.
    """

    phones: bool
    serials: Sequence[str] = ()
    hosts: Sequence[str] = ()
    adb: str | None = None
    options: Options = field(default_factory=Options)


@dataclass(frozen=True)
class Chosen:
    """A device to work with.

    Attributes:
        target: The device.
        options: How.
    """

    target: Target
    options: Options


def find(wanted: Wanted, stop: Stop) -> dict[str, Chosen]:
    """The devices, by name: phones first.

    The environment's MOBILEQ_BENCHMARK_MODEL is made for phones. A board has Python, or
    is given its own tool.

    Raises:
        PhoneError: one of them cannot be used.
    """
    found: dict[str, Chosen] = {}
    options = wanted.options
    if wanted.phones:
        named = os.environ.get(VARIABLE)
        binary = options.binary or (Path(named) if named else None)
        adb = find_adb(wanted.adb)
        for serial in choose(connected(adb, stop), wanted.serials):
            target = AdbTarget(adb, serial, stop)
            found[serial] = Chosen(target, replace(options, binary=binary))
    for host in dict.fromkeys(wanted.hosts):
        python = options.python or (None if options.binary else BOARD_PYTHON)
        found[host] = Chosen(SshTarget(host, stop), replace(options, python=python))
    return found
