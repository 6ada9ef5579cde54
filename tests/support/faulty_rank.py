"""`mobileq` with a fault in rank 1: its second batch cannot be read, or kills it.

With `kill-busy`, rank 0 prepares its own second batch for longer than torchrun needs to
notice that rank 1 is gone.

usage: python -m torch.distributed.run --nproc-per-node 2 faulty_rank.py FAULT train ...
"""

from __future__ import annotations

import os
import signal
import sys
import time

from mobileq.cli.app import main
from mobileq.errors import DataError
from mobileq.train.batches import Batch, TrainingBatches


def plant(fault: str) -> None:
    """Make the preparation of a batch fail after the first."""
    prepare = TrainingBatches._augmented
    calls: list[int] = []

    def faulty(self: TrainingBatches, *arguments: object) -> Batch:
        calls.append(1)
        if len(calls) > 1:
            if fault == "busy":
                time.sleep(3)
                return prepare(self, *arguments)  # type: ignore[arg-type]
            if fault == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            raise DataError("x.h5: gone")
        return prepare(self, *arguments)  # type: ignore[arg-type]

    TrainingBatches._augmented = faulty  # type: ignore[method-assign]


if __name__ == "__main__":
    chosen, _, other = sys.argv.pop(1).partition("-")
    if os.environ["RANK"] == "1":
        plant(chosen)
    elif other:
        plant(other)
    main()
