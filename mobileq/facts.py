"""What is said about an exported file: its ends, its operators, its numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class End:
    """An input or an output of a file.

    Attributes:
        name: As in the file.
        dtype: Element type in numpy's words, such as `uint8`.
        shape: With the batch axis; NHWC in TFLite, NCHW in ONNX. A length that is free
            is its name, or `?`.
        scale: Real size of one step; None where the end is not quantized.
        zero_point: Integer that stands for 0; None as well.
    """

    name: str
    dtype: str
    shape: tuple[int | str, ...]
    scale: float | None = None
    zero_point: int | None = None


@dataclass(frozen=True)
class FileFacts:
    """One file, read and not run.

    Attributes:
        format: `tflite` or `onnx`.
        version: Of the format, in its own words.
        inputs: What goes in.
        outputs: What comes out.
        operators: How often each kind occurs, the most frequent first.
        constants: Numbers kept in the file, by element type, the most frequent first.
        metadata: What the file says about itself, by name.
    """

    format: str
    version: str
    inputs: tuple[End, ...]
    outputs: tuple[End, ...]
    operators: Mapping[str, int]
    constants: Mapping[str, int]
    metadata: Mapping[str, str]
