"""Runs our ONNX files on ONNX Runtime's CPU kernels."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper

from mobileq.errors import BundleError, GraphError
from mobileq.quant.affine import QMIN
from mobileq.quant.heads import SCORES as SCORES_AFFINE
from mobileq.verify.profile import Profile
from mobileq.verify.runner import PixelMap
from mobileq_onnx.nodes import INPUT, LOGITS, SCORES, TENSORS_KEY
from mobileq_onnx.profiling import NOTE, nodes_of
from mobileq_onnx.session import first_line, open_session


class OnnxRunner:
    """A float or INT8 file of this package; which one, its operators say.

    The file itself is what `outputs` and `timed` run, image by image. `tensors` runs a
    copy in which every tensor of the graph is an output; integers are not changed by
    that, the last bits of floats may be, since fewer operators are fused.
    """

    def __init__(
        self, model: bytes, *, threads: int = 1, pixels: PixelMap | None = None
    ) -> None:
        """Load.

        Args:
            model: A serialized ModelProto.
            threads: Threads inside one operator.
            pixels: How pixels become real for a file that takes real ones.

        Raises:
            BundleError: these bytes are no ONNX model, or not one of ours.
        """
        self._file = model
        self._model = _parsed(model)
        self._threads = threads
        self._pixels = pixels or PixelMap()
        self._tensors = _tensor_names(self._model)
        source = self._model.graph.input[0].type.tensor_type
        self._raw = source.elem_type == TensorProto.UINT8
        # A file of any batch is run image by image, as one of batch 1 is.
        self._batch = max(1, source.shape.dim[0].dim_value)
        self._output = self._model.graph.output[0].name
        integer = any(n.op_type == "DequantizeLinear" for n in self._model.graph.node)
        self._logits = _Quantized.of_logits(self._model) if integer else None
        self._session = self._open(model)
        self._copy: onnxruntime.InferenceSession | None = None

    @property
    def name(self) -> str:
        """Runtime, type and threads."""
        kind = "int8" if self.integer else "float"
        plural = "" if self._threads == 1 else "s"
        return f"onnx {kind}, cpu, {self._threads} thread{plural}"

    @property
    def integer(self) -> bool:
        """Whether tensors are int8."""
        return self._logits is not None

    @property
    def image(self) -> tuple[int, int, int]:
        """(H, W, C) of the images that the file takes."""
        _, channels, height, width = self._session.get_inputs()[0].shape
        return height, width, channels

    def outputs(self, pixels: NDArray[np.uint8]) -> NDArray[Any]:
        """Logits or scores.

        Args:
            pixels: (B, H, W, C).

        Returns:
            (B, F): float32, or int8 for an INT8 file. Such a file's own output is the
            dequantized integers, and quantizing them again gives these back exactly;
            or it is real scores, and the integer ones next to them are returned.

        Raises:
            GraphError: the images have another shape than the file's input.
        """
        images = self._images(pixels)
        found = [self._session.run([self._output], {INPUT: x})[0] for x in images]
        real: NDArray[np.float32] = np.concatenate(found)[: len(pixels)]
        if self._logits is None:
            return real
        if self._output == SCORES:
            return SCORES_AFFINE.quantize(real)
        return self._logits.integers(real)

    def tensors(self, pixels: NDArray[np.uint8]) -> Mapping[str, NDArray[Any]]:
        """Every tensor of the graph.

        Args:
            pixels: (B, H, W, C).

        Returns:
            (B, C, H, W) or (B, F) by node name: float32, or int8 for an INT8 file.

        Raises:
            GraphError: the images have another shape than the file's input.
        """
        if self._copy is None:
            self._copy = self._open(_with_outputs(self._model, self._tensors))
        wanted = [name for name in self._tensors.values() if name != INPUT]
        images = self._images(pixels)
        runs = [self._copy.run(wanted, {INPUT: image}) for image in images]
        batches = (
            np.concatenate(values)[: len(pixels)] for values in zip(*runs, strict=True)
        )
        found = {INPUT: np.concatenate(images)[: len(pixels)]}
        found.update(zip(wanted, batches, strict=True))
        named = {node: found[tensor] for node, tensor in self._tensors.items()}
        if not self.integer:
            return named
        return {node: _signed(values) for node, values in named.items()}

    def timed(self, pixels: NDArray[np.uint8]) -> Callable[[], None]:
        """A function that runs one inference, of as many images as the file takes.

        Args:
            pixels: (1, H, W, C); copied into place here.

        Raises:
            GraphError: not one image, or one of another shape than the file's input.
        """
        images = self._images(pixels)
        if len(pixels) != 1:
            raise GraphError(f"timing: found {len(pixels)} images; wanted 1")
        binding = self._session.io_binding()
        binding.bind_cpu_input(INPUT, images[0])
        binding.bind_output(self._output, "cpu")

        def once() -> None:
            self._session.run_with_iobinding(binding)

        return once

    def profile(self, pixels: NDArray[np.uint8], runs: int) -> Profile:
        """Time per operator, by ONNX Runtime's own profiler.

        Args:
            pixels: (1, H, W, C).
            runs: Inferences to average over.

        Raises:
            GraphError: images of another shape than the file's input.
        """
        (image,) = self._images(pixels[:1])
        with TemporaryDirectory(prefix="mobileq-profile-") as folder:
            session = self._open(self._file, Path(folder) / "onnx")
            for _ in range(runs + 1):
                session.run([self._output], {INPUT: image})
            trace = Path(session.end_profiling()).read_bytes()
        return Profile(nodes_of(trace), NOTE)

    def _open(
        self, model: bytes, profile: Path | None = None
    ) -> onnxruntime.InferenceSession:
        """A session for the file or its copy."""
        dtype = np.dtype(np.float32) if self._logits is None else self._logits.dtype
        return open_session(
            model, threads=self._threads, activations=dtype, profile=profile
        )

    def _images(self, pixels: NDArray[np.uint8]) -> list[NDArray[Any]]:
        """Split (B, H, W, C) pixels into inputs (N, C, H, W) of the file's type.

        The last one is filled up with its last image where the file wants several.

        Raises:
            GraphError: they have another shape than the file's input.
        """
        _, channels, height, width = self._session.get_inputs()[0].shape
        if len(pixels) == 0 or pixels.shape[1:] != (height, width, channels):
            raise GraphError(
                f"ONNX input: images have shape {pixels.shape}; wanted "
                f"(B, {height}, {width}, {channels}) with B at least 1"
            )
        missing = -len(pixels) % self._batch
        whole = pixels
        if missing:
            whole = np.concatenate([pixels, np.repeat(pixels[-1:], missing, axis=0)])
        if self._raw:
            planes: NDArray[Any] = np.ascontiguousarray(whole.transpose(0, 3, 1, 2))
        else:
            planes = self._pixels.normalize(whole)
        starts = range(0, len(whole), self._batch)
        return [planes[start : start + self._batch] for start in starts]


@dataclass(frozen=True, eq=False)
class _Quantized:
    """How the file dequantizes its output.

    Attributes:
        scale: Real size of one step.
        zero_point: In the file's type.
        dtype: The file's type, uint8 or int8.
    """

    scale: float
    zero_point: int
    dtype: np.dtype[np.generic]

    @classmethod
    def of_logits(cls, model: onnx.ModelProto) -> _Quantized:
        """Read it from the operator that makes the output."""
        constants = {value.name: value for value in model.graph.initializer}
        last = next(node for node in model.graph.node if LOGITS in node.output)
        values = (numpy_helper.to_array(constants[name]) for name in last.input[1:])
        scale, zero = values
        return cls(float(scale), int(zero), zero.dtype)

    def integers(self, real: NDArray[np.float32]) -> NDArray[np.int8]:
        """Undo the dequantization; signed domain."""
        steps = np.rint(real.astype(np.float64) / self.scale) + self.zero_point
        return _signed(steps.astype(self.dtype))


def _signed(values: NDArray[Any]) -> NDArray[np.int8]:
    """8-bit integers in the QuantSpec's signed domain."""
    shift = np.iinfo(values.dtype).min - QMIN
    return (values.astype(np.int16) - shift).astype(np.int8)


def _parsed(model: bytes) -> onnx.ModelProto:
    """Decode the file and check that it is complete.

    Raises:
        BundleError: it is not.
    """
    try:
        parsed = onnx.load_model_from_string(model)
        onnx.checker.check_model(parsed)
    except Exception as error:
        # protobuf's and the checker's exceptions have no common base but this one.
        raise BundleError(
            f"ONNX model: {len(model)} bytes found that are no complete ONNX model "
            f"({first_line(error)}); wanted a file that mobileq wrote; export it again"
        ) from error
    names = [value.name for value in (*parsed.graph.input, *parsed.graph.output)]
    if names not in ([INPUT, LOGITS], [INPUT, SCORES]):
        raise BundleError(
            f"ONNX model: found inputs and outputs {names}; wanted "
            f"{[INPUT, LOGITS]} or {[INPUT, SCORES]}; export it again"
        )
    return parsed


def _tensor_names(model: onnx.ModelProto) -> dict[str, str]:
    """Tensor name by node name.

    Raises:
        BundleError: the metadata does not say.
    """
    for entry in model.metadata_props:
        if entry.key == TENSORS_KEY:
            try:
                return {str(k): str(v) for k, v in json.loads(entry.value).items()}
            except (ValueError, AttributeError, RecursionError):
                break
    raise BundleError(
        f"ONNX model: no sound metadata {TENSORS_KEY!r} found; wanted a file that "
        f"mobileq wrote; export it again"
    )


def _with_outputs(model: onnx.ModelProto, tensors: Mapping[str, str]) -> bytes:
    """The model with all these tensors as outputs too."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for name in tensors.values():
        if name not in (INPUT, model.graph.output[0].name):
            copy.graph.output.append(onnx.ValueInfoProto(name=name))
    return bytes(copy.SerializeToString())
