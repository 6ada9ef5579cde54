"""MobileNetV2 of other people as plain torch modules, from files of arrays.

Two files are understood, both for TensorFlow's SAME padding and pixels / 127.5 - 1:

    Keras     `Conv1|kernel`, `bn_Conv1|gamma` ...: HWIO kernels, BatchNorm unfolded, no
              classifier; `frozen_features.fit_head` makes one
    folded    `00_w`, `00_b`, `00_meta` ...: OIHW kernels, BatchNorm folded; the last
              layer is the classifier

On a phone, pixels become (pixel - 128) / 127.5 (`PIXELS`). What is missing to
pixel / 127.5 - 1 is half a grey level, the same everywhere, so its share is added to
the bias of the first convolution. That is exact but where a window reaches the padded
border: zeros there now mean grey level 128 and not 127.5.
"""

from __future__ import annotations

import itertools
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from mobileq.errors import CheckpointError
from mobileq.verify.runner import PixelMap

PIXELS = PixelMap(scale=1 / 127.5, zero=128)
HALF_LEVEL = 0.5 / 127.5
KERAS_EPS = 1e-3
KERAS_STRIDED = (1, 3, 6, 13)
"""Numbers of the blocks with stride 2; the Keras file does not tell strides."""

Arrays = Mapping[str, NDArray[np.float32]]


@dataclass(frozen=True, eq=False)
class Layer:
    """A convolution and what follows it.

    Attributes:
        name: `expand`, `depthwise`, `project`, or that of a layer outside of blocks.
        weight: (O, I / groups, kh, kw), OIHW.
        bias: (O,), or None.
        norm: BatchNorm's gamma, beta, mean and variance, (O,) each; or empty.
        stride: In both directions.
        relu6: Whether a ReLU6 follows.
    """

    name: str
    weight: NDArray[np.float32]
    bias: NDArray[np.float32] | None
    norm: tuple[NDArray[np.float32], ...]
    stride: int
    relu6: bool

    @property
    def groups(self) -> int:
        """Number of channels if depthwise, else 1."""
        return len(self.weight) if self.name == "depthwise" else 1


class SamePad(nn.Module):
    """TensorFlow's SAME: as many zeros as ceil(size / stride) windows need.

    An odd zero goes to the bottom and to the right, where torch has none.
    """

    def __init__(self, kernel: int, stride: int) -> None:
        super().__init__()
        self.kernel, self.stride = kernel, stride

    def forward(self, x: Tensor) -> Tensor:
        """Pad (B, C, H, W)."""
        sides: list[int] = []
        for size in (x.shape[3], x.shape[2]):
            windows = -(-size // self.stride)
            zeros = max((windows - 1) * self.stride + self.kernel - size, 0)
            sides += [zeros // 2, zeros - zeros // 2]
        return F.pad(x, sides)


class Block(nn.Sequential):
    """Inverted residual: expand, filter, project; plus its input where that fits."""

    def __init__(self, layers: Sequence[Layer]) -> None:
        super().__init__(OrderedDict((layer.name, unit(layer)) for layer in layers))
        strides = [layer.stride for layer in layers]
        channels = layers[0].weight.shape[1] * layers[0].groups
        self.residual = max(strides) == 1 and channels == len(layers[-1].weight)

    def forward(self, x: Tensor) -> Tensor:
        """(B, I, H, W) to (B, O, H / stride, W / stride)."""
        y = cast("Tensor", super().forward(x))  # type: ignore[no-untyped-call]
        return x + y if self.residual else y


class StockNetwork(nn.Module):
    """Plain torch MobileNetV2: images (B, 3, H, W), mapped by `PIXELS`, to logits.

    Args:
        layers: All convolutions in their order.
        classifier: Weight (classes, F) and bias (classes,).
    """

    def __init__(
        self, layers: Sequence[Layer], classifier: tuple[NDArray[np.floating[Any]], ...]
    ) -> None:
        super().__init__()
        first, *body, last = layers
        self.stem = unit(_for_pixels(first))
        self.blocks = nn.Sequential(*(Block(group) for group in _blocks(body)))
        self.last = unit(last)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        weight, bias = (torch.tensor(a, dtype=torch.float32) for a in classifier)
        self.classifier = nn.Linear(weight.shape[1], weight.shape[0])
        self.classifier.load_state_dict({"weight": weight, "bias": bias})
        self.eval()

    def features(self, images: Tensor) -> Tensor:
        """What the classifier reads, (B, F)."""
        x = self.last(self.blocks(self.stem(images)))
        pooled: Tensor = self.flatten(self.pool(x))
        return pooled

    def forward(self, images: Tensor) -> Tensor:
        """Logits, (B, classes)."""
        logits: Tensor = self.classifier(self.features(images))
        return logits


def unit(layer: Layer) -> nn.Sequential:
    """Padding, convolution, BatchNorm and ReLU6, as far as the layer has them."""
    out, per_group, kernel, _ = layer.weight.shape
    conv = nn.Conv2d(
        per_group * layer.groups,
        out,
        kernel,
        layer.stride,
        groups=layer.groups,
        bias=layer.bias is not None,
    )
    state = {"weight": torch.from_numpy(layer.weight.copy())}
    if layer.bias is not None:
        state["bias"] = torch.from_numpy(layer.bias.copy())
    conv.load_state_dict(state)
    parts: OrderedDict[str, nn.Module] = OrderedDict()
    if kernel > 1:
        parts["pad"] = SamePad(kernel, layer.stride)
    parts["conv"] = conv
    if layer.norm:
        parts["norm"] = nn.BatchNorm2d(out, eps=KERAS_EPS)
        names = ("weight", "bias", "running_mean", "running_var")
        values = (torch.from_numpy(array.copy()) for array in layer.norm)
        norm = dict(zip(names, values, strict=True))
        parts["norm"].load_state_dict({**norm, "num_batches_tracked": torch.tensor(0)})
    if layer.relu6:
        parts["relu6"] = nn.ReLU6()
    return nn.Sequential(parts)


def load_network(
    path: Path, head: tuple[NDArray[np.floating[Any]], ...] | None = None
) -> StockNetwork:
    """Build the network of a file.

    Args:
        path: An .npz file of one of the two kinds.
        head: Weight and bias of a classifier for a Keras file; by default it has the
            two classes of PCam, and zeros.

    Raises:
        CheckpointError: the file is missing, or neither kind.
    """
    arrays = _load(path)
    try:
        if _is_keras(arrays):
            layers = list(_keras_layers(arrays))
            width = len(layers[-1].weight)
            return StockNetwork(layers, head or (np.zeros((2, width)), np.zeros(2)))
        *layers, last = _folded_layers(arrays)
        assert last.bias is not None
        return StockNetwork(layers, (last.weight[:, :, 0, 0], last.bias))
    except (KeyError, ValueError, RuntimeError) as error:
        raise CheckpointError(
            f"{path}: not a MobileNetV2 of a known layout ({error}); wanted arrays "
            f"'Conv1|kernel' ... of Keras or '00_w', '00_b', '00_meta' ..."
        ) from error


def needs_head(path: Path) -> bool:
    """Whether the network of a file has no classifier of its own.

    Raises:
        CheckpointError: the file is missing or no .npz file.
    """
    return _is_keras(_load(path))


def _load(path: Path) -> dict[str, NDArray[np.float32]]:
    """All arrays of a file."""
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except (OSError, ValueError, EOFError, AttributeError) as error:
        raise CheckpointError(
            f"{path}: cannot be read ({error}); wanted an .npz file of arrays"
        ) from error


def _is_keras(arrays: Mapping[str, object]) -> bool:
    """Whether the arrays are of Keras, without a classifier."""
    return "Conv1|kernel" in arrays


def _keras_layers(arrays: Arrays) -> Iterator[Layer]:
    """Layers of a Keras file, in their order."""
    yield _keras_layer(arrays, "stem", "Conv1", "bn_Conv1", 2)
    for number in itertools.count():
        block = f"block_{number}" if number else "expanded_conv"
        if f"{block}_project|kernel" not in arrays:
            break
        for name in ("expand", "depthwise", "project"):
            key = f"{block}_{name}"
            if f"{key}_BN|gamma" in arrays:
                strided = name == "depthwise" and number in KERAS_STRIDED
                yield _keras_layer(arrays, name, key, f"{key}_BN", 1 + strided)
    yield _keras_layer(arrays, "last", "Conv_1", "Conv_1_bn", 1)


def _keras_layer(arrays: Arrays, name: str, key: str, norm: str, stride: int) -> Layer:
    """One layer: HWIO, or HWC1 if depthwise, to OIHW."""
    if name == "depthwise":
        weight = arrays[f"{key}|depthwise_kernel"].transpose(2, 3, 0, 1)
    else:
        weight = arrays[f"{key}|kernel"].transpose(3, 2, 0, 1)
    parts = ("gamma", "beta", "moving_mean", "moving_variance")
    values = tuple(arrays[f"{norm}|{part}"] for part in parts)
    return Layer(name, weight, None, values, stride, relu6=name != "project")


def _folded_layers(arrays: Arrays) -> Iterator[Layer]:
    """Layers of a folded file, in their order, the classifier included."""
    count = len(arrays) // 3
    for number in range(count):
        stride, activation, depthwise = map(int, arrays[f"{number:02}_meta"])
        weight, bias = arrays[f"{number:02}_w"], arrays[f"{number:02}_b"]
        name = "depthwise" if depthwise else "project" if not activation else "expand"
        name = {0: "stem", count - 2: "last", count - 1: "logits"}.get(number, name)
        yield Layer(name, weight, bias, (), stride, relu6=activation == 3)


def _blocks(layers: Sequence[Layer]) -> Iterator[list[Layer]]:
    """Layers by block: each one ends with its projection."""
    block: list[Layer] = []
    for layer in layers:
        block.append(layer)
        if layer.name == "project":
            yield block
            block = []


def _for_pixels(layer: Layer) -> Layer:
    """The first layer for `PIXELS`: half a grey level goes into the bias."""
    weight = layer.weight.astype(np.float64)
    shift = HALF_LEVEL * weight.sum((1, 2, 3))
    bias = (0 if layer.bias is None else layer.bias) + shift
    return Layer(
        layer.name,
        layer.weight,
        bias.astype(np.float32),
        layer.norm,
        layer.stride,
        layer.relu6,
    )
