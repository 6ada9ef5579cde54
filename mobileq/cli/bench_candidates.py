"""Which files of a bundle are run on which runtime, and with what."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from mobileq.bench.figures import Label
from mobileq.bench.process import ProcessRunner
from mobileq.bench.spec import KERNELS, RunnerSpec
from mobileq.bench.subject import Candidate, Subject
from mobileq.bundle import Bundle
from mobileq.checkpoint import resolve
from mobileq.cli.bench_target import Network, checkpoint_of
from mobileq.collapsed import is_collapsed
from mobileq.contract import Head
from mobileq.errors import BundleError, InputError
from mobileq.runtimes.factory import missing

FILE_RUNTIMES = ("tflite", "onnx")
PRECISIONS = ("float", "int8")


@dataclass(frozen=True)
class Choice:
    """What the command line asks for.

    Attributes:
        runtimes: Some of `KERNELS`, in the order of the rows.
        kernels: Of each runtime.
        threads: Of one inference; each number makes rows of its own.
        lenient: Whether a file that the bundle lacks is a row that says so.
        factory: Function that builds a network of one's own, for torch.
        trust_pickle: Whether code in the checkpoint may run, for torch.
    """

    runtimes: tuple[str, ...]
    kernels: Mapping[str, Sequence[str]]
    threads: tuple[int, ...] = (1,)
    lenient: bool = False
    factory: str | None = None
    trust_pickle: bool = False


def candidates_of(
    bundle: Bundle | None, network: Network, choice: Choice
) -> list[Candidate]:
    """Everything that is to be measured, and what cannot be.

    Args:
        bundle: Where the files are; None for torch alone, without any.
        network: What is known of the network.
        choice: What is asked for.

    Raises:
        BundleError: the bundle lacks a file, or has a damaged one; the checkpoint that
            it was made from is gone.
    """
    found: list[Candidate] = []
    for runtime in choice.runtimes:
        try:
            if runtime == "torch":
                made = list(_torch(bundle, network, choice))
            else:
                assert bundle is not None
                made = list(_files(bundle, network, runtime, choice))
        except InputError as error:
            if not choice.lenient:
                raise
            made = [_absent(runtime, choice, str(error))]
        found += made
    return found


def subjects_of(candidates: Sequence[Candidate]) -> list[Subject]:
    """Runners for what else is measured than `mobileq bench` does.

    Raises:
        InputError: one of them cannot be run.
    """
    found = []
    for candidate in candidates:
        if candidate.spec is None:
            raise InputError(f"{candidate.label.runtime}: {candidate.unavailable}")
        runner = ProcessRunner(candidate.spec)
        found.append(Subject(candidate.label, runner, candidate.dequantize))
    return found


def _absent(runtime: str, choice: Choice, reason: str) -> Candidate:
    """A row that says why there is nothing in it."""
    kernel = choice.kernels[runtime][0]
    label = Label(runtime, kernel, "float", choice.threads[0], "", 0)
    return Candidate(label, None, unavailable=reason)


def _rows(
    runtime: str, precision: str, file: tuple[str, int, str], choice: Choice
) -> Iterator[Label]:
    """Labels of one file with every set of kernels and number of threads."""
    name, size, sha256 = file
    for kernel in choice.kernels[runtime]:
        for threads in choice.threads:
            yield Label(runtime, kernel, precision, threads, name, size, sha256)


def _files(
    bundle: Bundle, network: Network, runtime: str, choice: Choice
) -> Iterator[Candidate]:
    """A bundle's files for one runtime.

    Raises:
        BundleError: there is none, or a damaged one.
    """
    names = {p: f"model.{p}.{runtime}" for p in PRECISIONS}
    present = [p for p in PRECISIONS if names[p] in bundle.manifest["files"]]
    lacking = missing(runtime)
    for precision in present or PRECISIONS[:1]:
        data = bundle.read(names[precision])
        if precision == "int8" and network.output is None:
            raise BundleError(
                f"{bundle.path}: the manifest has no quantization of the output; "
                f"wanted scale and zero_point (export again)"
            )
        file = (names[precision], len(data), hashlib.sha256(data).hexdigest())
        dequantize = network.output if precision == "int8" else None
        headed = network.head is not Head.NONE
        for label in _rows(runtime, precision, file, choice):
            spec = RunnerSpec(
                "tflite" if runtime == "tflite" else "onnx",
                label.kernel,
                str((bundle.path / names[precision]).absolute()),
                label.threads,
                network.pixels,
                # Everything is measured on logits, which such files keep inside.
                network.head,
                dequantize if headed else None,
            )
            yield Candidate(
                label,
                None if lacking else spec,
                None if headed else dequantize,
                lacking,
                quality=label.threads == choice.threads[0],
            )


def _torch(
    bundle: Bundle | None, network: Network, choice: Choice
) -> Iterator[Candidate]:
    """The network as it was trained, and without escnn.

    Raises:
        BundleError: its checkpoint is gone or has changed.
        InputError: it is not one of torch, or is the user's own and nothing says how
            to build it.
    """
    lacking = missing("torch")
    path = resolve(network.name) if bundle is None else checkpoint_of(bundle)
    if is_collapsed(path):
        raise InputError(
            f"{path}: is a collapsed checkpoint, which has no torch modules; wanted "
            f"the network as it was trained (pass its checkpoint)"
        )
    own = _check_own(bundle, path.name, choice)
    channels, height, width = network.shape
    data = path.read_bytes()
    file = (path.name, len(data), hashlib.sha256(data).hexdigest())
    for label in _rows("torch", "float", file, choice):
        spec = RunnerSpec(
            "torch",
            label.kernel,
            str(path.absolute()),
            label.threads,
            network.pixels if own else None,
            factory=choice.factory,
            shape=(channels, height, width) if own else None,
            trust_pickle=choice.trust_pickle,
        )
        quality = label.threads == choice.threads[0]
        yield Candidate(
            label, None if lacking else spec, None, lacking, quality=quality
        )


def _check_own(bundle: Bundle | None, name: str, choice: Choice) -> bool:
    """Whether the network is the user's own, and can be built.

    Raises:
        InputError: it cannot.
    """
    given = choice.factory is not None or choice.trust_pickle
    origin = {} if bundle is None else bundle.manifest.get("checkpoint") or {}
    if bundle is None or "spec" in origin:
        return False
    if not given:
        known = origin.get("factory")
        # Code is imported where the user names it, never where a file does.
        option = f"--factory {known}" if isinstance(known, str) else "--trust-pickle"
        raise InputError(
            f"{name}: is a network of your own; wanted the function that builds it "
            f"({option})"
        )
    return True


def all_kernels(tflite: Sequence[str] | None = None) -> dict[str, Sequence[str]]:
    """Kernels of every runtime.

    Args:
        tflite: Those of TFLite, if not all.
    """
    return {**KERNELS, **({"tflite": tflite} if tflite else {})}
