"""Read-only copies, so that a frozen dataclass is frozen for real."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray


def frozen(values: Any, dtype: DTypeLike = np.float64) -> NDArray[Any]:
    """Copy `values` into a read-only C-contiguous array."""
    copy = np.array(values, dtype=dtype, order="C")
    copy.setflags(write=False)
    return copy
