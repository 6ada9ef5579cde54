"""Time per operator, by LiteRT's own profiler.

LiteRT's Python interface has none, nor has its `litert-benchmark`; the library below
them has, in C (`litert/c/litert_profiler.h`), and the wheel brings it along. What is
called here is in the headers of LiteRT 2.3. Another version may have other signatures,
so this is best done in a process of its own. The table that the profiler prints is read
rather than its events: it has looked the same for years.
"""

from __future__ import annotations

import ctypes
import re
from ctypes import byref, c_char_p, c_int, c_size_t, c_void_p, create_string_buffer
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from mobileq.verify.profile import NodeTime, Profile
from mobileq_tflite.flatfile import unpack
from mobileq_tflite.quiet import quiet_stderr

LIBRARY = "libLiteRt.so"
WARMUP = 5

NOTE = "LiteRT counts whole microseconds"
NOTE_XNNPACK = (
    f"{NOTE}; XNNPACK fuses operators and numbers them itself, so they have no names"
)

NOTE_REFERENCE = (
    "LiteRT's profiler cannot run the reference kernels: this build takes the built-in "
    "ones in their place"
)

_CPU = 1
_WRITE, _READ = 1, 0
_TYPE_BYTES = 1024
"""Room for LiteRT's description of a tensor, which is passed on unread."""

_ROW = re.compile(
    r"^\s*(?P<kind>\S.*?)\s+[\d.e+]+\s+[\d.e+]+\s+(?P<ms>[\d.e+-]+)\s+"
    r"(?P<share>[\d.e+-]+)%\s+[\d.e+-]+%\s+[\d.e+-]+\s+\d+\s+\[(?P<owner>[^\]]*)\]:"
    r"(?P<index>\d+)\s*$"
)


class _Unavailable(Exception):
    """The library is not there, or refuses."""


def profile(
    model: bytes, image: bytes, *, kernels: str, threads: int, runs: int
) -> Profile:
    """Run a file with profiling enabled.

    Args:
        model: Content of a TFLite file.
        image: Content of its input tensor.
        kernels: `xnnpack` or `builtin`; there is no profile of `reference`.
        threads: Threads of one inference.
        runs: Inferences to average over.

    Returns:
        No nodes and a note where this version of LiteRT cannot do it.
    """
    if kernels == "reference":
        return Profile(note=NOTE_REFERENCE)
    try:
        table, _ = run_profiled(
            model, image, kernels=kernels, threads=threads, runs=runs
        )
    except (_Unavailable, OSError, AttributeError) as error:
        return Profile(note=f"LiteRT's profiler cannot be used here ({error})")
    note = NOTE_XNNPACK if kernels == "xnnpack" else NOTE
    return Profile(nodes_of(table, outputs_of(model)), note)


def outputs_of(model: bytes) -> tuple[str, ...]:
    """Name of the tensor that each operator of a file makes, in the file's order."""
    subgraph = unpack(model).subgraphs[0]
    return tuple(
        subgraph.tensors[int(operator.outputs[0])].name.decode()
        for operator in subgraph.operators
    )


def nodes_of(table: str, names: tuple[str, ...]) -> tuple[NodeTime, ...]:
    """Read the first table of the profiler's summary, `Run Order`.

    Args:
        table: What the profiler prints.
        names: By index of an operator of the file.

    Returns:
        In the table's order; none if it has no such rows.
    """
    rows = []
    for line in table.splitlines():
        if "Top by Computation Time" in line:
            break
        if found := _ROW.match(line):
            rows.append(found)
    total = sum(float(row["ms"]) for row in rows)
    shares = sum(float(row["share"]) for row in rows)
    # Times have three digits behind the point, shares have five that count.
    factor = total / shares if shares else 0.0
    nodes = []
    for row in rows:
        index = int(row["index"])
        own = row["owner"] == "Builtin" and index < len(names)
        kind = row["kind"].removeprefix("Delegate/")
        name = names[index] if own else f"{row['owner']} {index}"
        nodes.append(NodeTime(name, kind, float(row["share"]) * factor))
    return tuple(nodes)


def run_profiled(
    model: bytes, image: bytes, *, kernels: str, threads: int, runs: int
) -> tuple[str, bytes]:
    """Run a file with profiling enabled; arguments as of `profile`.

    Returns:
        The profiler's summary, and the content of the output tensor.

    Raises:
        AttributeError: the library lacks a function.
        OSError: it cannot be loaded.
        _Unavailable: it is not there, or a call fails.
    """
    spec = find_spec("ai_edge_litert")
    if spec is None or spec.origin is None:
        raise _Unavailable("ai-edge-litert is not installed")
    library = ctypes.CDLL(str(Path(spec.origin).parent / LIBRARY))
    with quiet_stderr(), _Session(library) as session:
        session.load(model, kernels=kernels, threads=threads)
        session.write(image)
        for _ in range(WARMUP):
            session.run()
        session.start()
        for _ in range(runs):
            session.run()
        return session.stop(), session.read()


class _Session:
    """A compiled model with one input and one output."""

    def __init__(self, library: ctypes.CDLL) -> None:
        self._library = library
        self._kept: list[Any] = []
        self._owned: list[tuple[str, c_void_p]] = []

    def __enter__(self) -> _Session:
        self._environment = self._own(
            "Environment", "LiteRtCreateEnvironment", c_int(0), None
        )
        return self

    def __exit__(self, *_: object) -> None:
        for kind, handle in reversed(self._owned):
            destroy = getattr(self._library, f"LiteRtDestroy{kind}")
            destroy.restype = None
            destroy(handle)

    def load(self, model: bytes, *, kernels: str, threads: int) -> None:
        """Compile a file for some kernels, with a profiler."""
        # The model reads from this memory as long as it lives.
        content = create_string_buffer(model, len(model))
        self._kept.append(content)
        size = c_size_t(len(model))
        parsed = self._own(
            "Model", "LiteRtCreateModelFromBuffer", self._environment, content, size
        )
        options = self._own("Options", "LiteRtCreateOptions")
        self._call("LiteRtSetOptionsHardwareAccelerators", options, c_int(_CPU))
        self._set(options, "runtime_options_string", "enable_profiling = true\n")
        told = f'kernel_mode = "{kernels}"\nnum_threads = {threads}\n'
        self._set(options, "xnnpack", told)
        self._compiled = self._own(
            "CompiledModel",
            "LiteRtCreateCompiledModel",
            self._environment,
            parsed,
            options,
        )
        self._profiler = self._made("LiteRtCompiledModelGetProfiler", self._compiled)
        if not self._profiler:
            raise _Unavailable("no profiler was made")
        signature = self._made("LiteRtGetModelSignature", parsed, c_size_t(0))
        self._input = self._buffer("Input", signature)
        self._output = self._buffer("Output", signature)

    def write(self, image: bytes) -> None:
        """Fill the input."""
        if len(image) != self._size(self._input):
            raise _Unavailable(
                f"the input has {self._size(self._input)} bytes, not {len(image)}"
            )
        memory = self._made_locked(self._input, _WRITE)
        ctypes.memmove(memory, image, len(image))
        self._call("LiteRtUnlockTensorBuffer", self._input)

    def read(self) -> bytes:
        """Content of the output."""
        memory = self._made_locked(self._output, _READ)
        found = ctypes.string_at(memory, self._size(self._output))
        self._call("LiteRtUnlockTensorBuffer", self._output)
        return found

    def run(self) -> None:
        """One inference."""
        one = c_size_t(1)
        inputs, outputs = (c_void_p * 1)(self._input), (c_void_p * 1)(self._output)
        self._call(
            "LiteRtRunCompiledModel",
            self._compiled,
            c_size_t(0),
            one,
            inputs,
            one,
            outputs,
        )

    def start(self) -> None:
        """Forget what was profiled, and begin."""
        self._call("LiteRtResetProfiler", self._profiler)
        self._call("LiteRtStartProfiler", self._profiler)

    def stop(self) -> str:
        """End, and the summary."""
        self._call("LiteRtStopProfiler", self._profiler)
        text = c_char_p()
        self._call(
            "LiteRtGetProfileSummary", self._profiler, self._compiled, byref(text)
        )
        return (text.value or b"").decode(errors="replace")

    def _buffer(self, end: str, signature: c_void_p) -> c_void_p:
        """Memory for the first input or output."""
        first = c_size_t(0)
        tensor = self._made(f"LiteRtGetSignature{end}TensorByIndex", signature, first)
        described = create_string_buffer(_TYPE_BYTES)
        self._call("LiteRtGetRankedTensorType", tensor, described)
        needs = self._made(
            f"LiteRtGetCompiledModel{end}BufferRequirements",
            self._compiled,
            first,
            first,
        )
        return self._own(
            "TensorBuffer",
            "LiteRtCreateManagedTensorBufferFromRequirements",
            self._environment,
            described,
            needs,
        )

    def _size(self, buffer: c_void_p) -> int:
        """Bytes of a tensor's content."""
        size = c_size_t()
        self._call("LiteRtGetTensorBufferPackedSize", buffer, byref(size))
        return size.value

    def _made_locked(self, buffer: c_void_p, mode: int) -> c_void_p:
        """Address of a tensor's content."""
        memory = c_void_p()
        self._call("LiteRtLockTensorBuffer", buffer, byref(memory), c_int(mode))
        return memory

    def _set(self, options: c_void_p, name: str, text: str) -> None:
        """Add options in TOML; LiteRT does not free their text, and we keep it."""
        content = create_string_buffer(text.encode())
        ignore = ctypes.CFUNCTYPE(None, c_void_p)(lambda _: None)
        self._kept += [content, ignore]
        made = c_void_p()
        self._call(
            "LiteRtCreateOpaqueOptions",
            c_char_p(name.encode()),
            content,
            ignore,
            byref(made),
        )
        self._call("LiteRtAddOpaqueOptions", options, made)

    def _own(self, kind: str, function: str, *arguments: Any) -> c_void_p:
        """A handle that is destroyed in the end."""
        handle = self._made(function, *arguments)
        self._owned.append((kind, handle))
        return handle

    def _made(self, function: str, *arguments: Any) -> c_void_p:
        """A handle that a function returns by its last argument."""
        handle = c_void_p()
        self._call(function, *arguments, byref(handle))
        return handle

    def _call(self, function: str, *arguments: Any) -> None:
        """Call a function that returns a status.

        Raises:
            _Unavailable: the status is not 0.
        """
        called = getattr(self._library, function)
        called.restype = c_int
        status = called(*arguments)
        if status:
            raise _Unavailable(f"{function} failed with status {status}")
