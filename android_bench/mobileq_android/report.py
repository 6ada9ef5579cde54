"""Reports of devices as plain text."""

from __future__ import annotations

from collections.abc import Sequence

from mobileq_android.rows import Report, Row

_TITLES = (
    "file",
    "delegate",
    "threads",
    "cores",
    "p50 ms",
    "mean ms",
    "runs",
    "turned",
)


def text(report: Report) -> str:
    """A device and its table.

    Args:
        report: Of one device.
    """
    lines = [f"{report.name}: {report.device or 'not reached'}"]
    if report.device is not None:
        device = report.device
        more = [device.clocks, f"kernel {device.kernel}", device.build]
        lines.append("  " + ", ".join(part for part in more if part))
    if report.state is not None and str(report.state):
        lines.append(f"  {report.state}")
    if report.rows:
        lines += ["", *_table([_TITLES, *(_cells(row) for row in report.rows)]), ""]
    tools = dict.fromkeys(row.timed.tool for row in report.rows if row.timed)
    lines += [f"Timed by {tool}." for tool in tools]
    for row in report.rows:
        where = f"{row.file}, {row.setting}"
        if row.unavailable:
            lines.append(f"{where}: {row.unavailable}")
        lines += [f"{where}: {note}" for note in (row.timed.notes if row.timed else ())]
        if row.note:
            lines.append(f"{where}: {row.note}")
    if report.failure:
        lines.append(report.failure)
    return "\n".join(lines)


def _cells(row: Row) -> tuple[str, ...]:
    """One row."""
    cores = " ".join(map(str, row.setting.cores)) or "any"
    ends = (row.file, row.setting.delegate, str(row.setting.threads), cores)
    turned = f"{row.turned.changed}/{row.turned.compared}" if row.turned else "-"
    if row.timed is None:
        return (*ends, "-", "-", "-", turned)
    timing = row.timed.timing
    half = "-" if timing.median_ms is None else f"{timing.median_ms:.3f}"
    mark = " hot" if row.timed.throttled else ""
    return (*ends, half, f"{timing.mean_ms:.3f}{mark}", f"{timing.runs:,}", turned)


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Columns of equal width."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = [
        "  ".join(c.ljust(w) for c, w in zip(r, widths, strict=True)) for r in rows
    ]
    lines.insert(1, "  ".join("-" * width for width in widths))
    return [line.rstrip() for line in lines]
