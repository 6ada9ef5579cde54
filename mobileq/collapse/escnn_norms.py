"""escnn's normalizations, and its other modules that are affine at every pixel."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from escnn.nn import GeometricTensor
from torch import Tensor, nn

from mobileq.errors import UnsupportedError

_ROUNDING = 1e-4
"""Float32 sums of some hundred products, relative to the largest value."""


def block_norm(module: Any, path: str) -> nn.Module:
    """Block-shared BatchNorm, its values repeated for every channel."""
    norm = nn.BatchNorm2d(module.in_type.size, eps=module.eps)
    for name in ("weight", "bias", "running_mean", "running_var"):
        value = getattr(module, name).repeat_interleave(module.block)
        getattr(norm, name).copy_(value)
    return norm


def inner_norm(module: Any, path: str) -> nn.Module:
    """InnerBatchNorm: a BatchNorm3d for the fields of each size."""
    norm = _empty(module, path)
    for size, contiguous in module._contiguous.items():
        channels = _channels(getattr(module, f"indices_{size}"), contiguous)
        inner = getattr(module, f"batch_norm_[{size}]")
        for name in ("weight", "bias", "running_mean", "running_var"):
            value = getattr(inner, name)
            if value is not None:
                getattr(norm, name)[channels] = value.repeat_interleave(size)
    return norm


def iid_norm(module: Any, path: str) -> nn.Module:
    """IIDBatchNorm2d: one variance per field, a mean of what the group keeps."""
    norm = _empty(module, path)
    for kind, channels, _ in _kinds(module):
        mean, variance = module._get_running_stats(kind)
        size = len(channels) // len(variance)
        norm.running_var[channels] = variance.ravel().repeat_interleave(size)  # type: ignore[index]
        if mean is not None:
            norm.running_mean[channels] = mean.ravel()  # type: ignore[index]
        if module.affine:
            weight = getattr(module, f"{module._escape_name(kind)}_weight")
            norm.weight[channels] = weight.ravel().repeat_interleave(size)
        if module.affine and mean is not None:
            name = module._escape_name(kind)
            basis = getattr(module, f"{name}_change_of_basis")
            bias = getattr(module, f"{name}_bias") @ basis.T
            norm.bias[channels] = bias.ravel()
    return norm


@torch.no_grad()
def affine(module: Any, path: str) -> nn.Module:
    """Any module that does the same affine map at every pixel, as a 1x1 convolution.

    The map is read off from what the module makes of zero and of the unit vectors.

    Raises:
        UnsupportedError: it is no such map.
    """
    _require_statistics(module, path)
    size = module.in_type.size
    shift = _applied(module, torch.zeros(1, size))
    columns = _applied(module, torch.eye(size)) - shift
    conv = nn.Conv2d(size, shift.shape[1], 1)
    conv.weight.copy_(columns.T[:, :, None, None])
    assert conv.bias is not None
    conv.bias.copy_(shift[0])
    # Exact thirds and sevenths, so that nothing is the same by chance.
    probe = torch.arange(1.0, 3 * size + 1).reshape(3, size) / 7 % 1.3 - 0.6
    found, wanted = probe @ columns + shift, _applied(module, probe)
    if not (found - wanted).abs().max() <= _ROUNDING * wanted.abs().max().clamp(min=1):
        raise UnsupportedError(
            f"{path}: escnn module {type(module).__name__} is no affine map of the "
            f"channels of a pixel; wanted InnerBatchNorm in its place"
        )
    return conv


def _applied(module: Any, rows: Tensor) -> Tensor:
    """(B, O) results of (B, C) channels, each of an image of one pixel."""
    made = module(GeometricTensor(rows[:, :, None, None], module.in_type))
    tensor: Tensor = made.tensor
    return tensor[:, :, 0, 0]


def _empty(module: Any, path: str) -> nn.BatchNorm2d:
    """A BatchNorm2d that does nothing yet."""
    _require_statistics(module, path)
    return nn.BatchNorm2d(module.in_type.size, eps=module.eps)


def _require_statistics(module: Any, path: str) -> None:
    """Check that a normalization does not depend on the other images of a batch.

    Raises:
        UnsupportedError: it does.
    """
    if not getattr(module, "track_running_stats", True):
        raise UnsupportedError(
            f"{path}: {type(module).__name__} without running statistics; wanted them "
            f"(track_running_stats=True)"
        )


def _kinds(module: Any) -> Iterator[tuple[str, Tensor, int]]:
    """Name, channels and size of the fields of each kind."""
    for kind, size in module._sizes:
        indices = getattr(module, f"{module._escape_name(kind)}_indices")
        yield kind, _channels(indices, module._contiguous[kind]), size


def _channels(indices: Any, contiguous: bool) -> Tensor:
    """Numbers of channels, which escnn keeps as first and last if they are in a row."""
    if contiguous:
        return torch.arange(int(indices[0]), int(indices[1]))
    return torch.as_tensor(indices)
