"""The network as a training step calls it: shared between ranks, or compiled."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from mobileq.errors import InputError
from mobileq.models.norm import share_statistics
from mobileq.train.ranks import Ranks


def training_network(
    model: nn.Module, device: torch.device, ranks: Ranks, *, compiled: bool
) -> nn.Module:
    """What computes the logits of a training step with the weights of `model`.

    Args:
        model: The network on its device; its plain BatchNorm layers are replaced where
            there are several ranks.
        device: Where it is.
        ranks: Several share gradients and BatchNorm statistics.
        compiled: Let torch.compile make kernels for it, at its first step.

    Raises:
        InputError: several ranks and `compiled`.
    """
    if ranks.count == 1 and compiled:
        # Where a part of the network is left to Python, that costs little, and the
        # user can do nothing about it: it is not worth a page of warnings.
        logging.getLogger("torch._dynamo").setLevel(logging.ERROR)
        return torch.compile(model)  # type: ignore[return-value]
    if ranks.count == 1:
        return model
    if compiled:
        raise InputError(
            f"--compile with {ranks.count} processes; wanted one (BatchNorm waits for "
            f"the other processes inside the network: leave --compile out)"
        )
    share_statistics(model)
    return DistributedDataParallel(
        model,
        device_ids=[device] if device.type == "cuda" else None,
        # Running statistics are computed from the same numbers on all ranks.
        forward_sync_buffers=False,
        gradient_as_bucket_view=True,
    )


@contextmanager
def compiler_errors(network: nn.Module, model: nn.Module) -> Iterator[None]:
    """Say in one line that a network cannot be compiled here.

    Raises:
        InputError: the compiler failed.
    """
    if network is model or isinstance(network, DistributedDataParallel):
        yield
        return
    from torch._dynamo.exc import TorchDynamoException

    try:
        yield
    except TorchDynamoException as error:
        first = str(error).strip().splitlines()[0]
        raise InputError(
            f"--compile: the network cannot be compiled here ({first}); wanted a "
            f"working C++ compiler with Python's headers, or Triton on a GPU (leave "
            f"--compile out: --resume goes on without it)"
        ) from error
