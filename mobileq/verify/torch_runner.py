"""Run a torch module: a network with its escnn layers, or the collapsed one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mobileq.collapse.modules import LOWER, PASS_THROUGH
from mobileq.collapse.plain import PLAIN
from mobileq.errors import InputError
from mobileq.verify.profile import NodeTime, Profile
from mobileq.verify.runner import PixelMap

BATCH = 64
"""Images in memory together."""

OUTPUT = "logits"
INPUT = "image"


class TorchRunner:
    """A `mobileq.verify.runner.Runner` for torch modules.

    Args:
        module: Normalized images (B, C, H, W) to logits (B, F). It is put in evaluation
            mode.
        name: What it is, such as `escnn eager`; the threads are added.
        pixels: How pixels are normalized.
        threads: CPU threads of one inference.

    Raises:
        InputError: fewer than one thread.
    """

    def __init__(
        self,
        module: nn.Module,
        name: str,
        *,
        pixels: PixelMap = PixelMap(),  # noqa: B008  (frozen)
        threads: int = 1,
    ) -> None:
        if threads < 1:
            raise InputError(f"threads is {threads}; wanted 1 or more")
        # With gradients enabled, escnn's eval() keeps a graph of the expanded filters.
        with torch.no_grad():
            self._module = module.eval()
        self._name = name
        self._pixels = pixels
        self._threads = threads

    @property
    def name(self) -> str:
        """Such as `escnn eager, 1 thread`."""
        plural = "" if self._threads == 1 else "s"
        return f"{self._name}, {self._threads} thread{plural}"

    @property
    def integer(self) -> bool:
        """Never: torch computes in float32 here."""
        return False

    def outputs(self, pixels: NDArray[np.uint8]) -> NDArray[Any]:
        """Logits, (B, F) float32, of (B, H, W, C) pixels."""
        with torch_threads(self._threads), torch.no_grad():
            return np.concatenate(
                [_array(self._module(images)) for images in self._batches(pixels)]
            )

    def tensors(self, pixels: NDArray[np.uint8]) -> Mapping[str, NDArray[Any]]:
        """Outputs of all modules that become a node, (B, C, H, W) or (B, F).

        They are named as `mobileq.collapse` names the nodes. What a network computes
        between its modules, such as a residual sum, is missing.
        """
        collected: dict[str, list[NDArray[Any]]] = {}
        with torch_threads(self._threads), torch.no_grad():
            for images in self._batches(pixels):
                for name, values in _watched(self._module, images).items():
                    collected.setdefault(name, []).append(values)
        return {name: np.concatenate(parts) for name, parts in collected.items()}

    def timed(self, pixels: NDArray[np.uint8]) -> Callable[[], None]:
        """A function that runs one inference on (1, H, W, C)."""
        (images,) = self._batches(pixels)
        module, threads = self._module, self._threads

        def once() -> None:
            with torch_threads(threads), torch.no_grad():
                module(images)

        return once

    def profile(self, pixels: NDArray[np.uint8], runs: int) -> Profile:
        """Time per kind of operator, by torch's own profiler.

        Args:
            pixels: (1, H, W, C).
            runs: Inferences to average over.
        """
        from torch.profiler import ProfilerActivity
        from torch.profiler import profile as profiled

        once = self.timed(pixels)
        once()
        with profiled(activities=[ProfilerActivity.CPU]) as found:
            for _ in range(runs):
                once()
        nodes = [
            NodeTime(str(event.key), str(event.key), us / runs / 1000)
            for event in found.key_averages()
            if (us := float(event.self_cpu_time_total)) > 0
        ]
        nodes.sort(key=lambda node: -node.mean_ms)
        return Profile(tuple(nodes), "torch sums up all operators of one kind")

    def _batches(self, pixels: NDArray[np.uint8]) -> Iterator[Tensor]:
        """Normalized images, a bounded number at a time."""
        for start in range(0, len(pixels), BATCH):
            yield torch.from_numpy(
                self._pixels.normalize(pixels[start : start + BATCH])
            )


@contextmanager
def torch_threads(threads: int) -> Iterator[None]:
    """A number of threads of torch that is restored afterwards."""
    before = torch.get_num_threads()
    if before != threads:
        torch.set_num_threads(threads)
    try:
        yield
    finally:
        if before != threads:
            torch.set_num_threads(before)


def _watched(module: nn.Module, images: Tensor) -> dict[str, NDArray[Any]]:
    """Run a batch and copy every leaf module's output, in the order of the calls."""
    found = {INPUT: images.numpy()}
    last: list[tuple[str, Tensor]] = []

    def watch(path: str) -> Any:
        name = path.removesuffix(".inner")

        def hook(_: nn.Module, __: Any, output: Any) -> None:
            unique, number = name, 1
            while unique in found:
                unique, number = f"{name}_{number}", number + 1
            # A copy, because a following activation may work in place.
            found[unique] = _array(output)
            last[:] = [(unique, _tensor(output))]

        return hook

    handles = [m.register_forward_hook(watch(p)) for p, m in _leaves(module)]
    try:
        output = _tensor(module(images))
    finally:
        for handle in handles:
            handle.remove()
    if last and last[0][1] is output and OUTPUT not in found:
        del found[last[0][0]]
    found.setdefault(OUTPUT, _array(output))
    return found


def _leaves(module: nn.Module, path: str = "") -> Iterator[tuple[str, nn.Module]]:
    """Outermost modules that become a node, with their paths."""
    if _does_nothing(module):
        return
    if type(module) in PLAIN or type(module) in LOWER:
        yield path, module
        return
    for name, child in module.named_children():
        yield from _leaves(child, f"{path}.{name}" if path else name)


def _does_nothing(module: nn.Module) -> bool:
    """Whether it leaves no node, being the identity in evaluation mode."""
    # Imported late: mobileq.models.build holds back a warning of escnn's first import.
    from escnn import nn as enn

    kinds = (enn.PointwiseDropout, enn.FieldDropout, enn.IdentityModule)
    return isinstance(module, (*PASS_THROUGH, *kinds))


def _tensor(value: Any) -> Tensor:
    """The tensor inside of a GeometricTensor, or the tensor itself."""
    tensor: Tensor = getattr(value, "tensor", value)
    return tensor


def _array(value: Any) -> NDArray[Any]:
    """A copy of a tensor, wrapped or not, as an array."""
    return _tensor(value).detach().cpu().numpy().copy()
