"""A run can start from the weights of an earlier one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from mobileq.checkpoint import load_checkpoint
from mobileq.errors import InputError
from mobileq.train.loop import train
from mobileq.train.state import BEST_FILE
from support.small_runs import CONFIG, SPEC, TRAINING, TWIN, VALIDATION


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The best checkpoint of a short run."""
    folder = tmp_path_factory.mktemp("first")
    train(SPEC, CONFIG, TRAINING, VALIDATION, run_dir=folder)
    return folder / BEST_FILE


def test_weights_are_taken_over(first: Path, tmp_path: Path) -> None:
    """With a learning rate of nearly nothing the filters stay where they were."""
    initial = load_checkpoint(first)
    slow = replace(CONFIG, epochs=1, learning_rate=1e-8, average=0.0)
    second = train(SPEC, slow, TRAINING, VALIDATION, run_dir=tmp_path, initial=initial)
    for name, value in initial.weights.items():
        if name.endswith("weight"):
            # AdamW moves a weight by at most about the rate in each of three steps.
            torch.testing.assert_close(second.weights[name], value, atol=1e-6, rtol=0)
    assert second.training["initial"]["sha256"] == initial.sha256
    assert second.training["initial"]["training"] == initial.training


def test_another_network_is_refused(first: Path, tmp_path: Path) -> None:
    """The message names the file and both networks."""
    with pytest.raises(InputError, match=r"best\.pt: its network is .*wanted"):
        train(
            TWIN,
            CONFIG,
            TRAINING,
            VALIDATION,
            run_dir=tmp_path,
            initial=load_checkpoint(first),
        )
    assert not list(tmp_path.iterdir())


def test_resume_wants_the_same_start(first: Path, tmp_path: Path) -> None:
    """A run that started from a checkpoint is not resumed as one that did not."""
    initial = load_checkpoint(first)
    train(SPEC, CONFIG, TRAINING, VALIDATION, run_dir=tmp_path, initial=initial)
    with pytest.raises(InputError, match="initial weights"):
        train(SPEC, CONFIG, TRAINING, VALIDATION, run_dir=tmp_path, resume=True)
