"""Fixtures for the whole suite: real images, the command line, fixed settings."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import pytest
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).resolve().parents[1]
SOURCE_ROOTS = (ROOT, ROOT / "export", ROOT / "android_bench")
IN_CI = os.environ.get("CI") == "true"
# Threads that wait for others spin: more of them than cores make every process slower.
WORKERS = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
TORCH_THREADS = max(1, min(2, (os.cpu_count() or 1) // WORKERS))
# Read by OpenBLAS and OpenMP where they are first imported, and by processes of tests.
os.environ.setdefault("OMP_NUM_THREADS", str(TORCH_THREADS))

# Networks are slow to build on a busy machine, which says nothing about the tests:
# no deadline, and no complaint about slow generation.
settings.register_profile(
    "mobileq",
    deadline=None,
    derandomize=IN_CI,
    max_examples=15,
    suppress_health_check=[HealthCheck.too_slow],
)
# `make fuzz`: other examples every time, for some minutes.
settings.register_profile(
    "fuzz",
    deadline=None,
    max_examples=20_000,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("mobileq")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with the most slow tests first; else one process ends alone, minutes later.

    `make test` gives whole files to processes in the order of collection.
    """
    slow = Counter(item.path for item in items if item.get_closest_marker("slow"))
    items.sort(key=lambda item: -slow[item.path])


class Cli(Protocol):
    """What the `cli` fixture returns: runs `mobileq` as a process of its own."""

    def __call__(
        self,
        args: Sequence[str | Path],
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run `mobileq ARGS` in `cwd` (default: the test's tmp_path).

        `env` is added to this process's environment. Output is captured as text;
        a failure is not raised, the exit code is in `returncode`.
        """


@pytest.fixture(scope="session", autouse=True)
def few_torch_threads() -> None:
    """Limit torch's threads; never import it where the chosen tests do not."""
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(min(TORCH_THREADS, torch.get_num_threads()))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Directory with `data/pcam_ai4all/*.npz` and `tools/make_pcam_h5.py`."""
    shared = Path(os.environ.get("MOBILEQ_TEST_DATA") or ROOT.parent / "shared")
    if (shared / "data" / "pcam_ai4all").is_dir():
        return shared.resolve()
    reason = f"{shared}: no data/pcam_ai4all there; set MOBILEQ_TEST_DATA"
    if IN_CI:
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def pcam_dir(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Directory with PCam's six HDF5 files, 64 real patches in each split."""
    out = tmp_path_factory.mktemp("pcam")
    script = shared_data / "tools" / "make_pcam_h5.py"
    done = subprocess.run(
        [sys.executable, str(script), str(out), "--limit", "64"],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        pytest.fail(f"{script} failed: {done.stderr}")
    return out


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    """Run `python -m mobileq.cli.app`, installed or not."""

    def run(
        args: Sequence[str | Path],
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        paths = [str(path) for path in SOURCE_ROOTS]
        if inherited := os.environ.get("PYTHONPATH"):
            paths.append(inherited)
        # A fixed width and no colour, so that messages can be compared with text.
        fixed = {
            "PYTHONPATH": os.pathsep.join(paths),
            "COLUMNS": "120",
            "NO_COLOR": "1",
            "OMP_NUM_THREADS": str(TORCH_THREADS),
        }
        return subprocess.run(
            [sys.executable, "-m", "mobileq.cli.app", *map(str, args)],
            cwd=cwd or tmp_path,
            env={**os.environ, **fixed, **(env or {})},
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )

    return run
