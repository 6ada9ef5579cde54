"""Classify images with MediaPipe's ImageClassifier, in an environment of its own.

    python mediapipe_client.py IMAGES.npy MODEL.tflite ...

Prints JSON: by model, the scores of each image in the order of the classes, their
labels, and what MediaPipe's own schema reads from the metadata. It runs where mediapipe
is installed and mobileq is not: the two need different releases of numpy.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any


def classify(model: bytes, images: Any) -> dict[str, Any]:
    """Scores and labels of (N, H, W, 3) uint8 images."""
    import mediapipe as mp
    from mediapipe.tasks.python import vision
    from mediapipe.tasks.python.core.base_options import BaseOptions

    options = vision.ImageClassifierOptions(
        base_options=BaseOptions(model_asset_buffer=model)
    )
    scores, labels = [], []
    with vision.ImageClassifier.create_from_options(options) as classifier:
        for image in images:
            picture = mp.Image(image_format=mp.ImageFormat.SRGB, data=image)
            (head,) = classifier.classify(picture).classifications
            found = sorted(head.categories, key=lambda category: category.index)
            scores.append([category.score for category in found])
            labels = [category.category_name for category in found]
    return {"scores": scores, "labels": labels, "metadata": metadata(model)}


def metadata(model: bytes) -> dict[str, Any]:
    """What MediaPipe's copy of the metadata schema reads."""
    from mediapipe.tasks.metadata import metadata_schema_py_generated as of_metadata
    from mediapipe.tasks.metadata import schema_py_generated as of_model

    file = of_model.ModelT.InitFromObj(of_model.Model.GetRootAsModel(model, 0))
    (entry,) = (e for e in file.metadata if e.name == b"TFLITE_METADATA")
    data = bytes(file.buffers[entry.buffer].data)
    root = of_metadata.ModelMetadata.GetRootAs(data, 0)
    told = of_metadata.ModelMetadataT.InitFromObj(root)
    (subgraph,) = told.subgraphMetadata
    (source,), (result,) = subgraph.inputTensorMetadata, subgraph.outputTensorMetadata
    (unit,) = source.processUnits
    return {
        "identifier": data[4:8].decode(),
        "name": told.name.decode(),
        "parser": told.minParserVersion.decode(),
        "mean": [float(value) for value in unit.options.mean],
        "std": [float(value) for value in unit.options.std],
        "range": [float(source.stats.min[0]), float(source.stats.max[0])],
        "size": [
            source.content.contentProperties.defaultSize.width,
            source.content.contentProperties.defaultSize.height,
        ],
        "colours": source.content.contentProperties.colorSpace,
        "output": result.name.decode(),
    }


def main() -> None:
    """Classify with each model that is named."""
    import numpy as np

    images = np.load(sys.argv[1])
    found = {name: classify(Path(name).read_bytes(), images) for name in sys.argv[2:]}
    print(json.dumps(found))


if __name__ == "__main__":
    main()
