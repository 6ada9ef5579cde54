"""The certificate: what was proven about one file, and under which assumptions."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mobileq.proof.motions import QUARTER_TURN, Motion, group_name
from mobileq.proof.program import PerPixel, Program
from mobileq.proof.prove import Break, Proof, prove

FORMAT = "mobileq-certificate"
VERSION = 1

ASSUMPTIONS = (
    "The image is turned by moving its pixels; nothing is interpolated.",
    "The runtime adds the products of 8-bit integers exactly. No sum that this file "
    "can make exceeds 32 bits, so their order does not matter.",
    "The runtime rounds a sum by one function of the sum and the channel's scale, at "
    "every pixel, in vectors and in what is left over.",
)
"""What a proof about integers takes for granted of every runtime."""

PER_PIXEL = (
    "The runtime computes a softmax by one function of the pixel's channels, at every "
    "pixel."
)
"""And of one that runs a file with a softmax for each pixel."""


@dataclass(frozen=True, eq=False)
class Certificate:
    """What was proven.

    Attributes:
        format: `TFLite` or `ONNX`.
        sha256: Of the file.
        proof: Motions and breaks.
        whole_image: Whether the output has one value per channel; otherwise it is a map
            that turns with the image.
        operators: How many the file has.
        assumptions: In sentences.
    """

    format: str
    sha256: str
    proof: Proof
    whole_image: bool
    operators: int
    assumptions: tuple[str, ...]

    @property
    def group(self) -> str:
        """Name of the proven group: C1 (nothing), C2, C4, D1, D2 or D4."""
        return group_name(self.proof.proven)

    @property
    def first_break(self) -> Break | None:
        """Where the quarter turn breaks, if it does."""
        return self.proof.breaks.get(QUARTER_TURN)

    def covers(self, motions: Sequence[tuple[int, bool]]) -> bool:
        """Whether all of some motions are proven.

        Args:
            motions: (quarter turns, mirrored) of each.
        """
        wanted = {Motion(bool(mirrored), turns % 4) for turns, mirrored in motions}
        known = {*self.proof.proven, *(m.inverse for m in self.proof.proven)}
        return wanted - {Motion(False, 0)} <= known

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "format": FORMAT,
            "version": VERSION,
            "file_format": self.format,
            "sha256": self.sha256,
            "group": self.group,
            "motions": [[m.turns, m.mirrored] for m in self.proof.proven],
            "output": "unchanged" if self.whole_image else "turned with the image",
            "breaks": [
                {"motion": [m.turns, m.mirrored], **_plain(found)}
                for m, found in sorted(self.proof.breaks.items())
            ],
            "operators": self.operators,
            "numbers": self.proof.numbers,
            "largest_sum": self.proof.largest_sum,
            "largest_weight": self.proof.largest_weight,
            "assumptions": list(self.assumptions),
        }


def certify_program(program: Program, data: bytes) -> Certificate:
    """Prove what can be proven about a program.

    Args:
        program: What a reader found in the file.
        data: The file, for its hash.
    """
    proof = prove(program)
    shapes = {operator.name: operator.shape for operator in program.operators}
    dense = [o for o in program.operators if isinstance(o, PerPixel)]
    of_pixels = any(o.shape[1:] != (1, 1) for o in dense)
    return Certificate(
        program.format,
        hashlib.sha256(data).hexdigest(),
        proof,
        shapes[program.output][1:] == (1, 1),
        len(program.operators),
        (*ASSUMPTIONS, *program.assumptions, *([PER_PIXEL] if of_pixels else [])),
    )


def _plain(found: Break) -> dict[str, Any]:
    """A break as plain values."""
    witness = found.witness
    return {
        "operator": found.operator,
        "kind": found.kind,
        "position": found.position,
        "reason": found.reason,
        "channel": None if witness is None else witness.channel,
        "parameter": None if witness is None else witness.parameter,
        "found": None if witness is None else _number(witness.found),
        "wanted": None if witness is None else _number(witness.wanted),
    }


def _number(value: float) -> float | str:
    """A number that JSON has, or `nan`, `inf` or `-inf`."""
    return value if math.isfinite(value) else str(value)
