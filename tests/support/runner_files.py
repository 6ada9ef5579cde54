"""Files that runners can be made of: small, and written within a second."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from mobileq.bench.spec import RunnerSpec, RuntimeName
from mobileq.contract import Contract, Head
from support.handmade import handmade_graph, handmade_spec, random_pixels

SIZE = 15


@dataclass(frozen=True, eq=False)
class RunnerFiles:
    """Files of one handmade network, and images for it.

    Attributes:
        paths: `int8.tflite`, `int8.onnx`, `float.onnx` and `scores.tflite`.
        pixels: (3, SIZE, SIZE, 3).
    """

    paths: Mapping[str, Path]
    pixels: NDArray[np.uint8]

    def spec(
        self,
        name: str,
        kernel: str,
        *,
        threads: int = 1,
        head: Head = Head.NONE,
    ) -> RunnerSpec:
        """One of the files on its runtime."""
        path = self.paths[name]
        runtime: RuntimeName = "tflite" if path.suffix == ".tflite" else "onnx"
        return RunnerSpec(runtime, kernel, str(path), threads, head=head)


def write_runner_files(folder: Path) -> RunnerFiles:
    """Write them.

    Args:
        folder: Exists.
    """
    from mobileq_onnx import float_writer, qdq_writer
    from mobileq_tflite import int8_writer

    graph = handmade_graph(size=SIZE)
    spec = handmade_spec(graph)
    scores = Contract(head=Head.SOFTMAX)
    contents = {
        "int8.tflite": int8_writer.write_int8(graph, spec),
        "scores.tflite": int8_writer.write_int8(graph, spec, scores),
        "int8.onnx": qdq_writer.write_int8(graph, spec),
        "float.onnx": float_writer.write_float(graph),
    }
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    paths = {name: folder / name for name in contents}
    return RunnerFiles(paths, random_pixels(graph, 3))


def one_line(error: pytest.ExceptionInfo[BaseException], *words: str) -> str:
    """Check that a message is one line with these words in it."""
    message = str(error.value)
    assert "\n" not in message
    for word in words:
        assert word in message, message
    return message
