"""What `mobileq bench` is asked for, checked before anything is measured."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from mobileq.bench.cost import CostPlan
from mobileq.bench.gate import Condition, parse
from mobileq.bench.result import Result, read_result
from mobileq.bench.store import Store
from mobileq.bundle import Bundle
from mobileq.cli.bench_candidates import Choice
from mobileq.cli.output import refuse_existing
from mobileq.data.splits import Split
from mobileq.errors import BundleError, InputError

if TYPE_CHECKING:
    from mobileq.cli.bench_devices import DeviceRequest
    from mobileq.deploy.sources import Source

JSON, REPORT, RESULTS = "bench.json", "report.html", "results"
"""Names in the directory of `--out`."""


@dataclass(frozen=True)
class Images:
    """Where images come from.

    Attributes:
        data: As `mobileq.data.source.open_split` takes it; None: synthetic tissue to
            turn, and no accuracy.
        split: Of the data.
        labels: File with the names of the classes; None for the network's.
        limit: Use so many of them only.
        count: How many are turned, at most.
        resize: Bring them to the network's size, instead of cutting them.
    """

    data: str | None
    split: Split
    labels: Path | None
    limit: int | None
    count: int
    resize: bool

    @property
    def name(self) -> str | None:
        """What the data are called; None without."""
        return None if self.data is None else f"{self.data}, {self.split}"


@dataclass(frozen=True)
class Request:
    """What the command line asks for.

    Attributes:
        target: A bundle, a checkpoint, or how to make a network of one's own.
        choice: Runtimes, kernels and threads.
        images: What is classified and turned.
        cost: How long to time.
        angles: Whether to turn by other than right angles, too.
        profile: Whether to time every operator.
        per_layer: Whether to measure the symmetry of every tensor.
        devices: Phones and boards; None without any.
    """

    target: Bundle | str | Source
    choice: Choice
    images: Images
    cost: CostPlan
    angles: bool
    profile: bool
    per_layer: bool
    devices: DeviceRequest | None = None


@dataclass(frozen=True)
class Outputs:
    """Where results go.

    Attributes:
        folder: Directory for all of them, and for parts as they come.
        json: File for all figures.
        report: File for the HTML report.
        resume: Use parts that still hold, and replace what was made of them.
        overwrite: Measure again, and replace what is there.
        printed: Print the figures as JSON; whatever else there is to say goes to
            standard error.
    """

    folder: Path | None
    json: Path | None
    report: Path | None
    resume: bool
    overwrite: bool
    printed: bool = False

    @property
    def json_files(self) -> tuple[Path, ...]:
        """All files for the figures."""
        made = self.folder and self.folder / JSON
        return tuple(path for path in (made, self.json) if path is not None)

    @property
    def reports(self) -> tuple[Path, ...]:
        """All files for the report."""
        made = self.folder and self.folder / REPORT
        return tuple(path for path in (made, self.report) if path is not None)

    @property
    def wants_page(self) -> bool:
        """Whether a report is asked for."""
        return bool(self.reports)

    def checked(self) -> Outputs:
        """These, if nothing would be lost.

        Raises:
            BundleError: a file is there that may not be replaced.
        """
        for path in filter(None, (self.json, self.report)):
            refuse_existing(path, overwrite=self.overwrite)
        made = self.folder and self.folder / JSON
        if made and made.exists() and not (self.resume or self.overwrite):
            raise BundleError(
                f"{made}: exists already; wanted another --out (or --resume to keep "
                f"results that still hold, or --overwrite to measure again)"
            )
        return self

    @contextmanager
    def store(self, note: Callable[[str], None]) -> Iterator[Store]:
        """Where parts are kept; a directory that goes if none was named."""
        if self.folder is None:
            with TemporaryDirectory(prefix="mobileq-bench-") as folder:
                yield Store.open(Path(folder), note)
            return
        store = Store.open(self.folder / RESULTS, note)
        if self.overwrite:
            store.clear()
        yield store


@dataclass(frozen=True)
class Gate:
    """What makes the command fail.

    Attributes:
        conditions: Each of them.
        baseline: What signed ones are compared with.
        path: Its file.
    """

    conditions: tuple[Condition, ...]
    baseline: Result | None
    path: Path | None


def gate_of(fail_if: str | None, baseline: Path | None) -> Gate | None:
    """Read conditions and baseline, before anything is measured.

    Raises:
        InputError: one of them cannot be used, or there is nothing to check.
    """
    if fail_if is None:
        if baseline is not None:
            raise InputError(
                f"--baseline {baseline} without --fail-if; wanted what must not "
                f"happen (--fail-if 'accuracy<-0.2,p50>+10%')"
            )
        return None
    conditions = parse(fail_if)
    if baseline is None:
        for condition in conditions:
            if condition.relative:
                raise InputError(
                    f"--fail-if {condition} compares with a baseline; wanted an older "
                    f"bench.json (--baseline), or a limit without + or -"
                )
        return Gate(conditions, None, None)
    return Gate(conditions, read_result(baseline), baseline)
