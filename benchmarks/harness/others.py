"""INT8 files by the runtimes' own quantizers, from a bundle's float files; runners.

Both quantizers get what their documentation advises for a convolutional network on a
processor: weights of 8 bits per channel, activations of 8 bits per tensor, ranges from
calibration images. ONNX Runtime: `quant_pre_process`, then `quantize_static` in QDQ
format, uint8 activations, int8 weights. LiteRT: `ai_edge_quantizer`'s recipe
`static_wi8_ai8`, and its own check that every tensor has a range.
"""

from __future__ import annotations

import contextlib
import io
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray

from mobileq.errors import InputError
from mobileq.verify.runner import PixelMap
from mobileq_onnx.nodes import INPUT
from mobileq_onnx.session import open_session
from mobileq_tflite.quiet import quiet_stderr

ORT_METHODS = ("MinMax", "Entropy", "Percentile")
"""Names of ONNX Runtime's ways to find ranges."""

MOST_KEPT = 64
"""Images for those of them that keep every tensor of every image in memory."""

LITERT_INSTALL = "pip install ai-edge-quantizer==0.10.0"


class _Reader:
    """Calibration images as ONNX Runtime asks for them, one after the other."""

    def __init__(self, images: NDArray[np.float32]) -> None:
        self._left = iter(images)

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        """The next one."""
        image = next(self._left, None)
        return None if image is None else {INPUT: image[None]}


def ort_static(model: bytes, images: NDArray[np.float32], method: str) -> bytes:
    """Quantize by ONNX Runtime's `quantize_static`.

    Args:
        model: A float ONNX file of a bundle.
        images: (N, C, H, W) normalized, to find ranges with.
        method: One of `ORT_METHODS`.

    Raises:
        InputError: another method.
    """
    if method not in ORT_METHODS:
        raise InputError(f"method is {method!r}; wanted {', '.join(ORT_METHODS)}")
    # Imported late: only one of the two quantizers may be wanted.
    from onnxruntime import quantization
    from onnxruntime.quantization.shape_inference import quant_pre_process

    with tempfile.TemporaryDirectory() as folder, _quiet():
        source, prepared, made = (Path(folder) / f"{n}.onnx" for n in "abc")
        source.write_bytes(model)
        quant_pre_process(str(source), str(prepared))
        quantization.quantize_static(
            str(prepared),
            str(made),
            _Reader(images),
            quant_format=quantization.QuantFormat.QDQ,
            per_channel=True,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
            calibrate_method=quantization.CalibrationMethod[method],
        )
        return made.read_bytes()


def litert_static(model: bytes, images: NDArray[np.float32]) -> bytes:
    """Quantize by LiteRT's `ai_edge_quantizer`, recipe `static_wi8_ai8`.

    Args:
        model: A float TFLite file of a bundle.
        images: (N, C, H, W) normalized, to find ranges with.

    Raises:
        InputError: the quantizer is not installed.
    """
    try:
        from ai_edge_quantizer import quantizer, recipe
    except ImportError as error:
        raise InputError(
            f"ai_edge_quantizer is not installed ({error}); wanted LiteRT's quantizer "
            f"({LITERT_INSTALL})"
        ) from error
    with _quiet(), quiet_stderr():
        signatures = Interpreter(model_content=model).get_signature_list()
        (key,) = signatures
        (name,) = signatures[key]["inputs"]
        planes = np.ascontiguousarray(images.transpose(0, 2, 3, 1))
        made = quantizer.Quantizer(bytearray(model))
        made.load_quantization_recipe(recipe.static_wi8_ai8())
        ranges = made.calibrate({key: [{name: x[None]} for x in planes]}, num_threads=1)
        result = made.quantize(ranges, enable_progress_report=False)
    return bytes(result.quantized_model)


class OtherOnnx:
    """Runs an ONNX file of any maker that takes normalized images: a `Runner`.

    Args:
        model: The file.
        pixels: How pixels become real.
        integer: Whether it was quantized, to uint8 activations.
        threads: Threads inside one operator.
    """

    integer = False
    """Outputs are real numbers, whatever is computed in between."""

    def __init__(
        self, model: bytes, pixels: PixelMap, *, integer: bool = True, threads: int = 1
    ) -> None:
        dtype = np.dtype(np.uint8 if integer else np.float32)
        self._session = open_session(model, threads=threads, activations=dtype)
        self._output = self._session.get_outputs()[0].name
        self._pixels = pixels

    @property
    def name(self) -> str:
        """For messages."""
        return "onnx, another quantizer"

    def outputs(self, pixels: NDArray[np.uint8]) -> NDArray[Any]:
        """Logits (B, F) of (B, H, W, C) pixels, float32."""
        images = self._pixels.normalize(pixels)
        found = [self._session.run(None, {INPUT: x[None]})[0] for x in images]
        return np.concatenate(found)

    def tensors(self, pixels: NDArray[np.uint8]) -> Mapping[str, NDArray[Any]]:
        """None: another quantizer's tensors have no agreed names."""
        return {}

    def timed(self, pixels: NDArray[np.uint8]) -> Callable[[], None]:
        """One inference on (1, H, W, C), input in place."""
        binding = self._session.io_binding()
        binding.bind_cpu_input(INPUT, self._pixels.normalize(pixels))
        binding.bind_output(self._output, "cpu")
        return lambda: self._session.run_with_iobinding(binding)


class OtherTflite:
    """Runs a TFLite file of any maker on XNNPACK: a `Runner`.

    Args:
        model: The file; integer ends are converted by their own scale and zero point.
        pixels: How pixels become real.
        threads: Threads of one inference.
    """

    integer = False
    """Outputs are real numbers, whatever is computed in between."""

    def __init__(self, model: bytes, pixels: PixelMap, *, threads: int = 1) -> None:
        with quiet_stderr():
            self._interpreter = Interpreter(model_content=model, num_threads=threads)
            self._interpreter.allocate_tensors()
        self._input = self._interpreter.get_input_details()[0]
        self._output = self._interpreter.get_output_details()[0]
        self._pixels = pixels

    @property
    def name(self) -> str:
        """For messages."""
        return "tflite, another quantizer"

    def outputs(self, pixels: NDArray[np.uint8]) -> NDArray[Any]:
        """Logits (B, F) of (B, H, W, C) pixels, real numbers."""
        found = []
        for image in self._prepared(pixels):
            self._interpreter.set_tensor(self._input["index"], image)
            self._interpreter.invoke()
            found.append(self._interpreter.get_tensor(self._output["index"]))
        values: NDArray[Any] = np.concatenate(found)
        if self._output["dtype"] != np.float32:
            scale, zero_point = self._output["quantization"]
            values = (values.astype(np.float64) - zero_point) * scale
        return values

    def tensors(self, pixels: NDArray[np.uint8]) -> Mapping[str, NDArray[Any]]:
        """None: another quantizer's tensors have no agreed names."""
        return {}

    def timed(self, pixels: NDArray[np.uint8]) -> Callable[[], None]:
        """One inference on (1, H, W, C), input in place."""
        (image,) = self._prepared(pixels)
        self._interpreter.set_tensor(self._input["index"], image)
        invoke: Callable[[], None] = self._interpreter.invoke
        return invoke

    def _prepared(self, pixels: NDArray[np.uint8]) -> list[NDArray[Any]]:
        """Images, one by one, as the file takes them."""
        real = self._pixels.normalize(pixels).transpose(0, 2, 3, 1)
        dtype = self._input["dtype"]
        if dtype != np.float32:
            scale, zero_point = self._input["quantization"]
            steps = np.rint(real / np.float32(scale)) + zero_point
            limits = np.iinfo(dtype)
            real = np.clip(steps, limits.min, limits.max).astype(dtype)
        return [np.ascontiguousarray(image[None]) for image in real]


def left_in_float(model: bytes, *, tflite: bool) -> tuple[str, ...]:
    """Operators that still compute in floats, such as `2 ADD`; empty if none does.

    Args:
        model: An INT8 file.
        tflite: Its format; ONNX files are optimized by the runtime first, since QDQ
            files say what is integer only in pairs of operators.
    """
    find = _float_operators_tflite if tflite else _float_operators_onnx
    kinds = find(model)
    return tuple(f"{count} {kind}" for kind, count in sorted(Counter(kinds).items()))


def _float_operators_tflite(model: bytes) -> list[str]:
    """Operators of which an input or output is a float tensor."""
    with quiet_stderr():
        interpreter = Interpreter(model_content=model)
        interpreter.allocate_tensors()
    details = interpreter.get_tensor_details()
    real = {d["index"] for d in details if d["dtype"] == np.float32}
    return [
        op["op_name"]
        for op in interpreter._get_ops_details()
        if op["op_name"] not in ("DELEGATE", "QUANTIZE", "DEQUANTIZE")
        and not real.isdisjoint(int(i) for i in (*op["inputs"], *op["outputs"]))
    ]


def _float_operators_onnx(model: bytes) -> list[str]:
    """Operators that compute, and that the runtime left unchanged."""
    import onnx
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "optimized.onnx"
        options.optimized_model_filepath = str(path)
        providers = ["CPUExecutionProvider"]
        onnxruntime.InferenceSession(model, options, providers=providers)
        nodes = onnx.load(path).graph.node
    # Those that copy or compare take integers as they are.
    computing = {"Conv", "FusedConv", "Gemm", "MatMul", "Add", "Mul", "AveragePool"}
    return [node.op_type for node in nodes if node.op_type in computing]


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Hide what the quantizers print and log."""
    import logging

    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
        ):
            # LiteRT warns of the memory that its own quantizer asks for.
            warnings.filterwarnings("ignore", ".*experimental_preserve_all_tensors.*")
            yield
    finally:
        logging.disable(before)
