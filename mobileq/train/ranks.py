"""The processes that train one network together, as `torchrun` starts them.

Rank r of n computes the r-th part of every batch. All ranks hold the same weights,
optimizer and counters and go through the same steps; rank 0 alone writes and prints.

Where one rank fails, all end, with the same code, and one of them raises the error, so
that one line is printed. `alone` is for what can fail on one rank (reading, writing),
`alike` for what fails on all of them, `connected` for processes that are gone.
"""

from __future__ import annotations

import os
import signal
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any, TypeVar, cast

import torch
from torch import distributed

from mobileq.errors import InputError, MobileqError, TrainingError

_Value = TypeVar("_Value")
INTERRUPTED = 130
_TRANSPORTS = ("gloo", "NCCL")


@dataclass(frozen=True)
class Ranks:
    """This process among those of the run.

    Attributes:
        rank: From 0.
        count: Number of processes.
        local: Number of this process on its machine, which is that of its GPU.
    """

    rank: int = 0
    count: int = 1
    local: int = 0

    @property
    def first(self) -> bool:
        """Whether this rank writes and prints."""
        return self.rank == 0

    @property
    def same_press(self) -> float:
        """Seconds for which another SIGINT is the same Ctrl-C: torchrun repeats it."""
        return 5.0 if self.count > 1 else 0.0

    def part(self, total: int) -> slice:
        """Which of `total` things are this rank's; sizes differ by one at most."""
        return slice(
            self.rank * total // self.count, (self.rank + 1) * total // self.count
        )

    def gather(self, value: _Value) -> list[_Value]:
        """Values of all ranks, in their order: plain values or arrays."""
        if self.count == 1:
            return [value]
        values: list[Any] = [None] * self.count
        distributed.all_gather_object(values, value)
        return values

    def total(self, values: Sequence[float]) -> list[float]:
        """Sum of each value over all ranks, the same to the last bit on each of them.

        This is the cheapest way to agree on something once in a step.
        """
        if self.count == 1:
            return list(values)
        sums = torch.tensor(values, dtype=torch.float64)
        distributed.all_reduce(sums)
        found: list[float] = sums.tolist()
        return found

    def any(self, *flags: bool) -> list[bool]:
        """For each flag, whether it is set on one of the ranks."""
        return [count > 0 for count in self.total(flags)]

    def of_first(self, make: Callable[[], _Value]) -> _Value:
        """What `make` returns on rank 0, where alone it is called.

        Raises:
            MobileqError: as `make`, on rank 0.
            SystemExit: `make` failed, on the other ranks.
        """
        made: list[Any] = [None]
        with self.alone():
            if self.first:
                made = [make()]
        if self.count > 1:
            distributed.broadcast_object_list(made, 0)
        return cast("_Value", made[0])

    @contextmanager
    def alone(self) -> Iterator[None]:
        """End all ranks if the block fails on one of them.

        The block must not wait for other ranks.

        Raises:
            BaseException: what the block raised, on the lowest rank where it failed.
            SystemExit: it failed on a lower rank, or on another one only; the code is
                that of the error there.
        """
        try:
            yield
        except BaseException as error:
            codes = self._codes(_exit_code(error))
            if any(codes[: self.rank]):
                raise SystemExit(next(filter(None, codes))) from None
            raise
        codes = self._codes(0)
        if any(codes):
            raise SystemExit(next(filter(None, codes)))

    def _codes(self, own: int) -> list[int]:
        """Exit codes of all ranks; 0 where nothing failed."""
        codes = [0.0] * self.count
        codes[self.rank] = own
        return [int(code) for code in self.total(codes)]

    @contextmanager
    def alike(self) -> Iterator[None]:
        """Let rank 0 speak for all where the block fails on every rank.

        Raises:
            MobileqError: what the block raised, on rank 0.
            SystemExit: the same error, on the other ranks.
        """
        try:
            yield
        except MobileqError as error:
            if not self.first:
                raise SystemExit(error.exit_code) from None
            raise

    @contextmanager
    def connected(self, remedy: str) -> Iterator[None]:
        """Turn a broken connection into one line; goes round everything else.

        torchrun sends SIGTERM to the processes that are left, often before one of them
        has noticed that another is gone: both mean the same here.

        Args:
            remedy: What to do when the other processes are gone.

        Raises:
            TrainingError: another process ended without a word, on rank 0.
            SystemExit: the same, on the other ranks.
        """
        if self.count == 1:
            yield
            return
        try:
            _raise_when_told_to_end()
            yield
        except (RuntimeError, _ToldToEnd) as error:
            _let_this_rank_finish()
            known = isinstance(error, distributed.DistError | _ToldToEnd)
            if not known and not any(name in str(error) for name in _TRANSPORTS):
                raise
            if not self.first:
                raise SystemExit(TrainingError.exit_code) from None
            raise TrainingError(
                f"another of the {self.count} processes has ended; wanted all of them "
                f"({remedy})"
            ) from error
        except BaseException:
            _let_this_rank_finish()
            raise


ALONE = Ranks()
"""One process that was not started by torchrun."""


@contextmanager
def joined_ranks(device: str) -> Iterator[Ranks]:
    """Join the processes that `torchrun` started; alone where it did not.

    Args:
        device: `cpu`, `cuda` or `auto`; decides how gradients travel.

    Yields:
        This process's place.

    Raises:
        InputError: torchrun's variables are not those of a group of processes, or the
            others cannot be reached.
    """
    ranks = _from_environment()
    if ranks.count == 1:
        yield ranks
        return
    backend = "gloo"
    if device != "cpu" and torch.cuda.is_available():
        torch.cuda.set_device(ranks.local)
        # Flags and scores are on the CPU wherever the network is.
        backend = "cpu:gloo,cuda:nccl"
    try:
        distributed.init_process_group(backend)
    except (RuntimeError, ValueError) as error:
        message = str(error).splitlines()[0]
        raise InputError(
            f"the {ranks.count} processes cannot reach each other ({message}); wanted "
            f"those of one torchrun command (start them with torchrun)"
        ) from error
    try:
        with warnings.catch_warnings():
            # A gradient with an axis of length 1 may have any stride there.
            warnings.filterwarnings("ignore", "Grad strides do not match", UserWarning)
            yield ranks
    finally:
        distributed.destroy_process_group()


def _from_environment() -> Ranks:
    """Place of this process, from the variables that torchrun sets.

    Raises:
        InputError: they are no numbers.
    """
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK")
    found = [os.environ.get(name) for name in names]
    if found[0] is None or found[1] is None:
        return Ranks()
    try:
        rank, count, local = (int(text or 0) for text in found)
    except ValueError as error:
        raise InputError(
            f"{', '.join(names)} are {', '.join(map(repr, found))}; wanted numbers, as "
            f"torchrun sets them (start with torchrun, or unset them)"
        ) from error
    return Ranks(rank, count, local)


def _exit_code(error: BaseException) -> int:
    """Code with which the command line answers an error."""
    if isinstance(error, MobileqError):
        return error.exit_code
    if isinstance(error, SystemExit) and isinstance(error.code, int):
        return error.code
    return INTERRUPTED if isinstance(error, KeyboardInterrupt) else 1


class _ToldToEnd(BaseException):
    """SIGTERM has come; no `Exception`, so that nothing on the way swallows it."""


def _raise_when_told_to_end() -> None:
    """Answer SIGTERM with an exception in the main thread."""

    def end(number: int, frame: FrameType | None) -> None:
        _let_this_rank_finish()
        raise _ToldToEnd

    if _in_main_thread():
        signal.signal(signal.SIGTERM, end)


def _let_this_rank_finish() -> None:
    """Ignore from here on what torchrun sends as soon as the first rank has ended.

    The line of the rank that speaks may not be printed by then.
    """
    if _in_main_thread():
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)


def _in_main_thread() -> bool:
    """Whether this is the thread to which Python delivers signals."""
    return threading.current_thread() is threading.main_thread()
