"""Files and images for tests of runtimes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from mobileq.verify.images import verification_images
from support.certified import SIZE, small
from support.runner_files import RunnerFiles, write_runner_files


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> RunnerFiles:
    """Files of a small network."""
    return write_runner_files(tmp_path_factory.mktemp("files"))


@pytest.fixture(scope="module")
def turning(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An INT8 file that is proven to commute with quarter turns."""
    path = tmp_path_factory.mktemp("turning") / "C4 of ours.tflite"
    path.write_bytes(small("C4").files["tflite"])
    return path


@pytest.fixture(scope="module")
def images() -> NDArray[np.uint8]:
    """Images for it."""
    return verification_images((3, SIZE, SIZE), count=4)
