"""Cost of one training step: the equivariant network relative to its twin.

usage: python benchmarks/train_step.py [--rounds 8] [--batch-size 64] [--threads 1]
       [--precision bf16] [--device cpu]

Both networks of a pair have the same channels and take their steps in turn in one
process, so that whatever else the machine does hits both. Printed are the median and
the smallest step in processor seconds of all threads (on a GPU: seconds of a
synchronized step) and their ratio, images per second by the clock in the fastest step,
and the largest resident memory of a process of its own that takes three such steps.
"""

from __future__ import annotations

import argparse
import multiprocessing
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from mobileq.models.spec import ModelSpec
from mobileq.train.arithmetic import choose_device, choose_precision
from mobileq.train.batches import Batch
from mobileq.train.config import TrainConfig
from mobileq.train.state import RunState
from mobileq.train.step import train_step

PAIRS = (
    ModelSpec(group="C12", width=1.0, channel_multiple=12),
    ModelSpec(group="C12", width=1.0, channel_multiple=12, reduced_strides=1),
    ModelSpec(group="C4", width=0.5, channel_multiple=4, reduced_strides=1),
)
MEMORY_STEPS = 3


@dataclass(frozen=True)
class Setting:
    """What is the same for all networks that are measured.

    Attributes:
        batch_size: Images per step.
        precision: `bf16` or `fp32`.
        device: `cpu` or `cuda`.
        threads: CPU threads.
    """

    batch_size: int
    precision: str
    device: str
    threads: int


def stepper(spec: ModelSpec, setting: Setting) -> Callable[[], None]:
    """What takes one training step of a network with random weights."""
    config = TrainConfig(batch_size=setting.batch_size, device=setting.device)
    device = choose_device(setting.device)
    state = RunState.start(spec, config, 10_000, device)
    rng = np.random.default_rng(0)
    shape = (setting.batch_size, 3, spec.input_size, spec.input_size)
    images = rng.uniform(-1, 1, shape).astype(np.float32)
    labels = rng.integers(0, 2, setting.batch_size)
    batch: Batch = images, labels
    return lambda: train_step(state, config, setting.precision, batch)


@dataclass(frozen=True)
class Cost:
    """What one step took.

    Attributes:
        work: Processor seconds of all threads; seconds of a GPU.
        seconds: By the clock.
    """

    work: float
    seconds: float


def cost(step: Callable[[], None], device: str) -> Cost:
    """Take one step."""
    if device == "cuda":
        torch.cuda.synchronize()
    clock, work = time.perf_counter(), time.process_time()
    step()
    if device == "cuda":
        torch.cuda.synchronize()
    elapsed = time.perf_counter() - clock
    return Cost(elapsed if device == "cuda" else time.process_time() - work, elapsed)


def compare(
    specs: Sequence[ModelSpec], setting: Setting, rounds: int
) -> list[list[Cost]]:
    """Costs of all steps of each network, taken in turn; the first is not counted."""
    steppers = [stepper(spec, setting) for spec in specs]
    costs: list[list[Cost]] = [[] for _ in specs]
    for _ in range(rounds + 1):
        for step, taken in zip(steppers, costs, strict=True):
            taken.append(cost(step, setting.device))
    return [taken[1:] for taken in costs]


def peak_memory(spec: ModelSpec, setting: Setting) -> float:
    """Largest resident memory, in GB, of a process that takes a few steps."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        return pool.apply(_memory_of_steps, (spec, setting))


def _memory_of_steps(spec: ModelSpec, setting: Setting) -> float:
    """Take a few steps; returns the largest resident memory of this process in GB."""
    torch.set_num_threads(setting.threads)
    step = stepper(spec, setting)
    for _ in range(MEMORY_STEPS):
        step()
    # Linux lets ru_maxrss begin with the size of the process that started this one.
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.split("VmHWM:")[1].split()[0]) * 1024 / 1e9


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    device = choose_device(options.device)
    precision = choose_precision(options.precision, device)
    setting = Setting(options.batch_size, precision, device.type, options.threads)
    print(f"batch {setting.batch_size}, {precision}, {setting.threads} threads")
    for spec in PAIRS:
        own, twin = compare((spec, spec.twin()), setting, options.rounds)
        title = f"{spec.group} width {spec.width:g}, {spec.reduced_strides} reduced"
        for name, network, costs in (("", spec, own), (" twin", spec.twin(), twin)):
            work = [each.work for each in costs]
            speed = setting.batch_size / min(each.seconds for each in costs)
            print(
                f"{title}{name}: {statistics.median(work):.3f} s median, "
                f"{min(work):.3f} s best, {speed:.0f} img/s, "
                f"peak {peak_memory(network, setting):.2f} GB"
            )
        ratios = [a.work / b.work for a, b in zip(own, twin, strict=True)]
        best = min(a.work for a in own) / min(b.work for b in twin)
        print(f"{title}: {statistics.median(ratios):.2f} median ratio, {best:.2f} best")


if __name__ == "__main__":
    main()
