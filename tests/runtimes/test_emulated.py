"""What is made of an emulated processor's answers, and everything that can go wrong.

A program of this machine stands in for the emulator, so nothing here is said of arm64
kernels; `test_emulated_arm64.py` runs those.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from mobileq.bench.equivariance import MIRRORS, ROTATIONS
from mobileq.errors import BundleError, InputError, RuntimeProcessError
from mobileq.runtimes.arm64_root import Arm64Root, find_root
from mobileq.runtimes.emulated import EmulatedRunner
from mobileq.runtimes.emulated_rows import compare, keeping
from mobileq_android import litert_runner
from mobileq_tflite.runner import TfliteRunner
from support.certified import small
from support.emulator import CHANGES_LAST, RUNS, make_system
from support.runner_files import RunnerFiles, one_line


def stand_in(folder: Path, does: str = RUNS) -> Arm64Root:
    """A system whose emulator is a program of this machine."""
    return find_root(make_system(folder / "made", does))


def test_what_a_processor_returns_is_read_as_here(
    tmp_path: Path, files: RunnerFiles
) -> None:
    """Integers and scores come back as this machine's runner gives them."""
    root = stand_in(tmp_path)
    for name in ("int8.tflite", "scores.tflite"):
        path = files.paths[name]
        runner = EmulatedRunner(path, "cortex-a53", root=root)
        here = TfliteRunner(path.read_bytes(), kernels="xnnpack")
        found, wanted = runner.outputs(files.pixels), here.outputs(files.pixels)
        assert found.dtype == wanted.dtype
        np.testing.assert_array_equal(found, wanted)
        assert runner.name == "tflite int8, xnnpack, 1 thread, emulated cortex-a53"
        assert runner.integer
        assert runner.features == ("neon",)
        assert not hasattr(runner, "timed")


def test_rows_of_equal_outputs(
    tmp_path: Path, turning: Path, images: NDArray[np.uint8]
) -> None:
    """A row for each processor, each once, in their order."""
    cpus, motions = (
        ("neoverse-v1", "cortex-a53", "neoverse-v1"),
        (*ROTATIONS, MIRRORS[0]),
    )
    told: list[str] = []
    rows = compare(
        turning,
        images,
        cpus,
        root=stand_in(tmp_path),
        motions=motions,
        progress=told.append,
    )
    assert [row.cpu for row in rows] == ["neoverse-v1", "cortex-a53"]
    assert told == [f"{turning.name} on {row.cpu}" for row in rows]
    for row in rows:
        assert row.equal
        assert row.largest_step == 0
        assert tuple(row.changed) == motions
        assert row.changed_under(ROTATIONS) == 0
        # The network of C4 has no mirror symmetry.
        assert row.changed_under(MIRRORS) > 0


def test_one_output_that_is_off_by_one(
    tmp_path: Path, turning: Path, images: NDArray[np.uint8]
) -> None:
    """It is counted where it is: of the images as they are, or under one motion."""
    root = stand_in(tmp_path, CHANGES_LAST)
    (row,) = compare(turning, images, ["cortex-a53"], root=root)
    assert row.equal
    assert row.changed == {(1, False): 0, (2, False): 0, (3, False): 1}
    assert row.to_dict()["changed"][2] == {"turns": 3, "mirrored": False, "outputs": 1}
    (row,) = compare(turning, images, ["cortex-a53"], root=root, motions=())
    assert (row.differing, row.largest_step, row.equal) == (1, 1, False)
    assert row.changed == {}


def test_images_that_are_not_square() -> None:
    """Only motions that keep their shape are tried, each once."""
    tall = np.zeros((1, 4, 3, 3), np.uint8)
    motions = (*ROTATIONS, *MIRRORS, *ROTATIONS)
    assert keeping(tall, motions) == ((2, False), (0, True), (2, True))
    assert keeping(tall[:, :3], motions) == (*ROTATIONS, *MIRRORS)


def test_images_that_do_not_fit(
    tmp_path: Path, turning: Path, images: NDArray[np.uint8]
) -> None:
    """None at all, of another size, or of another rank."""
    root = stand_in(tmp_path)
    for wrong in (images[:0], images[:, :-1], images[0]):
        with pytest.raises(BundleError) as caught:
            compare(turning, wrong, root=root)
        one_line(caught, "wanted")


def test_files_that_are_none(tmp_path: Path, images: NDArray[np.uint8]) -> None:
    """A missing and a damaged file are named; so is an unknown processor."""
    root, path = stand_in(tmp_path), tmp_path / "a.tflite"
    with pytest.raises(BundleError) as caught:
        compare(path, images, root=root)
    one_line(caught, str(path), "cannot be read")
    path.write_bytes(b"rubbish" * 9)
    with pytest.raises(BundleError) as caught:
        compare(path, images, root=root)
    one_line(caught, str(path), "not a TFLite file")
    path.write_bytes(small("C4").files["tflite"])
    with pytest.raises(InputError) as refused:
        compare(path, images, ["z80"], root=root)
    one_line(refused, "'z80'")


@pytest.mark.parametrize(
    ("does", "words"),
    [
        pytest.param(
            "print('INFO: fine'); print('out of\\x00luck'); sys.exit(3)",
            ("ended with code 3", "out of"),
            id="fails",
        ),
        pytest.param("sys.exit(128 + 11)", ("SIGSEGV",), id="crashes inside"),
        pytest.param(
            "os.kill(os.getpid(), signal.SIGSEGV)", ("SIGSEGV",), id="crashes"
        ),
        pytest.param(
            "os.kill(os.getpid(), signal.SIGKILL)", ("memory runs out",), id="killed"
        ),
        pytest.param("raise ValueError('no')", ("ValueError: no",), id="raises"),
        pytest.param("", ("does not say what it ran on",), id="does nothing"),
        pytest.param("run()", ("instead of aarch64",), id="runs here"),
        pytest.param("claim()", ("no outputs", "No such file"), id="no outputs"),
        pytest.param(
            "Path(facts).write_text('[]')", ("does not say",), id="other facts"
        ),
        pytest.param(
            "claim(); Path(outputs).write_bytes(b'rubbish' * 99)",
            ("returned 693 bytes", "instead of 8"),
            id="rubbish",
        ),
        pytest.param(
            "run(); claim(); os.truncate(outputs, 7)",
            ("returned 7 bytes", "instead of 8"),
            id="cut off",
        ),
        pytest.param(
            "run(); claim(); os.truncate(outputs, 2**40)",
            ("1099511627776 bytes", "instead of 8"),
            id="larger than memory",
        ),
    ],
)
def test_a_process_that_goes_wrong(
    does: str,
    words: tuple[str, ...],
    tmp_path: Path,
    turning: Path,
    images: NDArray[np.uint8],
) -> None:
    """One line that names file, processor and what happened."""
    runner = EmulatedRunner(turning, "cortex-a76", root=stand_in(tmp_path, does))
    with pytest.raises(RuntimeProcessError) as caught:
        runner.outputs(images)
    one_line(caught, str(turning), "cortex-a76", "tools/arm64_root.sh", *words)


def test_a_process_that_hangs(
    tmp_path: Path, turning: Path, images: NDArray[np.uint8]
) -> None:
    """It is ended, and what it said last is told."""
    does = (
        f"Path({str(tmp_path / 'pid')!r}).write_text(str(os.getpid()))\n"
        "print('still busy', flush=True); time.sleep(3600)"
    )
    runner = EmulatedRunner(
        turning, "cortex-a76", root=stand_in(tmp_path, does), patience=5
    )
    with pytest.raises(RuntimeProcessError) as caught:
        runner.outputs(images)
    one_line(caught, "not done after 5 s", "still busy")
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


def test_an_emulator_that_is_gone(
    tmp_path: Path, turning: Path, images: NDArray[np.uint8]
) -> None:
    """Between looking for it and starting it."""
    root = stand_in(tmp_path)
    runner = EmulatedRunner(turning, "cortex-a76", root=root)
    root.emulator.unlink()
    with pytest.raises(RuntimeProcessError) as caught:
        runner.outputs(images)
    one_line(caught, "cannot be started", "No such file")


def test_nothing_of_this_environment_is_passed_on(
    tmp_path: Path,
    turning: Path,
    images: NDArray[np.uint8],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Neither preloaded libraries nor Python's or QEMU's variables."""
    monkeypatch.setenv("QEMU_CPU", "max")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    does = "print(sorted(os.environ)); sys.exit(1)"
    runner = EmulatedRunner(turning, "cortex-a76", root=stand_in(tmp_path, does))
    with pytest.raises(RuntimeProcessError) as caught:
        runner.outputs(images)
    assert "QEMU_CPU" not in str(caught.value)
    assert "PYTHONPATH" not in str(caught.value)


def test_the_script_by_itself(
    tmp_path: Path,
    turning: Path,
    images: NDArray[np.uint8],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It returns what the file returns, in its own type, and times on request."""
    import sys

    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(litert_runner, "WARMUP_SECONDS", 0.0)
    (tmp_path / "inputs").write_bytes(images.tobytes())
    facts = tmp_path / "facts.json"
    litert_runner.main(
        {
            "packages": str(tmp_path),
            "model": str(turning),
            "kernels": "xnnpack",
            "threads": 1,
            "inputs": str(tmp_path / "inputs"),
            "outputs": str(tmp_path / "outputs"),
            "facts": str(facts),
            "runs": 3,
            "seconds": 0,
        }
    )
    here = TfliteRunner(turning.read_bytes(), kernels="xnnpack")
    found = np.frombuffer((tmp_path / "outputs").read_bytes(), np.uint8)
    wanted = here.outputs(images)
    np.testing.assert_array_equal(here.read(found.reshape(wanted.shape)), wanted)
    told = json.loads(facts.read_text(encoding="utf-8"))
    assert len(told["times_ns"]) == 3
    assert min(told["times_ns"]) > 0
    assert set(told["features"]) <= set(litert_runner.FEATURES)
