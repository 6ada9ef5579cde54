"""Several processes train the network that one process trains."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from conftest import SOURCE_ROOTS
from mobileq.cli import app
from mobileq.errors import InputError
from mobileq.models.build import build_model
from mobileq.models.norm import RankBatchNorm2d, share_statistics
from mobileq.train.batches import TrainingBatches
from mobileq.train.config import TrainConfig
from mobileq.train.evaluate import PatchRange
from mobileq.train.network import training_network
from mobileq.train.ranks import ALONE, Ranks, joined_ranks
from mobileq.train.run import check_parts
from support import rank_steps
from support.small_runs import CONFIG, TRAINING, TWIN, noise, read_state

TESTS = Path(__file__).resolve().parents[1]
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
SMALL = [
    *("train", "--group", "C2", "--width", "0.05", "--input-size", "31"),
    *("--batch-size", "7", "--limit", "60", "--epochs", "2", "--precision", "fp32"),
    *("--learning-rate", "1e-4"),
    *("--threads", "1", "--save-every", "0", "--out", "model.pt"),
]
STEPS = 60 // 7


def torchrun(command: Sequence[str], folder: Path) -> subprocess.Popen[str]:
    """Start two ranks in a process group of their own."""
    paths = [*SOURCE_ROOTS, TESTS, os.environ.get("PYTHONPATH", "")]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(map(str, paths)),
        "OMP_NUM_THREADS": "1",
        "TORCHELASTIC_ERROR_FILE": str(folder / "error.json"),
    }
    return subprocess.Popen(
        [*TORCHRUN, *command],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def run_to_end(command: Sequence[str], folder: Path) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of two ranks."""
    with torchrun(command, folder) as process:
        try:
            out, err = process.communicate(timeout=300)
        finally:
            process.kill()
    return process.returncode, out, err


@pytest.fixture(scope="module")
def two_ranks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What two processes on gloo computed."""
    folder = tmp_path_factory.mktemp("ranks")
    script = str(TESTS / "support" / "rank_steps.py")
    code, _, err = run_to_end([script, "out.pt"], folder)
    assert code == 0, err
    computed: dict[str, Any] = torch.load(folder / "out.pt", weights_only=True)
    return computed


@pytest.fixture(scope="module")
def one_rank() -> dict[str, Any]:
    """The same in this process alone."""
    return rank_steps.compute()


@pytest.mark.slow
@pytest.mark.parametrize("group", rank_steps.GROUPS)
def test_two_ranks_train_the_network_of_one(
    group: str, two_ranks: dict[str, Any], one_rank: dict[str, Any]
) -> None:
    """Weights, running statistics and averages after three steps are the same."""
    alone, (first, second) = one_rank[group]["ranks"][0], two_ranks[group]["ranks"]
    for name, value in alone.items():
        assert torch.equal(first[name], second[name]), name
        # The loss is float32, 6e-8; a step multiplies a difference by ten at most. A
        # step of AdamW moves a weight by 4e-4 to 4e-3.
        torch.testing.assert_close(first[name], value, rtol=2e-5, atol=2e-5)
        average = two_ranks[group]["averaged"][name]
        wanted = one_rank[group]["averaged"][name]
        torch.testing.assert_close(average, wanted, rtol=2e-5, atol=2e-5)
    # Three float32 losses, each the mean of another number of images.
    assert two_ranks[group]["loss_sum"] == pytest.approx(
        one_rank[group]["loss_sum"], abs=1e-5
    )


@pytest.mark.slow
def test_ranks_fail_together(two_ranks: dict[str, Any]) -> None:
    """Wherever an error occurs, one rank raises it and the other ends with its code."""
    first, second = two_ranks["failures"]
    outcomes = {name: (first[name], second[name]) for name in first}
    assert outcomes == {
        "nobody": ("'passed'", "'passed'"),
        "rank 0": ("DataError rank 0", "SystemExit 2"),
        "rank 1": ("SystemExit 2", "DataError rank 1"),
        "both": ("DataError rank 0", "SystemExit 2"),
        "alike": ("TrainingError nan", "SystemExit 1"),
        "of_first": ("7", "7"),
        "of_first fails": ("DataError first", "SystemExit 2"),
        "any": ("[True, False]", "[True, False]"),
        "total": ("[3.0, 1.0]", "[3.0, 1.0]"),
    }


def test_one_rank_fails_as_without_ranks(one_rank: dict[str, Any]) -> None:
    """Alone, every block raises what was raised in it."""
    (found,) = one_rank["failures"]
    assert found["rank 0"] == found["both"] == "DataError rank 0"
    assert found["alike"] == "TrainingError nan"
    assert (found["of_first"], found["any"]) == ("7", "[False, False]")


def wait_for_steps(process: subprocess.Popen[str], state: Path, steps: int) -> None:
    """Wait until a run has saved a state after so many steps of its first epoch."""
    for _ in range(2400):
        if process.poll() is not None:
            pytest.fail(f"the run ended too early: {process.communicate()}")
        if state.exists() and read_state(state.parent)["step"] >= steps:
            return
        time.sleep(0.05)
    pytest.fail(f"{state}: no step {steps} within two minutes")


@pytest.mark.slow
def test_interrupted_on_two_ranks_and_resumed_on_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ctrl-C ends both ranks with one line; one process finishes what they began."""
    with torchrun(["-m", "mobileq", *SMALL], tmp_path) as process:
        wait_for_steps(process, tmp_path / "runs" / "model" / "state.pt", 2)
        # As a terminal does: to torchrun and to both ranks.
        os.killpg(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode != 0
    assert out.count("training images") == 1
    lines = [line for line in err.splitlines() if "interrupted; the run" in line]
    assert len(lines) == 1, err
    assert "--resume to continue it" in lines[0]
    monkeypatch.chdir(tmp_path)
    before = read_state(Path("runs/model"))
    assert 2 <= before["step"] <= STEPS
    for name, option in (("model", "--resume"), ("whole", "--overwrite")):
        command = ["mobileq", *SMALL[:-1], f"{name}.pt", option]
        monkeypatch.setattr(sys, "argv", command)
        with pytest.raises(SystemExit) as end:
            app.main()
        assert end.value.code == 0
        assert f"wrote {name}.pt" in capsys.readouterr().out
    mixed, wanted = (read_state(Path("runs") / n) for n in ("model", "whole"))
    # In float32 AdamW makes steps of full length, 1e-4, out of rounding: measured were
    # differences of up to 7e-4 in the losses of sixteen steps.
    for entry, other in zip(mixed["history"], wanted["history"], strict=True):
        assert entry["loss"] == pytest.approx(other["loss"], abs=0.005)
    assert mixed["scheduler"] == wanted["scheduler"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("read", "mobileq: x.h5: gone; the run up to its last saved step is kept in "),
        ("kill", "mobileq: another of the 2 processes has ended; wanted all of them "),
        ("kill-busy", "mobileq: another of the 2 processes has ended; wanted all of "),
    ],
)
def test_a_rank_fails(fault: str, message: str, tmp_path: Path) -> None:
    """Unreadable data in one rank, or its end, ends the run with one line of ours."""
    script = str(TESTS / "support" / "faulty_rank.py")
    code, out, err = run_to_end([script, fault, *SMALL], tmp_path)
    assert code == 1  # torchrun's own for a rank that failed
    ours = [line for line in err.splitlines() if line.startswith("mobileq: ")]
    assert len(ours) == 1, err
    assert ours[0].startswith(message)
    assert "--resume" in ours[0]
    assert "Traceback" not in err.split("torch/distributed/elastic")[0]
    assert "epoch" not in out
    # The fault is in the second batch, which is prepared during the first step.
    assert read_state(tmp_path / "runs" / "model")["step"] <= 1


@pytest.mark.slow
def test_what_is_wrong_on_all_ranks_is_said_once(tmp_path: Path) -> None:
    """An option that no rank can follow is one line of ours, not one for each."""
    command = ["-m", "mobileq", *SMALL, "--compile"]
    code, _, err = run_to_end(command, tmp_path)
    assert code == 1  # torchrun's own for a rank that failed
    ours = [line for line in err.splitlines() if line.startswith("mobileq: ")]
    assert len(ours) == 1, err
    assert "--compile with 2 processes; wanted one" in ours[0]
    assert not (tmp_path / "runs").exists()


@given(count=st.integers(1, 5), size=st.integers(5, 12), epoch=st.integers(0, 1000))
def test_parts_make_the_batch(count: int, size: int, epoch: int) -> None:
    """The parts of all ranks, put together, are the batch of one process."""
    config = TrainConfig(batch_size=size, seed=epoch)
    patches = noise(2 * size + 1, seed=0)
    parts = [
        list(TrainingBatches(patches, config, 15, Ranks(rank, count)).epoch(epoch))
        for rank in range(count)
    ]
    whole = list(TrainingBatches(patches, config, 15).epoch(epoch))
    assert len(whole) == 2
    for step, (images, labels) in enumerate(whole):
        own = [part[step] for part in parts]
        assert max(len(p[1]) for p in own) - min(len(p[1]) for p in own) <= 1
        np.testing.assert_array_equal(np.concatenate([p[0] for p in own]), images)
        np.testing.assert_array_equal(np.concatenate([p[1] for p in own]), labels)


def test_patch_range() -> None:
    """A range of patches is read from its own start."""
    patches = noise(9, seed=1)
    part = PatchRange(patches, slice(3, 7))
    assert len(part) == 4
    assert part.size == patches.size
    np.testing.assert_array_equal(part.labels, patches.labels[3:7])
    np.testing.assert_array_equal(part.read(np.array([2, 0])), patches.images[[5, 3]])


def test_shared_statistics_keep_the_network() -> None:
    """Names and values stay, and alone the layers compute what they did."""
    torch.manual_seed(0)
    model = build_model(TWIN).train()
    images = torch.randn(4, 3, 15, 15)
    names = list(model.state_dict())
    parameters = list(model.parameters())
    before = model(images)
    share_statistics(model)
    assert list(model.state_dict()) == names
    assert all(a is b for a, b in zip(parameters, model.parameters(), strict=True))
    assert any(isinstance(layer, RankBatchNorm2d) for layer in model.modules())
    assert not any(type(m) is torch.nn.BatchNorm2d for m in model.modules())
    assert torch.equal(model(images), before)


def test_more_ranks_than_images() -> None:
    """A rank without any image of a batch is refused before anything is computed."""
    ranks = Ranks(0, 9)
    batches = TrainingBatches(TRAINING, CONFIG, TWIN.input_size, ranks)
    with pytest.raises(InputError, match="batches have 8 images for 9 processes"):
        check_parts(batches, ranks)


def test_compiled_by_one_process_only() -> None:
    """`--compile` with several ranks is refused."""
    model, cpu = build_model(TWIN), torch.device("cpu")
    with pytest.raises(InputError, match="--compile with 2 processes; wanted one"):
        training_network(model, cpu, Ranks(0, 2), compiled=True)
    assert training_network(model, cpu, ALONE, compiled=False) is model


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"RANK": "x", "WORLD_SIZE": "2"}, "wanted numbers, as torchrun sets them"),
        ({"RANK": "0", "WORLD_SIZE": "2"}, "the 2 processes cannot reach each other"),
    ],
)
def test_variables_of_no_torchrun(
    variables: dict[str, str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Variables that torchrun would not set are one line."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(InputError, match=message), joined_ranks("cpu"):
        pass
