"""QuantSpec: the only place where scales, zero points and integer weights live.

Both writers and the simulator read the same QuantSpec; none of them decides anything
numeric. Activations are signed 8 bit; a writer that wants unsigned ones adds 128 to
values and zero points, which changes nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from mobileq.errors import GraphError
from mobileq.graph.arrays import frozen
from mobileq.quant.affine import Affine


@dataclass(frozen=True, eq=False)
class QuantizedLayer:
    """Integer weights of one Conv or Linear node.

    Attributes:
        weight: Shape of the node's weight (OIHW, or (O, I)), int8 in [-127, 127],
            symmetric: zero point 0.
        weight_scale: (O,) float32, positive; all equal if quantized per tensor.
        bias: (O,) int32, with scale input scale * weight_scale and zero point 0.
        per_channel: Whether the files should carry one weight scale per output channel
            (else one for the tensor).
    """

    weight: NDArray[np.int8]
    weight_scale: NDArray[np.float32]
    bias: NDArray[np.int32]
    per_channel: bool

    def __post_init__(self) -> None:
        """Freeze and check.

        Raises:
            GraphError: shapes or ranges do not fit.
        """
        object.__setattr__(self, "weight", frozen(self.weight, np.int8))
        object.__setattr__(self, "weight_scale", frozen(self.weight_scale, np.float32))
        object.__setattr__(self, "bias", frozen(self.bias, np.int32))
        out = self.weight.shape[0]
        if self.weight_scale.shape != (out,) or self.bias.shape != (out,):
            raise GraphError(
                f"quantized layer: weight {self.weight.shape}, scales "
                f"{self.weight_scale.shape}, bias {self.bias.shape}; wanted ({out},)"
            )
        if not (np.isfinite(self.weight_scale) & (self.weight_scale > 0)).all():
            raise GraphError("quantized layer: a weight scale is not positive")
        if (self.weight == -128).any():
            raise GraphError("quantized layer: a weight is -128; wanted -127 to 127")
        if not self.per_channel and (self.weight_scale != self.weight_scale[0]).any():
            raise GraphError("quantized layer: per tensor, but the scales differ")

    @property
    def dequantized(self) -> NDArray[np.float64]:
        """Real values of the weights, in their shape."""
        shape = (-1, *[1] * (self.weight.ndim - 1))
        scale = self.weight_scale.astype(np.float64).reshape(shape)
        return np.asarray(self.weight * scale)


@dataclass(frozen=True, eq=False)
class QuantSpec:
    """All integers and scales of a deployable graph.

    Attributes:
        activations: Affine map of every tensor, by name. The input's is the pixel's:
            int8 value = pixel - 128. Masks, MaxPool, OrbitMax, copies, Flatten and
            standalone Relu nodes share the map of their input.
        layers: Integer weights of every Conv and Linear node, by name.
    """

    activations: Mapping[str, Affine]
    layers: Mapping[str, QuantizedLayer]

    def __post_init__(self) -> None:
        """Freeze."""
        frozen_activations = MappingProxyType(dict(self.activations))
        object.__setattr__(self, "activations", frozen_activations)
        object.__setattr__(self, "layers", MappingProxyType(dict(self.layers)))
