"""What the training loop computes and what it refuses."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from mobileq.checkpoint import Checkpoint
from mobileq.data.patches import ArrayPatches, Patches
from mobileq.data.synthetic import synthetic_tissue
from mobileq.errors import DataError, InputError, TrainingError
from mobileq.models.spec import ModelSpec
from mobileq.train import loop
from mobileq.train.arithmetic import choose_device, choose_precision
from mobileq.train.batches import TrainingBatches
from mobileq.train.config import TrainConfig
from mobileq.train.loop import Progress, train
from mobileq.train.state import RunState, snapshot
from mobileq.train.step import train_step
from support.small_runs import (
    CONFIG,
    SPEC,
    STEPS,
    TRAINING,
    TWIN,
    VALIDATION,
    differences,
    noise,
    read_state,
)

CPU = torch.device("cpu")
ONE_EPOCH = replace(CONFIG, epochs=1)


def run(
    folder: Path,
    config: TrainConfig = ONE_EPOCH,
    *,
    spec: ModelSpec = TWIN,
    training: Patches = TRAINING,
    validation: Patches = VALIDATION,
) -> Checkpoint:
    """Train the small network."""
    return train(spec, config, training, validation, run_dir=folder)


@pytest.mark.slow
def test_training_learns(tmp_path: Path) -> None:
    """A tiny network learns the synthetic task from 256 images."""
    spec = ModelSpec(group="C4", width=0.1, input_size=47, reduced_strides=2)
    config = TrainConfig(
        epochs=3, batch_size=8, learning_rate=1e-2, average=0.9, precision="fp32"
    )
    training, validation = (synthetic_tissue(n, seed=n) for n in (256, 128))
    best = run(tmp_path, config, spec=spec, training=training, validation=validation)
    # By chance the AUC of 64 against 64 images has a standard deviation of 0.05.
    assert best.training["validation"]["auc"] > 0.7


def test_seeds(tmp_path: Path) -> None:
    """The seed decides the weights, to the last bit."""
    first, again, other = (
        dict(run(tmp_path / str(i), replace(ONE_EPOCH, seed=seed), spec=SPEC).weights)
        for i, seed in enumerate((5, 5, 6))
    )
    assert differences(first, again) == []
    assert differences(first, other) != []


def test_reflections(tmp_path: Path) -> None:
    """A network with reflections is trained by the same loop."""
    best = run(tmp_path, spec=replace(SPEC, group="D2", channel_multiple=4))
    assert np.isfinite(best.training["validation"]["loss"])


def test_best_epoch_is_kept(tmp_path: Path) -> None:
    """The checkpoint is that of the smallest validation loss in the history."""
    best = run(tmp_path, replace(CONFIG, epochs=4, learning_rate=0.03))
    history = read_state(tmp_path)["history"]
    losses = [entry["validation"]["loss"] for entry in history]
    assert len(losses) == 4
    assert best.training["epoch"] == 1 + int(np.argmin(losses))
    assert best.training["validation"]["loss"] == min(losses)
    assert best.training["precision"] == "fp32"


def test_reports(tmp_path: Path) -> None:
    """Every step is reported, and every epoch once more with its scores."""
    seen: list[Progress] = []
    train(TWIN, CONFIG, TRAINING, VALIDATION, run_dir=tmp_path, report=seen.append)
    places = [(p.epoch, p.step, p.validation is not None) for p in seen]
    one = [(step, False) for step in range(1, STEPS + 1)] + [(STEPS, True)]
    assert places == [(epoch, *place) for epoch in (0, 1) for place in one]
    assert all(p.steps == STEPS and p.images_per_second > 0 for p in seen)
    assert seen[-1].loss == pytest.approx(seen[-2].loss, rel=1e-12)  # same sum


def test_fewer_images_than_a_batch(tmp_path: Path) -> None:
    """A set smaller than the batch is one batch."""
    run(tmp_path, replace(CONFIG, batch_size=512), training=noise(5, seed=3))
    assert read_state(tmp_path)["scheduler"]["last_epoch"] == CONFIG.epochs


def test_more_classes_than_labels(tmp_path: Path) -> None:
    """Three logits for two labels are trained; only two classes have an AUC."""
    best = run(tmp_path, spec=replace(TWIN, num_classes=3))
    assert best.training["validation"]["auc"] is None
    assert np.isfinite(best.training["validation"]["loss"])


@pytest.mark.parametrize("which", ["training", "validation"])
def test_label_without_a_logit(which: str, tmp_path: Path) -> None:
    """A label that no logit stands for is found before anything is computed."""
    sets = {"training": noise(8, seed=1), "validation": noise(8, seed=2)}
    blank = ArrayPatches(sets[which].images, np.zeros(8, np.uint8))
    other = {name: blank for name in sets if name != which}
    with pytest.raises(DataError, match=f"{which} set: label 1 occurs; wanted 0 to 0"):
        run(tmp_path / "x", spec=replace(TWIN, num_classes=1), **{**sets, **other})
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    ("patches", "message"),
    [
        (noise(1, seed=0), "1 images; wanted at least 2"),
        (noise(8, seed=0, size=13), "13x13 px; wanted at least 15 px"),
    ],
)
def test_unsuitable_images(patches: ArrayPatches, message: str, tmp_path: Path) -> None:
    """Too few or too small images are found before anything is computed."""
    with pytest.raises(DataError, match=f"training set: .*{message}"):
        run(tmp_path / "x", training=patches)
    with pytest.raises(DataError, match=f"validation set: .*{message}"):
        run(tmp_path / "x", validation=patches)
    assert not (tmp_path / "x").exists()


def test_validation_loss_that_is_nan(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A network whose validation loss is NaN is not called the best."""
    broken = np.full((len(VALIDATION), 2), np.nan, np.float32)
    monkeypatch.setattr(loop, "predict_together", lambda *args, input_size: broken)
    with pytest.raises(TrainingError, match="validation loss is nan"):
        run(tmp_path)
    assert not (tmp_path / "best.pt").exists()


def test_average_follows_the_weights() -> None:
    """After one step the average has gone 9/11 of the way, as (1 + n)/(10 + n) says."""
    state = RunState.start(TWIN, CONFIG, STEPS, CPU)
    before = snapshot(state.model)
    batch = next(TrainingBatches(TRAINING, CONFIG, SPEC.input_size).epoch(0))
    train_step(state, CONFIG, "fp32", batch)
    assert state.averaged is not None
    after = state.model.state_dict()
    for name, value in state.averaged.items():
        if value.is_floating_point():
            wanted = before[name] + 9 / 11 * (after[name] - before[name])
            # Rounding of one float32 sum and product.
            torch.testing.assert_close(value, wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("epochs", [1, 2, 3, 4, 5, 6])
@pytest.mark.parametrize("warmup", [0.01, 0.2, 0.99])
def test_schedules_of_short_runs(epochs: int, warmup: float) -> None:
    """However few steps a run has, the rate rises to its peak and falls to nothing."""
    config = replace(CONFIG, epochs=epochs, warmup=warmup)
    state = RunState.start(TWIN, config, 1, CPU)
    rates = []
    for _ in range(epochs):
        rates.append(state.optimizer.param_groups[0]["lr"])
        state.optimizer.step()
        state.scheduler.step()
    assert all(0 < rate <= config.learning_rate for rate in rates)
    assert rates[0] < config.learning_rate
    if epochs > 1:
        # The peak may lie between two steps of a long rise.
        assert max(rates) > 0.5 * config.learning_rate


def test_only_filters_decay() -> None:
    """Biases and BatchNorm parameters are not drawn to zero."""
    state = RunState.start(TWIN, CONFIG, STEPS, CPU)
    for group in state.optimizer.param_groups:
        for parameter in group["params"]:
            assert (group["weight_decay"] > 0) == (parameter.ndim > 1)


def test_a_bad_step_changes_nothing() -> None:
    """Where the loss is NaN, the weights stay as they were."""
    state = RunState.start(TWIN, CONFIG, STEPS, CPU)
    parameters = [p.detach().clone() for p in state.model.parameters()]
    images, labels = next(TrainingBatches(TRAINING, CONFIG, 15).epoch(0))
    with pytest.raises(TrainingError, match="epoch 1, step 1: the loss is nan"):
        train_step(state, CONFIG, "fp32", (np.full_like(images, np.nan), labels))
    for kept, parameter in zip(parameters, state.model.parameters(), strict=True):
        assert torch.equal(kept, parameter)
    assert state.step == 0


def test_devices() -> None:
    """`auto` finds a device; a name that is not here is refused."""
    assert choose_device("cpu") == CPU
    assert choose_device("auto").type in ("cpu", "cuda")
    with pytest.raises(InputError, match="device is 'tpu'"):
        choose_device("tpu")
    if not torch.cuda.is_available():
        with pytest.raises(InputError, match="device is 'cuda', which is not here"):
            choose_device("cuda")


def test_precisions() -> None:
    """`auto` becomes one of the two; the others stay as they are."""
    assert choose_precision("auto", CPU) in ("bf16", "fp32")
    assert [choose_precision(name, CPU) for name in ("bf16", "fp32")] == [
        "bf16",
        "fp32",
    ]
