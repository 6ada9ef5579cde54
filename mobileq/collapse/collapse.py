"""`collapse`: an escnn (or plain torch) network becomes a Graph.

Every escnn leaf module is replaced by a plain torch module with the same interface
(`plain.py`), `torch.export` traces whatever the network's own `forward` does, and the
traced program is lowered to nodes (`lower.py`). The one road for every network.
"""

from __future__ import annotations

import logging
import warnings
from dataclasses import replace

import torch
from torch import nn

from mobileq.collapse.fields import FieldReader
from mobileq.collapse.lower import lower
from mobileq.collapse.model import CollapsedModel
from mobileq.collapse.plain import Collapsed, collapse_module
from mobileq.errors import UnsupportedError
from mobileq.graph.base import NO_PADDING
from mobileq.graph.fields import NO_GROUP, FieldBlocks, trivial_fields
from mobileq.graph.graph import Graph, after_linear
from mobileq.graph.nodes import Conv, Input, Shape


def collapse(
    model: nn.Module,
    shape: Shape,
    *,
    pixel_scale: float = 1 / 128,
    pixel_zero: int = 128,
) -> CollapsedModel:
    """Collapse a trained network.

    Args:
        model: Takes images (B, C, H, W), gives logits (B, classes). It is not changed.
        shape: (C, H, W) of the images.
        pixel_scale: Real size of one grey level in the images it was trained on.
        pixel_zero: Grey level of real 0.

    Raises:
        UnsupportedError: a module or operation has no plain counterpart.
    """
    module = collapse_module(model)
    leaves = {p: m for p, m in module.named_modules() if isinstance(m, Collapsed)}
    fields: dict[str, FieldBlocks] = {}
    image_fields = trivial_fields(shape[0])
    if leaves:
        reader = FieldReader(next(iter(leaves.values())).out_type.gspace)
        image_fields = trivial_fields(
            shape[0], group=reader.group, motions=reader.motions
        )
        for path, leaf in leaves.items():
            fields[f"{path}.inner"] = reader.read(leaf.out_type, where=path)
    program = _trace(module, torch.zeros(2, *shape))
    image = Input("image", (), shape, image_fields, pixel_scale, pixel_zero)
    graph = _keep_invariance(lower(program, module, fields, image))
    return CollapsedModel(module, graph)


def _keep_invariance(graph: Graph) -> Graph:
    """Give plain 1x1 convolutions behind the orbit pool the fields that they keep.

    They know nothing of the group, but on channels that it leaves alone they need not.
    """
    for name in [node.name for node in graph.nodes]:
        node = graph[name]
        if (
            isinstance(node, Conv)
            and node.fields.group == NO_GROUP
            and (node.weight.shape[2:], node.stride) == ((1, 1), 1)
            and node.padding == NO_PADDING
        ):
            fields = after_linear(graph.fields(node.inputs[0]), len(node.weight))
            graph = graph.replaced({name: replace(node, fields=fields)})
    return graph


def _trace(module: nn.Module, images: torch.Tensor) -> torch.export.ExportedProgram:
    """Trace the forward pass.

    Raises:
        UnsupportedError: the forward pass cannot be traced.
    """
    # torch.export logs and warns about its own internals.
    logging.getLogger("torch.export").setLevel(logging.ERROR)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        try:
            return torch.export.export(module, (images,), strict=False)
        except Exception as error:
            reason = str(error).strip().splitlines() or [type(error).__name__]
            raise UnsupportedError(
                f"model: cannot be traced ({reason[0]}); wanted a forward pass without "
                f"data-dependent branches"
            ) from error


__all__ = ["CollapsedModel", "collapse"]
