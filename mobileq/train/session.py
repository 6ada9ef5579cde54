"""One run from the command line: progress bar, final scores, checkpoint."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from mobileq.checkpoint import Checkpoint, save_checkpoint
from mobileq.data.patches import Patches
from mobileq.data.scores import score
from mobileq.errors import BundleError
from mobileq.models.spec import ModelSpec
from mobileq.train.config import TrainConfig
from mobileq.train.cost import network_cost
from mobileq.train.evaluate import predict_together
from mobileq.train.loop import Progress as Step
from mobileq.train.loop import check_patches, train
from mobileq.train.ranks import ALONE, Ranks
from mobileq.train.state import STATE_FILE

SUFFIXES = (".pt", ".safetensors")


@dataclass(frozen=True)
class DataSets:
    """The three splits of a data set.

    Attributes:
        training: What the weights are fitted to.
        validation: Chooses the weights to keep.
        test: Looked at once, at the end.
    """

    training: Patches
    validation: Patches
    test: Patches


def check_output(out: Path) -> None:
    """Find out before any work is done whether `out` can be written at its end.

    Raises:
        BundleError: its name or its directory is not suitable.
    """
    if out.suffix not in SUFFIXES:
        raise BundleError(
            f"{out}: the suffix is {out.suffix!r}; wanted {' or '.join(SUFFIXES)}, "
            f"which names the format (change --out)"
        )
    if out.is_dir():
        raise BundleError(f"{out}: is a directory; wanted a file name (change --out)")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out.parent):
            return
    except OSError as error:
        raise BundleError(
            f"{out}: cannot be written ({error.strerror}); wanted a writable directory "
            f"(change --out)"
        ) from error


def run_training(
    spec: ModelSpec,
    config: TrainConfig,
    data: DataSets,
    *,
    out: Path,
    run_dir: Path,
    initial: Checkpoint | None,
    resume: bool,
    threads: int,
    save_seconds: float,
    ranks: Ranks = ALONE,
    compiled: bool = False,
) -> None:
    """Train with a progress bar, score the best weights and write them to `out`.

    Args:
        spec: Architecture.
        config: Hyperparameters.
        data: Data sets.
        out: Checkpoint to write.
        run_dir: Where the run is kept.
        initial: Start from these weights; random ones if None.
        resume: Continue the run in `run_dir`.
        threads: CPU threads of each process; 0 for torch's own choice.
        save_seconds: Time between two saved states, in seconds.
        ranks: The processes that share the run; the first one writes and prints.
        compiled: Let torch.compile make kernels for the network.

    Raises:
        MobileqError: as `loop.train`.
        KeyboardInterrupt: Ctrl-C; a line on standard error says how to go on.
        SystemExit: either, on a rank that need not speak.
    """
    if threads:
        torch.set_num_threads(threads)
    with ranks.alone():
        check_patches(data.test, spec, "test")
    # Lines are left whole, however wide the terminal: a log file has no width.
    console = Console(highlight=False, soft_wrap=True, quiet=not ranks.first)
    cost = network_cost(spec)
    console.print(f"{spec.group} MobileNetV2, width {spec.width}: {cost}")
    console.print(
        f"{len(data.training):,} training images, {len(data.validation):,} for "
        f"validation, {len(data.test):,} for the test; run kept in {run_dir}",
        markup=False,
    )
    remedy = f"start all again; the run is kept in {run_dir}: add --resume"
    try:
        with ranks.connected(remedy), _progress_bar(console, config.epochs) as report:
            best = train(
                spec,
                config,
                data.training,
                data.validation,
                run_dir=run_dir,
                initial=initial,
                resume=resume,
                save_seconds=save_seconds,
                report=report,
                ranks=ranks,
                compiled=compiled,
            )
            _write_result(console, best, data.test, out, ranks)
    except KeyboardInterrupt:
        if ranks.first:
            _say_how_to_go_on(run_dir)
        raise


def _write_result(
    console: Console, best: Checkpoint, test: Patches, out: Path, ranks: Ranks
) -> None:
    """Score the best weights on the test set and write them to `out`."""
    size = best.spec.input_size
    logits = predict_together(best.build(), test, ranks, input_size=size)
    scores = score(logits, test.labels)
    final = replace(best, training={**best.training, "test": scores.to_dict()})
    with ranks.alone():
        if ranks.first:
            save_checkpoint(out, final)
    console.print(f"best epoch {best.training['epoch']:3d}  test {scores}")
    console.print(f"wrote {out}", markup=False)


def _say_how_to_go_on(run_dir: Path) -> None:
    """Tell the user who pressed Ctrl-C that nothing is lost, where that is so."""
    if (run_dir / STATE_FILE).exists():
        Console(stderr=True, highlight=False, soft_wrap=True).print(
            f"interrupted; the run is kept in {run_dir}: give the same command with "
            f"--resume to continue it",
            markup=False,
        )


@contextmanager
def _progress_bar(console: Console, epochs: int) -> Iterator[Callable[[Step], None]]:
    """Bar for the epoch in progress, where there is a terminal; one line per epoch.

    Yields:
        What `loop.train` reports to.
    """
    with Progress(
        TextColumn("epoch {task.fields[epoch]}/" + str(epochs)),
        BarColumn(),
        TextColumn("{task.completed}/{task.total} loss {task.fields[loss]:.3f}"),
        TextColumn("{task.fields[speed]:.0f} img/s"),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    ) as bar:
        task = bar.add_task("train", total=None, epoch=1, loss=0.0, speed=0.0)

        def report(step: Step) -> None:
            bar.update(
                task,
                total=step.steps,
                completed=step.step,
                epoch=step.epoch + 1,
                loss=step.loss,
                speed=step.images_per_second,
            )
            if step.validation is not None:
                console.print(
                    f"epoch {step.epoch + 1:3d}  training loss {step.loss:.4f}  "
                    f"validation {step.validation}  {step.images_per_second:.0f} img/s"
                )

        yield report
