"""What a checkpoint says about its network: enough to build it again, and no code."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from mobileq.errors import CheckpointError, InputError

CONVENTIONAL = "conventional"
_GROUP_NAME = re.compile(r"^([CD])([1-9][0-9]?)$")


@dataclass(frozen=True)
class GroupName:
    """The symmetry group of a network, as its name says.

    Attributes:
        rotations: N of C_N or D_N; 1 for a network without rotation symmetry.
        reflections: Whether mirror images belong to the group (D_N).
    """

    rotations: int
    reflections: bool

    @classmethod
    def parse(cls, text: str) -> GroupName:
        """Read `C12`, `D4` and the like.

        Raises:
            InputError: the text is not a group that mobileq knows.
        """
        match = _GROUP_NAME.match(text)
        if match is None:
            raise InputError(
                f"group is {text!r}; wanted C<N> or D<N> with N from 1 to 99, "
                f"such as C12 or D4, or {CONVENTIONAL!r}"
            )
        return cls(int(match[2]), match[1] == "D")

    @property
    def order(self) -> int:
        """Number of group elements, which is the number of channels of a block."""
        return self.rotations * (2 if self.reflections else 1)

    @property
    def exact_rotations(self) -> int:
        """Order of the rotations that map the pixel grid onto itself: 1, 2 or 4."""
        return math.gcd(self.rotations, 4)


@dataclass(frozen=True)
class ModelSpec:
    """Architecture of one MobileNetV2.

    Attributes:
        group: `C<N>`, `D<N>`, or `conventional` for the twin without symmetry.
        width: Width multiplier, applied to every layer, the last one included.
        channel_multiple: Channel counts are rounded up to multiples of this. It is the
            group's order; the conventional twin names its partner's.
        input_size: Height and width of the input in pixels.
        reduced_strides: How many of the five stride-2 layers, counted from the last
            one, have stride 1 instead. The seed paper reduces two.
        num_classes: Number of logits.
        in_channels: Number of input channels.
    """

    group: str = "C12"
    width: float = 1.0
    channel_multiple: int = 0
    input_size: int = 95
    reduced_strides: int = 2
    num_classes: int = 2
    in_channels: int = 3

    def __post_init__(self) -> None:
        """Check every value and fill in `channel_multiple`.

        Raises:
            InputError: a value is out of its range.
        """
        order = 1 if self.group == CONVENTIONAL else GroupName.parse(self.group).order
        if self.channel_multiple == 0:
            object.__setattr__(self, "channel_multiple", order)
        limits: tuple[tuple[str, float, float, float], ...] = (
            ("width", self.width, 0.01, 8),
            ("channel_multiple", self.channel_multiple, 1, 198),
            ("input_size", self.input_size, 9, 2047),
            ("reduced_strides", self.reduced_strides, 0, 5),
            ("num_classes", self.num_classes, 1, 10_000),
            ("in_channels", self.in_channels, 1, 64),
        )
        for name, value, low, high in limits:
            if not low <= value <= high:
                raise InputError(f"{name} is {value}; wanted {low} to {high}")
        if self.channel_multiple % order:
            raise InputError(
                f"channel_multiple is {self.channel_multiple}; wanted a multiple of "
                f"{order}, the order of {self.group}"
            )

    @property
    def equivariant(self) -> bool:
        """Whether the network has a symmetry group."""
        return self.group != CONVENTIONAL

    def twin(self) -> ModelSpec:
        """The conventional network with the same channels, filters and strides."""
        return ModelSpec(**{**asdict(self), "group": CONVENTIONAL})

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], *, source: str) -> ModelSpec:
        """Build from plain values that came out of the file `source`.

        Raises:
            CheckpointError: a key is unknown, or a value is of the wrong type or range.
        """
        known = {f.name: f.type for f in fields(cls)}
        for key, value in values.items():
            if key not in known:
                raise CheckpointError(
                    f"{source}: unknown key {key!r} in the model spec; wanted one of "
                    f"{', '.join(known)}"
                )
            allowed = {"str": (str,), "int": (int,), "float": (int, float)}[
                str(known[key])
            ]
            if not isinstance(value, allowed) or isinstance(value, bool):
                raise CheckpointError(
                    f"{source}: {key} in the model spec is {value!r}; wanted "
                    f"{known[key]}"
                )
        try:
            return cls(**values)
        except InputError as error:
            raise CheckpointError(f"{source}: {error}") from error
