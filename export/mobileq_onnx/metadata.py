"""What an ONNX file says about itself in `metadata_props`, each value as text.

mobileq.contract      JSON: all of the following, and how pixels are normalized
labels                JSON: names of the classes, in the order of the output
Image.*               ONNX's own keys for images (docs/MetadataProps.md of ONNX)
"""

from __future__ import annotations

import json

from onnx import TensorProto

from mobileq.contract import Contract
from mobileq.graph.nodes import Input

CONTRACT_KEY = "mobileq.contract"
LABELS_KEY = "labels"

FORMATS = {1: "Gray8", 3: "Rgb8"}
"""ONNX's names of pixel formats, by channels."""


def metadata_props(contract: Contract, image: Input, input_type: int) -> dict[str, str]:
    """All entries.

    Args:
        contract: Head, labels, texts.
        image: The graph's input: shape and normalization.
        input_type: ONNX's element type of the file's input.
    """
    raw = input_type == TensorProto.UINT8
    zero, scale = image.pixel_zero, image.pixel_scale
    told = {
        "name": contract.name,
        "description": contract.description,
        "input": {
            "layout": "NCHW",
            "type": "uint8" if raw else "float32",
            "values": "pixel" if raw else "(pixel - mean) / std",
            "mean": zero,
            "std": 1 / scale,
        },
        "output": {"head": contract.head.value, "labels": list(contract.labels)},
    }
    found = {CONTRACT_KEY: json.dumps(told, ensure_ascii=False)}
    if contract.labels:
        found[LABELS_KEY] = json.dumps(list(contract.labels), ensure_ascii=False)
    if image.shape[0] in FORMATS:
        found["Image.BitmapPixelFormat"] = FORMATS[image.shape[0]]
        found["Image.ColorSpaceGamma"] = "SRGB"
    if raw:
        found["Image.NominalPixelRange"] = "NominalRange_0_255"
    return found
