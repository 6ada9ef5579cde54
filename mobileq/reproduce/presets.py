"""What the paper did and found, and settings for doing it again.

*A data and compute efficient design for limited-resources deep learning*,
arXiv:2004.09691, section 5: MobileNetV2 on 12 rotations and its conventional twin,
images of 95 px, the stride of two layers reduced, trained for 300 epochs with quarter
turns and mirror images, weights of the lowest validation loss. It names neither
optimizer nor batch size; those here are the ones of `mobileq train`, which always
keeps the weights of the lowest validation loss.
"""

from __future__ import annotations

from dataclasses import dataclass

from mobileq.errors import InputError
from mobileq.models.spec import ModelSpec
from mobileq.train.config import TrainConfig

EQUIVARIANT, CONVENTIONAL = "equivariant", "conventional"
NETWORKS = (CONVENTIONAL, EQUIVARIANT)
"""In the order of the paper's table."""

FLOAT, INT8 = "float", "int8"

TABLE1 = {
    (CONVENTIONAL, FLOAT): 0.8605,
    (CONVENTIONAL, INT8): 0.8510,
    (EQUIVARIANT, FLOAT): 0.8890,
    (EQUIVARIANT, INT8): 0.8816,
}
"""The paper's test accuracies on PCam, by network and precision."""

PAPER = "paper"


@dataclass(frozen=True)
class Preset:
    """How both networks are trained.

    Attributes:
        name: Of the preset.
        purpose: What it is for, in a few words.
        spec: The equivariant network; the other one is its twin.
        config: Hyperparameters of both.
    """

    name: str
    purpose: str
    spec: ModelSpec
    config: TrainConfig

    def network(self, name: str) -> ModelSpec:
        """Architecture of one of `NETWORKS`."""
        return self.spec if name == EQUIVARIANT else self.spec.twin()


PRESETS = {
    preset.name: preset
    for preset in (
        Preset(
            PAPER,
            "the paper's settings, for a GPU and the official PCam",
            ModelSpec(group="C12", width=1.0, input_size=95, reduced_strides=2),
            TrainConfig(
                epochs=300,
                learning_rate=3e-3,
                # The symmetries of the square are all that the paper augments with.
                label_smoothing=0.0,
                stain_jitter=0.0,
                average=0.0,
            ),
        ),
        Preset(
            "small",
            "the same networks with one stride reduced, for a CPU and less data",
            ModelSpec(group="C12", width=1.0, input_size=95, reduced_strides=1),
            TrainConfig(epochs=20, learning_rate=3e-3, stain_jitter=0.15),
        ),
        Preset(
            "smoke",
            "seconds, to see that everything works; its figures mean nothing",
            ModelSpec(group="C4", width=0.25, input_size=31, reduced_strides=2),
            # Networks that hardly learned anything do not pass an export's ladder.
            TrainConfig(epochs=8, batch_size=8, average=0.0, precision="fp32"),
        ),
    )
}


def preset_of(name: str) -> Preset:
    """Look a preset up.

    Raises:
        InputError: there is none of that name.
    """
    if name not in PRESETS:
        raise InputError(f"--preset is {name!r}; wanted {' or '.join(PRESETS)}")
    return PRESETS[name]
