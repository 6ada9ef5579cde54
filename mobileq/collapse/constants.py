"""What a traced program computes from its parameters and buffers alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor, fx


class Constants:
    """Values of a traced program that do not depend on the image.

    Args:
        program: Whose parameters and buffers they are made of.
    """

    def __init__(self, program: torch.export.ExportedProgram) -> None:
        self._values: dict[fx.Node, Tensor] = {}
        stored: dict[str, Any] = {**program.state_dict, **program.constants}
        self._stored = {
            spec.arg.name: stored[spec.target]
            for spec in program.graph_signature.input_specs
            if spec.target in stored and hasattr(spec.arg, "name")
        }

    def __contains__(self, node: fx.Node) -> bool:
        """Whether a value is a constant."""
        return node in self._values

    def read(self, node: fx.Node) -> None:
        """Note a placeholder, if it is a parameter or a buffer."""
        value = self._stored.get(node.name)
        if isinstance(value, Tensor):
            self._values[node] = value.detach()

    def compute(self, call: fx.Node) -> None:
        """Note the result of an operation that reads constants alone."""
        inputs = call.all_input_nodes
        if all(node in self._values for node in inputs):
            args, kwargs = fx.node.map_arg(
                (call.args, call.kwargs), lambda node: self._values[node]
            )
            with torch.no_grad():
                result = cast("Callable[..., Any]", call.target)(*args, **kwargs)
            if isinstance(result, Tensor):
                self._values[call] = result

    def of(self, call: fx.Node) -> dict[str, Tensor]:
        """Constants among the arguments of an operation, by their names."""
        nodes = call.all_input_nodes
        return {n.name: self._values[n] for n in nodes if n in self._values}
