"""Run a TFLite file, float or INT8, on one of LiteRT's three sets of kernels."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from numpy.typing import NDArray

from mobileq.errors import BundleError
from mobileq.verify.profile import Profile
from mobileq.verify.runner import PixelMap
from mobileq_tflite.flatfile import IDENTIFIER, INTERNAL, pack, unpack
from mobileq_tflite.layout import to_nchw
from mobileq_tflite.parsed import operator_kind, reading
from mobileq_tflite.quiet import quiet_stderr

Kernels = Literal["xnnpack", "builtin", "reference"]

RESOLVERS = {
    "xnnpack": OpResolverType.AUTO,
    "builtin": OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    "reference": OpResolverType.BUILTIN_REF,
}


class TfliteRunner:
    """A `mobileq.verify.runner.Runner` for TFLite files of batch size 1.

    Args:
        model: The file's content.
        kernels: `xnnpack` (what a phone uses by default), `builtin` (optimized kernels
            without a delegate) or `reference` (plain loops that define the result).
        threads: Threads of one inference.
        pixels: How the pixels of a file are normalized that takes real numbers.

    Raises:
        BundleError: the content is no TFLite file, or is damaged.
    """

    def __init__(
        self,
        model: bytes,
        *,
        kernels: Kernels,
        threads: int = 1,
        pixels: PixelMap = PixelMap(),  # noqa: B008  (frozen)
    ) -> None:
        self._model = model
        self._kernels = kernels
        self._threads = threads
        self._pixels = pixels
        self._interpreter = self._load(model)
        self._input = self._interpreter.get_input_details()[0]
        self._output = self._interpreter.get_output_details()[0]
        details = self._interpreter.get_tensor_details()
        self._integer = any(detail["dtype"] == np.int8 for detail in details)
        self._meaning = self._integers_of(details)
        self._observer: Any = None

    @property
    def name(self) -> str:
        """Such as `tflite int8, xnnpack, 1 thread`."""
        kind = "int8" if self.integer else "float"
        plural = "" if self._threads == 1 else "s"
        return f"tflite {kind}, {self._kernels}, {self._threads} thread{plural}"

    @property
    def integer(self) -> bool:
        """Whether the file computes in int8, whatever its ends are."""
        return self._integer

    @property
    def image(self) -> tuple[int, int, int]:
        """(H, W, C) of the images that the file takes."""
        _, height, width, channels = (int(size) for size in self._input["shape"])
        return height, width, channels

    def outputs(self, pixels: NDArray[np.uint8]) -> NDArray[Any]:
        """Logits or scores, (B, F), of (B, H, W, C) pixels.

        They are float32, or int8 of an INT8 file: those that its output stands for.
        The file's own reshapes are of one image, so it takes them one by one.
        """
        interpreter, results = self._interpreter, []
        source, made = self._input["index"], self._output["index"]
        for image in self.prepared(pixels):
            interpreter.set_tensor(source, image)
            interpreter.invoke()
            results.append(interpreter.get_tensor(made))
        return self.read(np.concatenate(results))

    @property
    def source(self) -> tuple[str, tuple[int, ...]]:
        """Name and shape, (1, H, W, C), of the file's input."""
        shape = tuple(int(size) for size in self._input["shape"])
        return str(self._input["name"]), shape

    @property
    def made(self) -> tuple[tuple[int, ...], np.dtype[Any]]:
        """Shape, of one image, and type of what the file returns."""
        shape = tuple(int(size) for size in self._output["shape"])
        return shape, np.dtype(self._output["dtype"])

    def read(self, found: NDArray[Any]) -> NDArray[Any]:
        """Outputs of this runner from what the file returns, wherever it was run.

        Args:
            found: Of images one after the other, in the file's type and layout.
        """
        if self._integer and found.dtype == np.uint8:
            found = (found.astype(np.int16) - 128).astype(np.int8)
        elif self._meaning is not None:
            scale, zero_point = self._meaning
            steps = np.rint(found.astype(np.float64) / scale) + zero_point
            found = steps.astype(np.int8)
        return to_nchw(found)

    def _integers_of(self, details: list[Any]) -> tuple[float, int] | None:
        """Scale and zero point of the integers behind a float output, if any."""
        if not self._integer or self._output["dtype"] != np.float32:
            return None
        made = int(self._output["index"])
        last = next(
            operator
            for operator in self._interpreter._get_ops_details()
            if made in operator["outputs"] and operator["op_name"] == "DEQUANTIZE"
        )
        source = int(last["inputs"][0])
        (detail,) = (d for d in details if d["index"] == source)
        scale, zero_point = detail["quantization"]
        return float(scale), int(zero_point)

    def tensors(self, pixels: NDArray[np.uint8]) -> Mapping[str, NDArray[Any]]:
        """Every tensor by node name, (B, C, H, W) or (B, F).

        They are read from a copy of the file with all of them as outputs: a delegate
        computes what happens inside of it in memory that the interpreter cannot see.
        Tensors that the float writer's converter fused away are missing.
        """
        if self._observer is None:
            self._observer = self._load(observable(self._model))
        observer, found = self._observer, {}
        source = observer.get_input_details()[0]
        watched = observer.get_output_details()
        prepared = self.prepared(pixels)
        collected: dict[str, list[NDArray[Any]]] = {}
        for image in prepared:
            observer.set_tensor(source["index"], image)
            observer.invoke()
            for detail in watched:
                values = observer.get_tensor(detail["index"])
                collected.setdefault(detail["name"], []).append(values)
        # Where the network's own input is the file's, no operator makes it.
        if source["dtype"] == (np.int8 if self._integer else np.float32):
            found[source["name"]] = to_nchw(np.concatenate(prepared))
        for name, values in collected.items():
            found[name] = to_nchw(np.concatenate(values))
        return found

    def timed(self, pixels: NDArray[np.uint8]) -> Callable[[], None]:
        """A function that runs one inference on (1, H, W, C).

        LiteRT never overwrites an input tensor, so it is set once.
        """
        (image,) = self.prepared(pixels)
        self._interpreter.set_tensor(self._input["index"], image)
        invoke: Callable[[], None] = self._interpreter.invoke
        return invoke

    def profile(self, pixels: NDArray[np.uint8], runs: int) -> Profile:
        """Time per operator, by LiteRT's own profiler.

        Args:
            pixels: (1, H, W, C).
            runs: Inferences to average over.
        """
        from mobileq_tflite.profiling import profile

        (image,) = self.prepared(pixels[:1])
        return profile(
            self._model,
            image.tobytes(),
            kernels=self._kernels,
            threads=self._threads,
            runs=runs,
        )

    @property
    def operators(self) -> tuple[str, ...]:
        """Operators really executed, in order; `DELEGATE` is XNNPACK's part."""
        operators = self._interpreter._get_ops_details()
        # A delegate is appended to the list, and what it replaced stays in it.
        producers = {
            int(made): index
            for index, operator in enumerate(operators)
            for made in operator["outputs"]
        }
        needed: set[int] = set()
        pending = [int(self._output["index"])]
        while pending:
            index = producers.get(pending.pop(), -1)
            if index >= 0 and index not in needed:
                needed.add(index)
                pending.extend(int(read) for read in operators[index]["inputs"])
        return tuple(operators[index]["op_name"] for index in sorted(needed))

    def prepared(self, pixels: NDArray[np.uint8]) -> list[NDArray[Any]]:
        """Images of (B, H, W, C), one by one, as the file takes them.

        Each is (1, H, W, C), uint8, int8 or float32.

        Raises:
            BundleError: the file is made for images of another size.
        """
        wanted = tuple(self._input["shape"])
        if pixels.shape[1:] != wanted[1:]:
            raise BundleError(
                f"tflite file: images are {pixels.shape[1:]}; wanted {wanted[1:]} "
                f"(height, width, channels)"
            )
        images: NDArray[Any] = np.ascontiguousarray(pixels)
        if self._input["dtype"] == np.int8:
            # With the highest bit turned over, a byte is its value less 128.
            images = (images ^ np.uint8(128)).view(np.int8)
        elif self._input["dtype"] != np.uint8:
            images = self._pixels.real(images)
        return [images[index : index + 1] for index in range(len(images))]

    def _load(self, model: bytes) -> Any:
        """An interpreter with its tensors allocated."""
        if model[4:8] != IDENTIFIER:
            raise BundleError(
                f"not a TFLite file: bytes 4 to 7 are {model[4:8]!r}; wanted "
                f"{IDENTIFIER!r} (export it again)"
            )
        try:
            with quiet_stderr():
                interpreter = Interpreter(
                    model_content=model,
                    num_threads=self._threads,
                    experimental_op_resolver_type=RESOLVERS[self._kernels],
                )
                interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            reason = str(error).strip().splitlines()
            raise BundleError(
                f"damaged TFLite file of {len(model)} bytes: "
                f"{reason[0] if reason else 'LiteRT cannot load it'} (export it again)"
            ) from error
        return interpreter


def kernels_of(file: bytes) -> tuple[Kernels, ...]:
    """Kernels that can run a file; LiteRT's reference ones lack ELU.

    Args:
        file: Content of a TFLite file.

    Raises:
        InputError: it is damaged.
    """
    # By accessors that check their bounds: garbage unpacks to lists without an end.
    with reading(file, "TFLite file"):
        model = schema.Model.GetRootAs(file, 0)
        count = model.OperatorCodesLength()
        kinds = {operator_kind(model.OperatorCodes(i)) for i in range(count)}
    usual: tuple[Kernels, ...] = ("xnnpack", "builtin")
    return usual if "ELU" in kinds else (*usual, "reference")


def observable(file: bytes) -> bytes:
    """A copy of a TFLite file whose outputs are all tensors that are nodes."""
    model = unpack(file)
    subgraph = model.subgraphs[0]
    made = [int(index) for op in subgraph.operators for index in op.outputs]
    names = [(index, subgraph.tensors[index].name.decode()) for index in made]
    subgraph.outputs = np.asarray(
        [index for index, name in names if INTERNAL not in name], np.int32
    )
    model.signatureDefs = []
    return pack(model)
