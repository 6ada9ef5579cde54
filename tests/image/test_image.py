"""The images, built by `make image` and run: `make image-test`."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

import mobileq
from conftest import ROOT
from support.containers import Image, find_image

BASELINE = ROOT / "benchmarks" / "baseline" / "bench.json"
CALLER = 12345
"""A user whom the image does not know."""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not os.environ.get("MOBILEQ_IMAGES"), reason="MOBILEQ_IMAGES is not set"
    ),
]


def image(target: str) -> Image:
    """The image of a target; the test fails where it was not built."""
    found = find_image(target)
    if isinstance(found, str):
        pytest.fail(f"{found}; wanted: tools/image.sh {target}")
    return found


@pytest.fixture(scope="module")
def runtime() -> Image:
    """The image with everything."""
    return image("runtime")


@pytest.fixture(scope="module")
def lean() -> Image:
    """The image without torch and TensorFlow."""
    return image("lean")


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory of the caller's, with a checkpoint in it."""
    folder = tmp_path_factory.mktemp("work")
    for parent in (folder, *folder.parents):
        if parent.stat().st_uid == os.getuid() and parent != Path(parent.root):
            parent.chmod(0o755)
    shipped = ROOT / "mobileq" / "checkpoints" / "pcam-equivariant.safetensors"
    shutil.copy(shipped, folder / "model.safetensors")
    os.chown(folder, CALLER, CALLER)
    return folder


@pytest.fixture(scope="module")
def exported(runtime: Image, work: Path) -> Path:
    """The bundle that the line of the README makes."""
    arguments = ("export", "/work/model.safetensors", "--int8")
    done = runtime.run(*arguments, work=work, user=f"{CALLER}:{CALLER}")
    assert done.returncode == 0, done.stderr
    assert "model.int8.tflite: C4 is proven" in done.stdout
    return work / "model.mobileq"


def test_files_belong_to_the_caller(exported: Path) -> None:
    """Whoever calls owns what is made, whether the image knows that user or not."""
    files = [exported, *exported.iterdir()]
    assert len(files) == 7
    assert {(path.stat().st_uid, path.stat().st_gid) for path in files} == {
        (CALLER, CALLER)
    }


def test_against_the_stored_baseline(
    runtime: Image, exported: Path, work: Path
) -> None:
    """What does not depend on the machine is as it was: sizes, symmetry, errors.

    The limit of the speed-up is a quarter of what is usual: processors differ, but INT8
    is not slower than that anywhere where it is worth exporting.
    """
    shutil.copy(BASELINE, work / "baseline.json")
    conditions = "changed>0,size>+1%,angle>+5,speedup<0.5"
    arguments = ["bench", exported.name, "--runtime", "tflite", "--runtime", "onnx"]
    arguments += ["--seconds", "0.5", "--json"]
    arguments += ["--baseline", "baseline.json", "--fail-if", conditions]
    done = runtime.run(*arguments, work=work, user=f"{CALLER}:{CALLER}")
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr
    found = json.loads(done.stdout)
    assert sum(row["unavailable"] is None for row in found["rows"]) == 4


def test_lean(lean: Image, exported: Path, work: Path) -> None:
    """The lean image proves and measures what the other one made, and has no torch."""
    proven = lean.run("certify", "model.mobileq", work=work)
    assert proven.returncode == 0, proven.stderr
    assert proven.stdout.count("C4 is proven") == 2
    options = ("--seconds", "0.2", "--runtime", "tflite", "--json")
    measured = lean.run("bench", "model.mobileq", *options, work=work)
    assert measured.returncode == 0, measured.stderr
    command = ("export", "model.safetensors", "--int8", "--out", "other.mobileq")
    refused = lean.run(*command, work=work)
    assert refused.returncode == 2
    assert "torch is not installed" in refused.stderr
    assert exported.is_dir()


@pytest.mark.parametrize("target", ["runtime", "lean"])
def test_what_an_image_is(target: str) -> None:
    """Not root, labelled, with help by default, without compilers and test tools."""
    made = image(target)
    config = made.config
    assert config["User"] == "1000"
    assert config["Entrypoint"] == ["mobileq"]
    labels = config["Labels"]
    assert labels["org.opencontainers.image.version"] == mobileq.__version__
    assert labels["org.opencontainers.image.licenses"] == "Apache-2.0"
    script = "command -v gcc cc make git; ls /opt/mobileq/bin"
    inside = made.run("sh", "-c", script, entrypoint=False).stdout.split()
    assert "mobileq" in inside
    assert not {"gcc", "cc", "pytest", "mypy", "ruff"} & {
        Path(one).name for one in inside
    }
    shown = made.run("--version")
    assert shown.stdout.strip() == f"mobileq {mobileq.__version__}"


def test_a_directory_that_is_not_the_callers(runtime: Image, work: Path) -> None:
    """One line that names the place, and exit code 2."""
    arguments = ("export", "/work/model.safetensors", "--int8", "--out", "/work/mine")
    done = runtime.run(*arguments, work=work, user="54321:54321")
    assert done.returncode == 2
    # buildah adds lines of its own.
    assert done.stderr.startswith("mobileq: /work")
    assert "Traceback" not in done.stderr
    assert not (work / "mine").exists()


def test_the_suite_in_the_image() -> None:
    """A part of the tests passes in the image that is made for them.

    All of it is `make test-fast` there, minutes more; here the parts that see another
    system: packaging, files, processes, the command line.
    """
    parts = ["tests/test_packaging.py", "tests/test_bundle.py", "tests/test_extras.py"]
    parts += ["tests/bench/test_machine.py", "tests/runtimes/test_doctor.py"]
    options = ["-q", "-m", "not slow", "-p", "no:cacheprovider"]
    command = [".venv/bin/python", "-m", "pytest", *options, *parts]
    done = image("ci").run(*command, entrypoint=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]
    assert " passed" in done.stdout
