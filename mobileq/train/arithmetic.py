"""Where a network is computed, and with which kind of floating point."""

from __future__ import annotations

import contextlib

import torch

from mobileq.errors import InputError


def choose_device(name: str, local_rank: int = 0) -> torch.device:
    """Find the device that a configuration names; `auto` is CUDA where there is a GPU.

    Args:
        name: `auto`, `cpu` or `cuda`.
        local_rank: Which process of this machine asks; each has a GPU of its own.

    Raises:
        InputError: the device is unknown or absent.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cpu":
        return torch.device(name)
    if name == "cuda" and torch.cuda.is_available():
        found = torch.cuda.device_count()
        if local_rank >= found:
            raise InputError(
                f"process {local_rank + 1} on this machine has no GPU, there are "
                f"{found}; wanted one for each (lower --nproc-per-node)"
            )
        return torch.device(name, local_rank)
    raise InputError(f"device is {name!r}, which is not here; wanted auto, cpu or cuda")


def choose_precision(name: str, device: torch.device) -> str:
    """Resolve `auto`: `bf16` where the processor has instructions for it, or `fp32`."""
    if name != "auto":
        return name
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported() else "fp32"
    fast = torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return "bf16" if fast else "fp32"


def autocast(
    device: torch.device, precision: str
) -> contextlib.AbstractContextManager[object]:
    """Context in which layers compute in `precision`, `bf16` or `fp32`."""
    if precision == "bf16":
        return torch.autocast(device.type, torch.bfloat16)
    return contextlib.nullcontext()
