"""One run and the directory in which it is kept."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mobileq.checkpoint import Checkpoint
from mobileq.data.patches import Patches
from mobileq.errors import CheckpointError, DataError, InputError
from mobileq.models.spec import ModelSpec
from mobileq.train.batches import TrainingBatches
from mobileq.train.config import TrainConfig
from mobileq.train.ranks import Ranks
from mobileq.train.state import STATE_FILE, RunState, read_state, remove_leftovers


@dataclass(frozen=True)
class Run:
    """What stays the same while a run goes on.

    Attributes:
        spec: Architecture.
        config: Hyperparameters.
        precision: `bf16` or `fp32`.
        batches: The training set.
        validation: The validation set.
        folder: Directory in which the run is kept; rank 0 alone uses it.
        initial: First weights; None for random ones.
        identity: What must be the same for a run to be the same run.
        save_seconds: The state is saved whenever this time has passed, in seconds.
        ranks: The processes that share the run.
    """

    spec: ModelSpec
    config: TrainConfig
    precision: str
    batches: TrainingBatches
    validation: Patches
    folder: Path
    initial: Checkpoint | None
    identity: Mapping[str, Any]
    save_seconds: float
    ranks: Ranks

    def save(self, state: RunState) -> None:
        """Write the state to the run's directory; all ranks wait for it."""
        with self.ranks.alone():
            if self.ranks.first:
                state.save(self.folder / STATE_FILE, self.identity)


def check_parts(batches: TrainingBatches, ranks: Ranks) -> None:
    """Check that every rank gets an image of every batch.

    Raises:
        InputError: a batch has fewer images than there are ranks.
    """
    if ranks.count > batches.batch_size:
        raise InputError(
            f"batches have {batches.batch_size} images for {ranks.count} processes; "
            f"wanted at least one each (raise --batch-size or lower --nproc-per-node)"
        )


@contextmanager
def kept(run: Run) -> Iterator[None]:
    """Add to errors that can be mended how the run goes on after that.

    Raises:
        DataError: a data set cannot be read any more.
        CheckpointError: the run's files cannot be written any more.
    """
    try:
        yield
    except (DataError, CheckpointError) as error:
        raise type(error)(
            f"{error}; the run up to its last saved step is kept in {run.folder}: mend "
            f"this, then give the same command with --resume"
        ) from error


def enter_folder(run: Run, state: RunState, *, resume: bool) -> None:
    """Load the run in its directory, or make the directory this run's own.

    Raises:
        InputError: another run is there.
        CheckpointError: the directory cannot be read or written.
    """
    path = run.folder / STATE_FILE

    def saved_content() -> dict[str, Any] | None:
        if resume:
            content = read_state(path, run.identity)
            remove_leftovers(run.folder)
            return content
        if path.exists():
            raise InputError(
                f"{path}: a run is here already; wanted --resume to continue it, or "
                f"another --run-dir"
            )
        return None

    content = run.ranks.of_first(saved_content)
    if content is None:
        run.save(state)
    else:
        state.restore(path, content)
