"""Torch modules as runners: names, values and settings."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from mobileq.collapse.collapse import collapse
from mobileq.errors import InputError
from mobileq.graph.nodes import Add, Flatten, Relu, SpatialMean
from mobileq.verify.graph_runner import GraphRunner
from mobileq.verify.torch_runner import BATCH, TorchRunner
from support.images import random_pixels
from support.networks import random_network

BETWEEN_MODULES = (Add, Flatten, Relu, SpatialMean)
"""Nodes that may come from a network's own forward, where no module can be watched."""


@settings(max_examples=6)
@given(st.integers(0, 2**16))
def test_tensors_are_those_of_the_graph(seed: int) -> None:
    """As trained and collapsed: every watched tensor has a node, and its values."""
    network, shape = random_network(seed)
    collapsed = collapse(network, shape)
    pixels = random_pixels(2, shape, seed)
    wanted = GraphRunner(collapsed.graph, "graph").tensors(pixels)
    eager = TorchRunner(network, "eager").tensors(pixels)
    plain = TorchRunner(collapsed.module, "collapsed").tensors(pixels)
    assert set(eager) == set(plain)
    assert set(eager) <= set(wanted)
    for name in set(wanted) - set(eager):
        assert isinstance(collapsed.graph[name], BETWEEN_MODULES)
    for name, values in eager.items():
        scale = np.abs(wanted[name]).max() + 1e-6
        # Sums of up to some hundred float32 products in another order.
        assert np.abs(values - wanted[name]).max() <= 1e-4 * scale
        assert np.abs(plain[name] - wanted[name]).max() <= 1e-4 * scale
    assert np.array_equal(eager["image"], wanted["image"])


class Twice(nn.Module):
    """Calls one module three times, and works in place."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1)
        self.relu = nn.ReLU(inplace=True)
        self.flat = nn.Flatten()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """conv, relu, conv, relu, conv, flatten."""
        features = self.relu(self.conv(images))
        features = self.relu(self.conv(features))
        logits: torch.Tensor = self.flat(self.conv(features))
        return logits


def test_repeated_calls_are_numbered() -> None:
    """The first keeps the module's name, as in the graph; the output is `logits`."""
    found = TorchRunner(Twice(), "twice").tensors(random_pixels(2, (3, 5, 5), 0))
    assert list(found) == [
        "image",
        "conv",
        "relu",
        "conv_1",
        "relu_1",
        "conv_2",
        "logits",
    ]


def test_in_place_modules_do_not_change_what_was_seen() -> None:
    """A ReLU in place leaves the copy of its input negative where it was."""
    found = TorchRunner(Twice(), "twice").tensors(random_pixels(2, (3, 5, 5), 0))
    assert (found["conv"] < 0).any()
    assert np.array_equal(np.maximum(found["conv"], 0), found["relu"])


def test_outputs_do_not_depend_on_batches() -> None:
    """More images than are computed at once give one row each, in order."""
    network, shape = random_network(3)
    runner = TorchRunner(network, "eager")
    pixels = random_pixels(BATCH + 2, shape, 0)
    logits = runner.outputs(pixels)
    assert logits.dtype == np.float32
    # Kernels may sum in another order for a batch of another size.
    last = runner.outputs(pixels[-2:])
    assert np.allclose(logits[-2:], last, rtol=1e-4, atol=1e-5)
    assert np.array_equal(runner.tensors(pixels)["logits"], logits)


def test_threads_are_set_and_restored() -> None:
    """The number of threads holds during an inference only, a timed one too."""
    seen: list[int] = []

    class Spy(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            seen.append(torch.get_num_threads())
            assert not torch.is_grad_enabled()
            return images.mean((2, 3))

    before = torch.get_num_threads()
    runner = TorchRunner(Spy(), "spy", threads=before + 1)
    pixels = random_pixels(1, (3, 5, 5), 0)
    runner.outputs(pixels)
    runner.timed(pixels)()
    assert seen == [before + 1, before + 1]
    assert torch.get_num_threads() == before
    assert runner.name == f"spy, {before + 1} threads"
    assert not runner.integer


def test_threads_must_be_positive() -> None:
    """Zero threads is an error."""
    with pytest.raises(InputError, match="threads is 0"):
        TorchRunner(Twice(), "twice", threads=0)
