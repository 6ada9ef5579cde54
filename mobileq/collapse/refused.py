"""Modules of escnn and operations of torch that no convolution graph computes.

For each the reason, and the nearest thing that works.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from mobileq.errors import UnsupportedError

_NORM = "it needs the length of every field, a root of a sum of squares"
_GATE = "it multiplies fields by gates that integer kernels would round anew"
_FOURIER = "it samples functions on the group and transforms them at every pixel"
_REGULAR = "regular fields with enn.ReLU"
_VOLUME = "it works on volumes"

MODULES: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "NormNonLinearity": (_NORM, _REGULAR),
        "InducedNormNonLinearity": (_NORM, _REGULAR),
        "NormPool": (_NORM, "regular fields with enn.GroupPooling"),
        "InducedNormPool": (_NORM, "regular fields with enn.GroupPooling"),
        "NormMaxPool": (_NORM, "regular fields with enn.PointwiseMaxPool2D"),
        "GatedNonLinearity1": (_GATE, _REGULAR),
        "GatedNonLinearity2": (_GATE, _REGULAR),
        "GatedNonLinearityUniform": (_GATE, _REGULAR),
        "InducedGatedNonLinearity1": (_GATE, _REGULAR),
        "FourierPointwise": (_FOURIER, _REGULAR),
        "FourierELU": (_FOURIER, _REGULAR),
        "QuotientFourierPointwise": (_FOURIER, "quotient fields with enn.ReLU"),
        "QuotientFourierELU": (_FOURIER, "quotient fields with enn.ReLU"),
        "TensorProductModule": ("it multiplies fields with each other", _REGULAR),
        "ConcatenatedNonLinearity": (
            "it doubles the channels of every field",
            _REGULAR,
        ),
        "VectorFieldNonLinearity": (
            "it turns maxima over a field into vectors by sine and cosine",
            "enn.GroupPooling",
        ),
        "MaxPoolChannels": ("it keeps a maximum of some channels", "enn.GroupPooling"),
        "R2ConvTransposed": (
            "integer kernels of transposed convolutions differ between runtimes",
            "enn.R2Upsampling and enn.R2Conv",
        ),
        "R2PointConv": ("it works on points, not on a grid", "enn.R2Conv"),
        "BranchingModule": (
            "it splits a tensor into named parts",
            "one enn.R2Conv for each branch, and enn.tensor_directsum",
        ),
        "MergeModule": (
            "it fills a tensor part by part",
            "enn.tensor_directsum of the branches",
        ),
        "MultipleModule": (
            "it splits a tensor into named parts",
            "one enn.R2Conv for each branch, and enn.tensor_directsum",
        ),
        "R3Conv": (_VOLUME, "enn.R2Conv"),
        "R3ConvTransposed": (_VOLUME, "enn.R2Conv"),
        "IIDBatchNorm3d": (_VOLUME, "enn.IIDBatchNorm2d"),
        "PointwiseMaxPool3D": (_VOLUME, "enn.PointwiseMaxPool2D"),
        "PointwiseAvgPool3D": (_VOLUME, "enn.PointwiseAvgPool2D"),
    }
)
"""Reason and remedy by the name of a class of escnn."""

_OF_THE_IMAGE = "it normalizes by statistics of the image itself"

OPERATIONS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "layer_norm": (_OF_THE_IMAGE, "nn.BatchNorm2d"),
        "group_norm": (_OF_THE_IMAGE, "nn.BatchNorm2d"),
        "instance_norm": (_OF_THE_IMAGE, "nn.BatchNorm2d"),
        "scaled_dot_product_attention": (
            "it multiplies feature maps with each other as matrices",
            "a gate for each channel (nn.Conv2d of a mean, nn.Sigmoid, mul)",
        ),
        "conv_transpose2d": (
            "integer kernels of transposed convolutions differ between runtimes",
            "nn.Upsample and nn.Conv2d",
        ),
        "pixel_shuffle": (
            "it moves channels to pixels",
            "nn.Upsample(mode='nearest') and nn.Conv2d",
        ),
        "gelu": ("its integer kernels differ between runtimes", "nn.Hardswish"),
        "tanh": ("its integer kernels differ between runtimes", "nn.Sigmoid"),
        "log_softmax": (
            "it belongs to the loss, not to the network",
            "logits (leave it out), or a softmax at the end",
        ),
    }
)
"""Reason and remedy by the name of an operation of torch."""


def cannot_lower(
    where: str, target: str, operation: str, known: Sequence[str]
) -> UnsupportedError:
    """The error for an operation that has no counterpart.

    Args:
        where: Path of the module that calls it; empty for the network itself.
        target: The operation as the traced program has it.
        operation: Its name in `OPERATIONS`, if it is there.
        known: Operations that have one.
    """
    place = where or "model"
    if operation in OPERATIONS:
        reason, remedy = OPERATIONS[operation]
        return UnsupportedError(
            f"{place}: operation {target} cannot be lowered: {reason}; wanted {remedy} "
            f"(replace it before training)"
        )
    return UnsupportedError(
        f"{place}: operation {target} cannot be lowered; wanted one of "
        f"{', '.join(known)}"
    )
