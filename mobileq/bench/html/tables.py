"""The report's tables as text: what stands in each cell."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from mobileq.bench.figures import Accuracy, Cost, Row
from mobileq.bench.html.layers import Layer
from mobileq.bench.html.text import (
    TIMES,
    decimal,
    error,
    interval,
    kibibytes,
    mebibytes,
    milliseconds,
    percent,
    points,
    probability,
)
from mobileq.bench.layer_report import LayerErrors, TensorError
from mobileq.bench.naming import row_names, speed_up
from mobileq.bench.statistics import Estimate
from mobileq.bench.tables import number


@dataclass(frozen=True)
class Cell:
    """One figure.

    Attributes:
        text: The figure.
        detail: Below it, smaller: an interval or a count.
        mood: `good` or `bad` where it can be told; empty otherwise.
    """

    text: str
    detail: str = ""
    mood: str = ""


@dataclass(frozen=True)
class Line:
    """One row of a table.

    Attributes:
        name: Its head.
        detail: Below it, smaller.
        cells: One per header.
        note: What stands in the cells' place; None where they are shown.
    """

    name: str
    detail: str
    cells: tuple[Cell, ...]
    note: str | None = None


@dataclass(frozen=True)
class Table:
    """One table.

    Attributes:
        caption: Above it.
        first: Header of the lines' names.
        headers: Of the cells.
        lines: Its rows.
    """

    caption: str
    first: str
    headers: tuple[str, ...]
    lines: tuple[Line, ...]


_Column = tuple[str, Callable[[Row], Cell | None]]


def comparison(rows: Sequence[Row]) -> Table:
    """All rows: size, time, accuracy, agreement, symmetry.

    Args:
        rows: Those that were not measured say why.
    """
    columns: tuple[_Column, ...] = (
        ("size, KiB", lambda row: Cell(kibibytes(row.label.file_bytes))),
        ("p50, ms", lambda row: _time(row, "median_ms")),
        ("p90, ms", lambda row: _time(row, "p90_ms")),
        ("p99, ms", lambda row: _time(row, "p99_ms")),
        ("faster than float", lambda row: _speed_up(row, rows)),
        ("accuracy, 95 % interval", lambda row: _share(row, "accuracy")),
        ("same class as float", _same_class),
        ("changed by turns of 90°", lambda row: _changed(row, "rotations")),
        ("changed by mirroring", lambda row: _changed(row, "mirrors")),
        *([("unlike this machine", _host)] if any(row.host for row in rows) else []),
    )
    return _table("All files on all runtimes", rows, columns, rows)


def costs(rows: Sequence[Row]) -> Table | None:
    """Load time, throughput and memory; None where nothing was timed."""
    columns: tuple[_Column, ...] = (
        ("load, ms", _of_cost(lambda cost: Cell(milliseconds(cost.load_ms)))),
        ("first, ms", _of_cost(lambda cost: Cell(milliseconds(cost.first_ms)))),
        ("mean, ms", _of_cost(lambda c: Cell(milliseconds(c.latency.mean_ms)))),
        ("runs", _of_cost(_runs)),
        ("images per second", _of_cost(_throughput)),
        ("peak memory, MiB", _of_cost(lambda c: Cell(mebibytes(c.peak_rss_bytes)))),
        ("of it the model's", _of_cost(lambda c: Cell(mebibytes(c.model_rss_bytes)))),
    )
    timed = [row for row in rows if row.cost is not None]
    return _table("What running costs", timed, columns, rows) if timed else None


def scores(rows: Sequence[Row]) -> Table | None:
    """All scores on labelled images; None where there were none."""
    columns: tuple[_Column, ...] = (
        ("images", _of_accuracy(lambda found: Cell(f"{found.count:,}"))),
        ("accuracy", lambda row: _share(row, "accuracy")),
        ("AUC", lambda row: _score(row, "auc")),
        ("sensitivity", lambda row: _share(row, "sensitivity")),
        ("specificity", lambda row: _share(row, "specificity")),
        ("F1", lambda row: _score(row, "f1")),
        ("calibration error", lambda row: _score(row, "calibration_error")),
        ("loss, nats", _of_accuracy(lambda found: Cell(decimal(found.loss, 4)))),
        ("against float, points", _difference),
        ("McNemar's p", _mcnemar),
    )
    scored = [row for row in rows if row.accuracy is not None]
    if not scored:
        return None
    return _table("Scores with 95 % intervals", scored, columns, rows)


def layer_table(layers: Sequence[Layer]) -> Table:
    """All layers in the order of the network."""
    lines = [
        Line(
            layer.name,
            "",
            (
                Cell(layer.kind),
                Cell("" if layer.before is None else decimal(layer.before.spread, 1)),
                Cell("" if layer.after is None else decimal(layer.after.spread, 1)),
                Cell(decimal(layer.weight_sqnr_db, 1)),
                Cell(decimal(layer.tensor_sqnr_db, 1)),
                Cell(decimal(layer.cost_db, 1)),
            ),
        )
        for layer in layers
    ]
    headers = (
        "kind",
        "widest : narrowest channel, as trained",
        "after the passes",
        "weights, dB",
        "what it makes, dB",
        "logits, it alone quantized, dB",
    )
    return Table("Every layer", "layer", headers, tuple(lines))


def _table(
    caption: str, shown: Sequence[Row], columns: Sequence[_Column], rows: Sequence[Row]
) -> Table:
    """Columns without any figure are left out; names are those among all rows."""
    measured = [row for row in shown if row.unavailable is None]
    kept = [(head, cell) for head, cell in columns if any(map(cell, measured))]
    lines = []
    for name, row in zip(row_names(rows), rows, strict=True):
        if not any(row is one for one in shown):
            continue
        cells = tuple(cell(row) or Cell("") for _, cell in kept)
        detail = "" if row.label.file in name else row.label.file
        lines.append(Line(name, detail, cells, row.unavailable))
    return Table(caption, "runtime and kernel", tuple(h for h, _ in kept), tuple(lines))


def _time(row: Row, name: str) -> Cell | None:
    """One percentile."""
    if row.cost is None:
        return None
    return Cell(milliseconds(getattr(row.cost.latency, name)))


def _speed_up(row: Row, rows: Sequence[Row]) -> Cell | None:
    """How many times faster than the float row of the same runtime."""
    found = speed_up(row, rows)
    if found is None:
        return None
    mood = "good" if found > 1.05 else "bad" if found < 0.95 else ""
    return Cell(f"{found:.2f} {TIMES}", "", mood)


def _share(row: Row, name: str) -> Cell | None:
    """A share in percent, with its interval."""
    found: Estimate | None = getattr(row.accuracy, name, None)
    return Cell(percent(found.value), interval(found)) if found else None


def _score(row: Row, name: str) -> Cell | None:
    """A score from 0 to 1, with its interval."""
    found: Estimate | None = getattr(row.accuracy, name, None)
    if not found:
        return None
    return Cell(decimal(found.value, 4), interval(found, scale=1.0, digits=4))


def _same_class(row: Row) -> Cell | None:
    """Agreement with the float network."""
    if row.agreement is None:
        return None
    found = row.agreement.same_class
    return Cell(percent(found.value), interval(found))


def _difference(row: Row) -> Cell | None:
    """Accuracy minus the float network's."""
    if row.agreement is None:
        return None
    found = row.agreement.accuracy
    return Cell(points(found.difference.value), interval(found.difference))


def _mcnemar(row: Row) -> Cell | None:
    """The p-value, and the images that decide it."""
    if row.agreement is None:
        return None
    found = row.agreement.accuracy
    return Cell(
        probability(found.p_value),
        f"{found.only_first:,} gained, {found.only_second:,} lost",
    )


def _changed(row: Row, name: str) -> Cell | None:
    """Outputs that differ in any bit."""
    found = getattr(row, name)
    if found is None:
        return None
    detail = "" if not found.changed else f"at most {error(found.max_relative)}"
    mood = "" if found.changed else "good"
    return Cell(f"{found.changed:,} of {found.compared:,}", detail, mood)


def _runs(cost: Cost) -> Cell:
    """How often it was timed, and whether the warm-up had settled."""
    settled = "" if cost.steady else "not steady"
    return Cell(f"{cost.latency.runs:,}", settled, "" if cost.steady else "bad")


def _throughput(cost: Cost) -> Cell | None:
    """Images per second, where that was measured."""
    if cost.images_per_second is None:
        return None
    return Cell(f"{cost.images_per_second:,.0f}")


def _host(row: Row) -> Cell | None:
    """Outputs of a device that are not this machine's."""
    if row.host is None:
        return None
    step = row.host.largest_step
    detail = "" if step is None else f"at most {step} LSB"
    return Cell(f"{row.host.differing}/{row.host.images}", detail)


def _of_cost(cell: Callable[[Cost], Cell | None]) -> Callable[[Row], Cell | None]:
    """A cell of a row that has a cost."""
    return lambda row: None if row.cost is None else cell(row.cost)


def _of_accuracy(cell: Callable[[Accuracy], Cell]) -> Callable[[Row], Cell | None]:
    """A cell of a row that has scores."""
    return lambda row: None if row.accuracy is None else cell(row.accuracy)


def symmetry_table(errors: LayerErrors) -> Table:
    """Every tensor: SQNR, the exact turns, the smallest rotation.

    Args:
        errors: In the order of the network.
    """
    headers = ["SQNR, dB", "float, exact turns", "INT8 values changed"]
    steps = errors.degrees is not None
    if steps:
        headers += [f"{kind}, {errors.degrees:g}°" for kind in ("float", "INT8")]
    lines = tuple(
        Line(tensor.name, tensor.kind, _tensor(tensor, steps=steps))
        for tensor in errors.tensors
    )
    caption = f"{errors.group}, {errors.images} images"
    return Table(caption, "tensor", tuple(headers), lines)


def _tensor(tensor: TensorError, *, steps: bool) -> tuple[Cell, ...]:
    """Figures of one tensor."""
    changed = tensor.changed_values
    mood = "" if changed is None else "bad" if changed else "good"
    cells = [
        Cell(number(tensor.sqnr_db, ".1f")),
        Cell(number(tensor.float_exact, ".0e")),
        Cell("0" if changed == 0 else number(changed, ".2%"), mood=mood),
    ]
    if steps:
        cells += [
            Cell(number(tensor.float_step, ".3f")),
            Cell(number(tensor.int8_step, ".3f")),
        ]
    return tuple(cells)
