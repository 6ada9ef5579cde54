"""What was found about every tensor: plain values, a table, and the last word."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from rich.markup import escape
from rich.table import Table

from mobileq.bench.tables import empty_table, number, plain

ROUNDING = 1e-3
"""A float tensor that follows a quarter turn this closely is exact up to rounding: sums
of some thousand float32 products in another order, layer after layer, are 1e-6 to 1e-5
apart, and one wrong weight is far more."""


@dataclass(frozen=True)
class TensorError:
    """Equivariance errors of one tensor; None where nothing is known of its group.

    Attributes:
        name: Of the tensor, and of the node that makes it.
        kind: Of the node.
        shape: (C, H, W), or (F,) if flat.
        inputs: Tensors that the node reads.
        sqnr_db: INT8 against float, of images as they are; infinite if equal.
        float_exact: Largest error under the exact subgroup's generators, relative to
            the tensor's largest value.
        changed_values: Share of INT8 values that they change.
        changed_images: Number of images, times generators, in which they change any.
        float_step: Relative error under the group's smallest rotation, the median of
            the images.
        int8_step: The same in INT8.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    inputs: tuple[str, ...]
    sqnr_db: float
    float_exact: float | None
    changed_values: float | None
    changed_images: int | None
    float_step: float | None
    int8_step: float | None

    @property
    def added(self) -> float | None:
        """What INT8 adds to the float error under the smallest rotation."""
        if self.int8_step is None or self.float_step is None:
            return None
        return self.int8_step - self.float_step


@dataclass(frozen=True)
class LayerErrors:
    """Errors of all tensors of one network.

    Attributes:
        network: What it is called.
        group: Its group.
        images: Number of images.
        motions: Of the exact subgroup's generators: (quarter turns, mirrored).
        degrees: The group's smallest rotation; None if it is one of the motions.
        tensors: In the order of the graph.
    """

    network: str
    group: str
    images: int
    motions: tuple[tuple[int, bool], ...]
    degrees: float | None
    tensors: tuple[TensorError, ...]

    @property
    def first_changed(self) -> TensorError | None:
        """First tensor of which a generator changes an INT8 value."""
        return next((t for t in self.tensors if t.changed_images), None)

    @property
    def first_inexact(self) -> TensorError | None:
        """First float tensor that is off by more than rounding."""
        return next((t for t in self.tensors if (t.float_exact or 0) > ROUNDING), None)

    @property
    def steepest(self) -> TensorError | None:
        """Where the INT8 error under the smallest rotation rises most."""
        rises = [(self.rise(t), -i) for i, t in enumerate(self.tensors)]
        known = [(rise, index) for rise, index in rises if rise is not None]
        return self.tensors[-max(known)[1]] if known else None

    @property
    def most_added(self) -> TensorError | None:
        """Where INT8 is furthest above the float error under the smallest rotation."""
        known = [
            (t.added, -i) for i, t in enumerate(self.tensors) if t.added is not None
        ]
        return self.tensors[-max(known)[1]] if known else None

    def rise(self, tensor: TensorError) -> float | None:
        """How much larger the INT8 error is than that of the worst of its inputs."""
        if tensor.int8_step is None:
            return None
        before = [t.int8_step for t in self.tensors if t.name in tensor.inputs]
        return tensor.int8_step - max((b for b in before if b is not None), default=0.0)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, with the names of the tensors that stand out."""
        named = {
            "first_changed": self.first_changed,
            "first_inexact": self.first_inexact,
            "steepest": self.steepest,
            "most_added": self.most_added,
        }
        names = {key: tensor and tensor.name for key, tensor in named.items()}
        values: dict[str, Any] = plain(asdict(self))
        for entry, tensor in zip(values["tensors"], self.tensors, strict=True):
            entry["rise"] = self.rise(tensor)
        return {**values, **names}

    def table(self) -> Table:
        """A line per tensor.

        `float exact` is the largest error under the exact subgroup, `INT8 exact` the
        share of values that it changes; then the errors under the smallest rotation.
        """
        plural = "" if self.images == 1 else "s"
        headers = ["SQNR dB", "float exact", "INT8 exact"]
        if self.degrees is not None:
            angle = f"{self.degrees:g}°"
            headers += [f"float {angle}", f"INT8 {angle}"]
        title = (
            f"{self.network}, {self.group}: layer by layer "
            f"({self.images} image{plural})"
        )
        table = empty_table(title, headers, first="tensor")
        for tensor in self.tensors:
            cells = [
                number(tensor.sqnr_db, ".1f"),
                number(tensor.float_exact, ".0e"),
                _share(tensor.changed_values),
            ]
            if self.degrees is not None:
                steps = (tensor.float_step, tensor.int8_step)
                cells += [number(step, ".3f") for step in steps]
            table.add_row(escape(tensor.name), *cells)
        return table

    def lines(self) -> tuple[str, ...]:
        """What it comes to."""
        return (*self._exact_lines(), *self._step_lines())

    def _exact_lines(self) -> tuple[str, ...]:
        """About the exact subgroup."""
        if not self.motions:
            return (f"{self.group} has no rotation that maps pixels to pixels.",)
        what = " and ".join(_words(motion) for motion in self.motions)
        lines = []
        inexact, changed = self.first_inexact, self.first_changed
        if inexact is not None:
            lines.append(
                f"Float: {what} is broken first in {inexact.name} (off by "
                f"{inexact.float_exact:.1e} of its largest value)."
            )
        if changed is None:
            lines.append(f"INT8: {what} changes no value of any tensor.")
        else:
            lines.append(
                f"INT8: {what} is broken first in {changed.name} "
                f"({changed.changed_values:.2%} of its values change)."
            )
        return tuple(lines)

    def _step_lines(self) -> tuple[str, ...]:
        """About the smallest rotation."""
        steepest, most = self.steepest, self.most_added
        if steepest is None or most is None or most.added is None:
            return ()
        line = (
            f"At {self.degrees:g} degrees the error rises most in {steepest.name} "
            f"(INT8 {steepest.int8_step:.3f}, float {steepest.float_step:.3f})"
        )
        if most.added <= 0:
            return (f"{line}; INT8 is nowhere above float.",)
        return (
            f"{line}; INT8 is furthest above float in {most.name} "
            f"({most.int8_step:.3f} against {most.float_step:.3f}).",
        )


def _share(value: float | None) -> str:
    """A share; 0 is exactly 0."""
    return "0" if value == 0 else number(value, ".1%")


def _words(motion: tuple[int, bool]) -> str:
    """A motion in words."""
    turns, mirrored = motion
    turn = {0: "", 1: "a quarter turn", 2: "a half turn", 3: "three quarter turns"}
    if not mirrored:
        return turn[turns]
    return "the mirror image" if not turns else f"the mirror image after {turn[turns]}"
