"""Files on emulated arm64 processors: the real kernels, by the real emulator.

Skipped without the arm64 system that tools/arm64_root.sh makes.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from mobileq.bench.equivariance import ROTATIONS
from mobileq.runtimes.arm64_root import CPUS, VARIABLE, Arm64Root, find_root
from mobileq.runtimes.emulated import EmulatedRunner
from mobileq.runtimes.emulated_rows import compare
from mobileq_android import litert_runner
from mobileq_tflite.runner import Kernels, TfliteRunner
from support.runner_files import RunnerFiles

PATIENCE = 300.0
"""Seconds for what takes a few; only a machine that stands still exceeds it."""


@pytest.fixture(scope="session")
def arm64() -> Arm64Root:
    """The real emulated system."""
    if not os.environ.get(VARIABLE):
        pytest.skip(f"{VARIABLE} is not set; tools/arm64_root.sh makes such a system")
    if not Path(os.environ[VARIABLE]).is_dir():
        pytest.skip(f"{VARIABLE}={os.environ[VARIABLE]}: no such directory")
    return find_root()


@pytest.mark.slow
def test_int8_kernels_agree_to_the_bit(
    arm64: Arm64Root, turning: Path, images: NDArray[np.uint8]
) -> None:
    """A C4 network: XNNPACK of three processors, x86, and the images turned."""
    rows = compare(turning, images, root=arm64, patience=PATIENCE)
    assert [row.cpu for row in rows] == list(CPUS)
    assert "dotprod" not in rows[0].features
    assert "dotprod" in rows[1].features
    assert "i8mm" not in rows[1].features
    assert "i8mm" in rows[2].features
    for row in rows:
        assert row.integer
        assert row.equal
        assert row.largest_step == 0
        assert row.changed == dict.fromkeys(ROTATIONS, 0)


@pytest.mark.slow
@pytest.mark.parametrize("kernels", ["builtin", "reference"])
def test_other_kernels_run_too(
    kernels: Kernels, arm64: Arm64Root, files: RunnerFiles
) -> None:
    """LiteRT's own kernels; the reference ones define the result on any machine."""
    path = files.paths["int8.tflite"]
    runner = EmulatedRunner(path, "cortex-a76", kernels, root=arm64, patience=PATIENCE)
    found = runner.outputs(files.pixels)
    here = TfliteRunner(path.read_bytes(), kernels=kernels).outputs(files.pixels)
    steps = np.abs(found.astype(np.int16) - here).max()
    # The built-in ones round by other instructions than on x86: one step per layer.
    assert steps <= (0 if kernels == "reference" else 3)


@pytest.mark.slow
def test_float_kernels_agree_up_to_rounding(
    arm64: Arm64Root, tmp_path: Path, files: RunnerFiles
) -> None:
    """Pixels are normalized here, so the file is given the same numbers."""
    from mobileq_tflite.float_writer import write_float
    from support.handmade import handmade_graph

    path = tmp_path / "float.tflite"
    path.write_bytes(write_float(handmade_graph(size=files.pixels.shape[1])))
    (row,) = compare(path, files.pixels, CPUS[1:2], root=arm64, patience=PATIENCE)
    assert row.largest_step is None
    assert row.largest_relative is not None
    # Sums of a few hundred products, in another order.
    assert row.largest_relative < 1e-5


@pytest.mark.slow
def test_each_processor_has_kernels_of_its_own(
    arm64: Arm64Root, turning: Path, images: NDArray[np.uint8], tmp_path: Path
) -> None:
    """The instructions executed: neither, dot products, or matrix products of int8."""
    (tmp_path / "inputs").write_bytes(images[:1].tobytes())
    request = tmp_path / "request.json"
    told = {
        "packages": str(arm64.packages),
        "model": str(turning),
        "kernels": "xnnpack",
        "threads": 1,
        "runs": 0,
        **{name: str(tmp_path / name) for name in ("inputs", "outputs", "facts")},
    }
    request.write_text(json.dumps(told), encoding="utf-8")
    found = {}
    for cpu in CPUS:
        emulator, *rest = arm64.command(cpu)
        log = tmp_path / f"{cpu}.log"
        subprocess.run(
            [
                *(emulator, "-d", "in_asm", "-D", str(log), *rest),
                *(litert_runner.__file__, str(request)),
            ],
            check=True,
            capture_output=True,
            env={},
            timeout=PATIENCE,
        )
        found[cpu] = instructions(log)
    assert found == {
        "cortex-a53": set(),
        "cortex-a76": {"sdot"},
        "neoverse-v1": {"smmla"},
    }


def instructions(log: Path) -> set[str]:
    """Which of two instructions are in a log of what was translated.

    Encodings: Arm Architecture Reference Manual, C7.2, SDOT (vector and by element) and
    SMMLA; the disassembler that the emulator comes with knows neither.
    """
    found = set()
    with log.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            match = re.match(r"0x[0-9a-f]+:\s+([0-9a-f]{8})\b", line)
            word = int(match[1], 16) if match else 0
            if word & 0xBFE0FC00 == 0x0E809400 or word & 0xBFC0F400 == 0x0F80E000:
                found.add("sdot")
            elif word & 0xFFE0FC00 == 0x4E80A400:
                found.add("smmla")
    return found
