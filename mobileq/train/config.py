"""Everything that decides what a training run computes."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from mobileq.errors import InputError

PRECISIONS = ("auto", "bf16", "fp32")
DEVICES = ("auto", "cpu", "cuda")


@dataclass(frozen=True)
class TrainConfig:
    """Hyperparameters of a run.

    Attributes:
        epochs: Passes over the training set.
        batch_size: Images per step.
        learning_rate: Peak of the one-cycle schedule (arXiv:1708.07120).
        weight_decay: AdamW's, on convolution and linear weights only.
        warmup: Share of all steps during which the learning rate rises.
        label_smoothing: Probability mass moved to the other classes (arXiv:1512.00567).
        stain_jitter: Half width of the stain augmentation; 0 turns it off.
        average: Decay per step of the averaged weights, which are what is validated and
            kept; 0 keeps the weights themselves.
        symmetries: Whether every image is turned and mirrored at random.
        precision: `bf16` autocast, `fp32`, or `auto`: bf16 where the processor
            has instructions for it.
        seed: Decides initial weights, order and augmentation.
        device: `cpu`, `cuda`, or `auto`.
    """

    epochs: int = 12
    batch_size: int = 64
    learning_rate: float = 4e-3
    weight_decay: float = 0.02
    warmup: float = 0.2
    label_smoothing: float = 0.05
    stain_jitter: float = 0.1
    average: float = 0.998
    symmetries: bool = True
    precision: str = "auto"
    seed: int = 0
    device: str = "auto"

    def __post_init__(self) -> None:
        """Check every value.

        Raises:
            InputError: a value is out of its range.
        """
        limits: tuple[tuple[str, float, float, float], ...] = (
            ("epochs", self.epochs, 1, 100_000),
            ("batch_size", self.batch_size, 2, 65_536),
            ("learning_rate", self.learning_rate, 1e-8, 10),
            ("weight_decay", self.weight_decay, 0, 10),
            ("warmup", self.warmup, 0.01, 0.99),
            ("label_smoothing", self.label_smoothing, 0, 0.9),
            ("stain_jitter", self.stain_jitter, 0, 0.9),
            ("average", self.average, 0, 0.999999),
            ("seed", self.seed, 0, 2**32 - 1),
        )
        for name, value, low, high in limits:
            if not low <= value <= high:
                raise InputError(f"{name} is {value}; wanted {low} to {high}")
        names = (
            ("precision", self.precision, PRECISIONS),
            ("device", self.device, DEVICES),
        )
        for name, text, known in names:
            if text not in known:
                raise InputError(f"{name} is {text!r}; wanted {', '.join(known)}")

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)
