"""Figures that a condition of `mobileq bench --fail-if` can name, in one table.

Each is a number that is 0 or more; shares are counted in percent.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from mobileq.bench.equivariance import ExactSymmetry
from mobileq.bench.figures import Accuracy, Cost, Row
from mobileq.bench.statistics import Estimate

_PERCENT = "%"
_KIB = 1024
_MIB = 1024**2


@dataclass(frozen=True)
class Metric:
    """A figure of a row.

    Attributes:
        unit: In which it is counted.
        get: The figure of a row, given all rows of its result; None where it was not
            measured.
        description: What it is, in a few words.
        highest: Largest value that it can have.
    """

    unit: str
    get: Callable[[Row, Sequence[Row]], float | None]
    description: str
    highest: float = math.inf

    @property
    def in_percent(self) -> bool:
        """Whether it is counted in percent, and differences in percentage points."""
        return self.unit == _PERCENT

    @property
    def unit_of_difference(self) -> str:
        """Unit of one figure minus another."""
        return "percentage points" if self.in_percent else self.unit


def figure(name: str, row: Row | None, rows: Sequence[Row]) -> float | None:
    """A figure of a row; None where it was not measured.

    Args:
        name: One of `METRICS`.
        row: The row; None where there is none.
        rows: All rows of its result.
    """
    if row is None or row.unavailable is not None:
        return None
    return METRICS[name].get(row, rows)


def _score(get: Callable[[Accuracy], Estimate | None], description: str) -> Metric:
    """A share that labelled images give."""

    def percent(row: Row, rows: Sequence[Row]) -> float | None:
        found = None if row.accuracy is None else get(row.accuracy)
        return None if found is None else 100 * found.value

    return Metric(_PERCENT, percent, description, highest=100)


def _cost(unit: str, get: Callable[[Cost], float | None], description: str) -> Metric:
    """A figure of time or memory."""

    def cost(row: Row, rows: Sequence[Row]) -> float | None:
        return None if row.cost is None else get(row.cost)

    return Metric(unit, cost, description)


def _moved(get: Callable[[Row], ExactSymmetry | None], description: str) -> Metric:
    """A count of outputs that motions change.

    Of integer rows alone: floats are summed in another order when the image is turned,
    and no one claims that no bit of them changes.
    """

    def changed(row: Row, rows: Sequence[Row]) -> float | None:
        if row.label.precision == "float":
            return None
        found = get(row)
        # No image that was moved: 0 of 0 changed, which says nothing.
        return None if found is None or not found.compared else found.changed

    return Metric("outputs", changed, description)


def _agreement(row: Row, rows: Sequence[Row]) -> float | None:
    """Share of images in the float network's class, in percent."""
    found = row.agreement
    return None if found is None else 100 * found.same_class.value


def _kibibytes(row: Row, rows: Sequence[Row]) -> float | None:
    """Size of the file."""
    return row.label.file_bytes / _KIB


def _angle_error(row: Row, rows: Sequence[Row]) -> float | None:
    """Mean over the angles at which pixels are interpolated, in percent."""
    found = [angle.mean for angle in row.angles if not angle.on_grid]
    return 100 * math.fsum(found) / len(found) if found else None


def _speedup(row: Row, rows: Sequence[Row]) -> float | None:
    """The float row's median divided by this one's; None for a float row itself."""
    label = row.label
    if row.cost is None or label.precision == "float":
        return None
    wanted = (label.device, label.runtime, label.kernel, "float", label.threads)
    floats = [
        other.cost.latency.typical_ms
        for other in rows
        if other.cost is not None
        and other.unavailable is None
        and wanted
        == (
            other.label.device,
            other.label.runtime,
            other.label.kernel,
            other.label.precision,
            other.label.threads,
        )
    ]
    # Of several float files, nothing says which one this file was made from.
    if len(floats) != 1:
        return None
    median = row.cost.latency.typical_ms
    return floats[0] / median if median else math.nan


METRICS: Mapping[str, Metric] = MappingProxyType(
    {
        "accuracy": _score(lambda found: found.accuracy, "share of correct classes"),
        "auc": _score(lambda found: found.auc, "area under the ROC curve"),
        "sensitivity": _score(
            lambda found: found.sensitivity, "share of class 1 that is found"
        ),
        "specificity": _score(
            lambda found: found.specificity, "share of class 0 that is left alone"
        ),
        "f1": _score(
            lambda found: found.f1, "harmonic mean of precision and sensitivity"
        ),
        "calibration": _score(
            lambda found: found.calibration_error, "expected calibration error"
        ),
        "agreement": Metric(
            _PERCENT, _agreement, "images in the float network's class", highest=100
        ),
        "p50": _cost("ms", lambda cost: cost.latency.median_ms, "median latency"),
        "p90": _cost(
            "ms", lambda cost: cost.latency.p90_ms, "90th percentile of the latency"
        ),
        "p99": _cost(
            "ms", lambda cost: cost.latency.p99_ms, "99th percentile of the latency"
        ),
        "mean": _cost("ms", lambda cost: cost.latency.mean_ms, "mean latency"),
        "first": _cost("ms", lambda cost: cost.first_ms, "first inference"),
        "load": _cost("ms", lambda cost: cost.load_ms, "loading, without imports"),
        "throughput": _cost(
            "images/s", lambda cost: cost.images_per_second, "many images in one call"
        ),
        "memory": _cost(
            "MiB",
            lambda cost: cost.peak_rss_bytes and cost.peak_rss_bytes / _MIB,
            "most resident memory of the process",
        ),
        "size": Metric("KiB", _kibibytes, "size of the file"),
        "changed": _moved(
            lambda row: row.rotations,
            "outputs of INT8 files that quarter turns change in any bit",
        ),
        "mirrored": _moved(
            lambda row: row.mirrors,
            "outputs of INT8 files that mirror images change in any bit",
        ),
        "angle": Metric(
            _PERCENT,
            _angle_error,
            "mean relative error at angles that are no multiples of 90 degrees",
        ),
        "speedup": Metric(
            "times",
            _speedup,
            "median of the float row with the same runtime, kernel and threads, "
            "divided by this row's",
        ),
    }
)
"""Every figure by its name in a condition, in the order in which the docs show them."""
