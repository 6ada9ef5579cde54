"""`mobileq arm64` as a user types it, with a stand-in for the emulator."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from conftest import Cli
from mobileq.bundle import write_bundle
from mobileq.runtimes.arm64_root import CPUS, VARIABLE
from support.certified import SIZE, small
from support.emulator import CHANGES_LAST, make_system
from support.manifests import HASH, sound

INT8 = "model.int8.tflite"
TURNS = [[1, False], [2, False], [3, False]]
MIRRORS = [[turns, True] for turns in range(4)]


def write(path: Path, group: str, motions: list[list[Any]], name: str = INT8) -> Path:
    """A bundle with one INT8 file, of which these motions are proven."""
    image = {"shape": [3, SIZE, SIZE], "pixel_scale": 0.0078125, "pixel_zero": 128}
    proven = {"sha256": HASH, "group": group, "motions": motions}
    manifest = sound(group=group, input=image, certificates={INT8: proven})
    write_bundle(path, {name: small(group).files["tflite"]}, manifest)
    return path


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A network of C4."""
    return write(tmp_path / "c4.mobileq", "C4", TURNS)


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    """An environment that names a system."""
    return {VARIABLE: str(make_system(tmp_path / "system"))}


def test_a_table(bundle: Path, env: dict[str, str], cli: Cli) -> None:
    """A line for each processor and no time anywhere."""
    done = cli(["arm64", bundle, "--images=3"], env=env)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    for cpu in CPUS:
        (line,) = (line for line in lines if cpu in line)
        cells = re.split(r"\s{2,}", line.strip())
        assert cells == [cpu, "neon", "0 of 3", "0 LSB", "0 of 9"]
    assert "qemu 10.0.2" in done.stdout
    assert " ms" not in done.stdout


def test_figures_as_json(bundle: Path, env: dict[str, str], cli: Cli) -> None:
    """All of them, for the processors that are asked for."""
    done = cli(["arm64", bundle, "--images=2", "--cpu=cortex-a53", "--json"], env=env)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout) == {
        "emulator": "10.0.2",
        "rows": [
            {
                "file": INT8,
                "cpu": "cortex-a53",
                "features": ["neon"],
                "integer": True,
                "images": 2,
                "differing": 0,
                "largest_step": 0,
                "largest_relative": None,
                "changed": [
                    {"turns": turns, "mirrored": False, "outputs": 0}
                    for turns in (1, 2, 3)
                ],
            }
        ],
    }


def test_mirror_images_are_tried_where_they_are_proven(
    tmp_path: Path, env: dict[str, str], cli: Cli
) -> None:
    """A network of D4 has four more motions, and a column for them."""
    path = write(tmp_path / "d4.mobileq", "D4", TURNS + MIRRORS)
    done = cli(["arm64", path, "--images=2", "--cpu=cortex-a53"], env=env)
    assert done.returncode == 0, done.stderr
    assert "mirrored" in done.stdout
    assert re.search(r"0 of 6 +0 of 8", done.stdout)


def test_a_change_under_a_proven_motion(tmp_path: Path, bundle: Path, cli: Cli) -> None:
    """Exit code 1 and one line, after the table; --root goes before the environment."""
    system = make_system(tmp_path / "system", CHANGES_LAST)
    args = ["--root", system, "--images=2", "--cpu=cortex-a76"]
    done = cli(["arm64", bundle, *args], env={VARIABLE: "/nowhere"})
    assert done.returncode == 1
    assert "1 of 6" in done.stdout
    (line,) = done.stderr.splitlines()
    assert "1 outputs change on cortex-a76 under motions that are proven" in line


def test_a_change_under_other_motions(tmp_path: Path, cli: Cli) -> None:
    """Nothing is proven of a conventional network: its outputs may change."""
    path = write(tmp_path / "plain.mobileq", "conventional", [])
    system = make_system(tmp_path / "system", CHANGES_LAST)
    done = cli(["arm64", path, "--root", system, "--images=2", "--cpu=cortex-a53"])
    assert (done.returncode, done.stderr) == (0, "")


def test_what_is_missing(tmp_path: Path, bundle: Path, cli: Cli) -> None:
    """System, bundle, TFLite file, processor: one line that names it, exit code 2."""
    system = make_system(tmp_path / "system")
    onnx = write(tmp_path / "onnx.mobileq", "C4", TURNS, "model.int8.onnx")
    changed = write(tmp_path / "changed.mobileq", "C4", TURNS)
    (changed / INT8).write_bytes(b"changed")
    for args, words in (
        ([bundle], "tools/arm64_root.sh"),
        ([bundle, "--root", tmp_path / "nowhere"], "nowhere"),
        ([tmp_path / "none.mobileq", "--root", system], "none.mobileq"),
        ([onnx, "--root", system], "no TFLite file"),
        ([changed, "--root", system], "SHA-256"),
        ([bundle, "--root", system, "--cpu", "z80"], "'z80'"),
        ([bundle, "--root", system, "--images", "0"], "--images"),
    ):
        done = cli(["arm64", *args], env={VARIABLE: ""})
        assert (done.returncode, done.stdout.strip()) == (2, ""), args
        (line,) = done.stderr.splitlines()
        assert words in line


def test_a_process_that_crashes(tmp_path: Path, bundle: Path, cli: Cli) -> None:
    """One line and exit code 1; no table of half the rows."""
    does = "os.kill(os.getpid(), signal.SIGILL)"
    system = make_system(tmp_path / "system", does)
    done = cli(["arm64", bundle, "--root", system])
    assert (done.returncode, done.stdout.strip()) == (1, "")
    (line,) = done.stderr.splitlines()
    assert "crashed (SIGILL)" in line
