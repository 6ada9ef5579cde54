"""A manifest that holds everything that one must hold, for tests to change."""

from __future__ import annotations

import copy
from typing import Any

HASH = "0" * 64
_SOUND: dict[str, Any] = {
    "format": "mobileq-bundle",
    "version": 1,
    "mobileq": "0.1.0",
    "group": "C4",
    "checkpoint": {"source": "a.pt", "sha256": HASH},
    "input": {"shape": [3, 95, 95], "pixel_scale": 0.0078125, "pixel_zero": 128},
    "contract": {
        "name": "",
        "description": "",
        "head": "none",
        "output": "logits",
        "labels": ["a", "b"],
        "normalization": {"mean": 128, "std": 128.0},
        "files": {
            "model.int8.tflite": {
                "input": "uint8",
                "output": "uint8",
                "layout": "NHWC",
                "batch": 1,
            }
        },
    },
    "classes": 2,
    "multiply_adds": 10,
    "exact_symmetry": {"motions": [[1, False]], "why_not": None},
    "ladder": [],
    "certificates": {},
    "environment": {},
    "files": {"model.int8.tflite": {"sha256": HASH, "bytes": 7}},
}


def sound(**changes: Any) -> dict[str, Any]:
    """The manifest of an imaginary C4 network of two classes, with other entries."""
    return {**copy.deepcopy(_SOUND), **changes}
