"""Where a network comes from: every way in ends here, in a `Network`.

a checkpoint of mobileq     weights and a model spec
a collapsed checkpoint      a graph; neither torch nor escnn is needed from here on
weights and a function      a state dictionary, and code of the user's that builds
a pickled module            only on the user's word
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mobileq.checkpoint import load_checkpoint, resolve
from mobileq.checkpoint_labels import labels_of
from mobileq.collapse.model import CollapsedModel
from mobileq.collapsed import is_collapsed, load_collapsed
from mobileq.errors import InputError
from mobileq.verify.runner import PixelMap

if TYPE_CHECKING:
    from torch import nn

Report = Callable[[str], None]

IMAGE = (3, 95, 95)
"""(C, H, W) of the images where nothing says otherwise."""


@dataclass(frozen=True)
class Source:
    """What the user names.

    Attributes:
        name: Path of a file, or the name of a shipped checkpoint.
        factory: `package.module:function` that builds the network whose weights the
            file holds.
        shape: (C, H, W) of its images; `IMAGE` if None. For networks of one's own.
        pixels: How 8-bit pixels become what it was trained on; (pixel - 128) / 128 if
            None. For networks of one's own.
        trust_pickle: Whether code in the file may run.
    """

    name: str | Path
    factory: str | None = None
    shape: tuple[int, int, int] | None = None
    pixels: PixelMap | None = None
    trust_pickle: bool = False

    @property
    def own(self) -> bool:
        """Whether the network is the user's own."""
        return self.factory is not None or self.trust_pickle


@dataclass(frozen=True, eq=False)
class Network:
    """A network, and what is known about it.

    Attributes:
        model: Takes normalized images (B, C, H, W); or a graph.
        shape: (C, H, W) of the images.
        pixels: How 8-bit pixels become these images.
        origin: Where it comes from, for the manifest; plain JSON values.
        training: How it was trained, as far as the file says; plain JSON values.
        climbed: Rungs of the ladder that were climbed when it was collapsed.
        labels: Names of the classes; none where they are not known.
    """

    model: nn.Module | CollapsedModel
    shape: tuple[int, int, int]
    pixels: PixelMap = PixelMap()  # noqa: RUF009  (frozen)
    origin: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)
    climbed: tuple[Mapping[str, Any], ...] = ()
    labels: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """What it is, in two words; empty where it is the user's own."""
        spec = self.origin.get("spec")
        group = spec.get("group") if isinstance(spec, Mapping) else None
        return "" if group is None else f"{group} MobileNetV2"


def load_network(source: Source, *, report: Report = lambda message: None) -> Network:
    """Read the file, and build the network where there is one to build.

    Args:
        source: What to read.
        report: Called with a line before each step.

    Raises:
        InputError: the file, the function or the two together cannot be used.
    """
    path = resolve(source.name)
    collapsed = is_collapsed(path)
    if source.own and not collapsed:
        with _one_thread():
            return _own(source, path, report)
    if source.own or source.shape is not None or source.pixels is not None:
        what = "a collapsed checkpoint" if collapsed else "a checkpoint of mobileq"
        raise InputError(
            f"{source.name}: is read as {what}, which knows its network, shape and "
            f"pixels; wanted neither --factory nor --trust-pickle nor --input-shape "
            f"nor --pixel-scale nor --pixel-zero, or --factory with a state dictionary"
        )
    if collapsed:
        return _collapsed(source, path)
    with _one_thread():
        return _checkpoint(source, report)


def _one_thread() -> AbstractContextManager[None]:
    """One thread of torch: with more, escnn's filters are summed in another order.

    A network would then become other bytes on another machine.
    """
    from mobileq.verify.torch_runner import torch_threads

    return torch_threads(1)


def _checkpoint(source: Source, report: Report) -> Network:
    """A checkpoint of mobileq."""
    checkpoint = load_checkpoint(source.name)
    spec = checkpoint.spec
    report(f"building {spec.group} MobileNetV2, width {spec.width:g}")
    origin = {
        "source": checkpoint.source,
        "sha256": checkpoint.sha256,
        "spec": spec.to_dict(),
    }
    return Network(
        checkpoint.build(),
        (spec.in_channels, spec.input_size, spec.input_size),
        origin=origin,
        training=checkpoint.training,
        labels=labels_of(checkpoint.source, checkpoint.training, spec.num_classes),
    )


def _collapsed(source: Source, path: Path) -> Network:
    """A collapsed checkpoint."""
    found = load_collapsed(path)
    image = found.graph.input
    channels, height, width = image.shape
    classes = found.graph.shapes[found.graph.output][0]
    return Network(
        CollapsedModel(None, found.graph, found.head),
        (channels, height, width),
        PixelMap(image.pixel_scale, image.pixel_zero),
        {
            **{key: value for key, value in found.origin.items() if key == "spec"},
            "source": str(source.name),
            "sha256": found.sha256,
            "collapsed_from": dict(found.origin),
        },
        found.training,
        found.ladder,
        labels_of(found.source, found.training, classes),
    )


def _own(source: Source, path: Path, report: Report) -> Network:
    """A network of the user's."""
    from mobileq.factory import build_network, read_module

    origin: dict[str, Any] = {
        "source": str(source.name),
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
    }
    if source.factory is None:
        report("opening a pickled module")
        model = read_module(path)
    else:
        report(f"calling {source.factory}")
        model = build_network(path, source.factory, trust_pickle=source.trust_pickle)
        origin["factory"] = source.factory
    return Network(model, source.shape or IMAGE, source.pixels or PixelMap(), origin)
