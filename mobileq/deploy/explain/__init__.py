"""What quantization did to each layer, and which one costs most.

explain(made, recipe, images) -> Explanation     numbers
explanation_files(explanation) -> files          explain.json, explain.svg
"""

from mobileq.deploy.explain.files import DATA, PICTURE, explanation_files
from mobileq.deploy.explain.measure import MOST_IMAGES, explain
from mobileq.deploy.explain.report import ChannelRanges, Explanation, LayerReport

__all__ = [
    "DATA",
    "MOST_IMAGES",
    "PICTURE",
    "ChannelRanges",
    "Explanation",
    "LayerReport",
    "explain",
    "explanation_files",
]
