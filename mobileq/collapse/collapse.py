"""`collapse`: an escnn (or plain torch) network becomes a Graph.

Every escnn leaf module is replaced by a plain torch module with the same interface
(`plain.py`), `torch.export` traces whatever the network's own `forward` does, and the
traced program is lowered to nodes (`lower.py`). The one road for every network.
"""

from __future__ import annotations

import logging
import warnings

import torch
from torch import nn

from mobileq.collapse.fields import Common, FieldReader, common_group
from mobileq.collapse.flattened import without_flattened_grids
from mobileq.collapse.keep import keep_symmetry
from mobileq.collapse.lower import lower
from mobileq.collapse.model import CollapsedModel
from mobileq.collapse.plain import Collapsed, collapse_module
from mobileq.errors import UnsupportedError
from mobileq.graph.fields import NO_GROUP, FieldBlocks, trivial_fields
from mobileq.graph.nodes import Input, Shape


def collapse(
    model: nn.Module,
    shape: Shape,
    *,
    pixel_scale: float = 1 / 128,
    pixel_zero: int = 128,
) -> CollapsedModel:
    """Collapse a trained network.

    Args:
        model: Takes images (B, C, H, W), gives logits or their softmax, (B, classes)
            or (B, classes, H, W). It is not changed.
        shape: (C, H, W) of the images.
        pixel_scale: Real size of one grey level in the images it was trained on.
        pixel_zero: Grey level of real 0.

    Raises:
        UnsupportedError: a module or operation has no plain counterpart.
    """
    module = collapse_module(model)
    fields, common = _fields_of(module)
    image_fields = trivial_fields(shape[0], group=common.group, motions=common.motions)
    program = _trace(module, torch.zeros(2, *shape))
    image = Input("image", (), shape, image_fields, pixel_scale, pixel_zero)
    graph, head = lower(program, module, fields, image)
    graph = keep_symmetry(without_flattened_grids(graph))
    return CollapsedModel(module, graph, head)


def _fields_of(module: nn.Module) -> tuple[dict[str, FieldBlocks], Common]:
    """Fields of what each plain module makes, by path, and the group of all."""
    leaves = {p: m for p, m in module.named_modules() if isinstance(m, Collapsed)}
    if not leaves:
        return {}, Common(NO_GROUP, ())
    types = [t for leaf in leaves.values() for t in (leaf.in_type, leaf.out_type)]
    spaces = {id(t.gspace): t.gspace for t in types}
    common = common_group(list(spaces.values()))
    readers = {key: FieldReader(space, common) for key, space in spaces.items()}
    fields = {
        f"{path}.{below}": readers[id(made.gspace)].read(made)
        for path, leaf in leaves.items()
        for below, made in leaf.types.items()
    }
    return fields, common


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
