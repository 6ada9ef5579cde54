"""Sessions of ONNX Runtime on the CPU, with settings that keep integers exact.

Two settings differ from the runtime's defaults, both only where integers demand it:

- Files with signed activations need `session.qdqisint8allowed`, without which ONNX
  Runtime leaves convolutions in float on x86.
- On x86 without VNNI, the kernels for unsigned activations and signed weights add pairs
  of products in saturating 16-bit arithmetic. `session.x64quantprecision` exchanges
  them for slower ones that do not. It slows down machines with VNNI just the same, so
  it is set only where sums are seen to saturate.

The two exclude each other: with both, ONNX Runtime 1.31 makes convolutions of mixed
types, for which it has no kernel. Kernels for signed activations do not saturate.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from mobileq.errors import BundleError
from mobileq_onnx.nodes import IR_VERSION, OPSET

ERRORS_ONLY = 3
"""ONNX Runtime's logging level that hides its warnings."""


def open_session(
    model: bytes,
    *,
    threads: int,
    activations: np.dtype[np.generic],
    profile: Path | None = None,
) -> onnxruntime.InferenceSession:
    """Load a model.

    Args:
        model: A serialized ModelProto.
        threads: Threads inside one operator.
        activations: uint8, int8, or anything else for a float model.
        profile: Beginning of the path of a profile to write; none is written without.

    Raises:
        BundleError: ONNX Runtime refuses the model.
    """
    options = _options(threads)
    if profile is not None:
        options.enable_profiling = True
        options.profile_file_prefix = str(profile)
    if activations == np.int8:
        options.add_session_config_entry("session.qdqisint8allowed", "1")
    elif activations == np.uint8 and sums_saturate():
        options.add_session_config_entry("session.x64quantprecision", "1")
    try:
        return _session(model, options)
    except Exception as error:
        # The runtime's exceptions have no common base but this one.
        raise BundleError(
            f"ONNX model: ONNX Runtime {onnxruntime.__version__} refuses it "
            f"({first_line(error)}); export it again"
        ) from error


@cache
def sums_saturate() -> bool:
    """Whether this machine's kernels for uint8 times int8 saturate in 16 bits.

    Found out on the largest sums there are: a row of 255 times columns of 127.
    """
    size = 64
    row = helper.make_tensor_value_info("row", TensorProto.UINT8, [1, size])
    sums = helper.make_tensor_value_info("sums", TensorProto.INT32, [1, size])
    columns = np.full((size, size), 127, np.int8)
    body = helper.make_graph(
        [helper.make_node("MatMulInteger", ["row", "columns"], ["sums"])],
        "saturation",
        [row],
        [sums],
        [numpy_helper.from_array(columns, "columns")],
    )
    opsets = [helper.make_opsetid("", OPSET)]
    model = helper.make_model(body, opset_imports=opsets, ir_version=IR_VERSION)
    session = _session(model.SerializeToString(), _options(1))
    (found,) = session.run(None, {"row": np.full((1, size), 255, np.uint8)})
    return bool((found != size * 127 * 255).any())


def first_line(error: Exception) -> str:
    """What an exception says, in one line."""
    lines = str(error).strip().splitlines()
    return lines[0].strip() if lines else type(error).__name__


def _options(threads: int) -> onnxruntime.SessionOptions:
    """Settings of every session."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = ERRORS_ONLY
    return options


def _session(
    model: bytes, options: onnxruntime.SessionOptions
) -> onnxruntime.InferenceSession:
    """A session on the CPU."""
    providers = ["CPUExecutionProvider"]
    return onnxruntime.InferenceSession(model, options, providers=providers)
