"""Reads the profile that ONNX Runtime writes (https://onnxruntime.ai, "Profiling")."""

from __future__ import annotations

import json

from mobileq.errors import GraphError
from mobileq.verify.profile import NodeTime

NOTE = (
    "ONNX Runtime counts whole microseconds, and fuses operators: a node has the name "
    "of one of them"
)

_SUFFIX = "_kernel_time"


def nodes_of(trace: bytes) -> tuple[NodeTime, ...]:
    """Mean time of every node, without its first execution.

    Args:
        trace: What ONNX Runtime wrote: a list of events, durations in microseconds.

    Returns:
        In the order of the first execution.

    Raises:
        GraphError: it is no such list.
    """
    durations: dict[str, list[float]] = {}
    kinds: dict[str, str] = {}
    try:
        for event in json.loads(trace):
            name = str(event["name"])
            if event["cat"] != "Node" or not name.endswith(_SUFFIX):
                continue
            name = name.removesuffix(_SUFFIX)
            kinds[name] = str(event["args"]["op_name"])
            durations.setdefault(name, []).append(float(event["dur"]))
    except (ValueError, TypeError, KeyError) as error:
        raise GraphError(
            f"ONNX Runtime's profile: cannot be read ({error}); wanted a list of "
            f"events (leave --profile out)"
        ) from error
    # The first one allocates memory.
    later = {name: times[1:] or times for name, times in durations.items()}
    return tuple(
        NodeTime(name, kinds[name], sum(times) / len(times) / 1000)
        for name, times in later.items()
    )
