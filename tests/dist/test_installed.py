"""Wheel and sdist, installed by pip into environments that hold nothing else.

`make test-dist` builds both and names them to these tests. The interpreter of the
environments is the suite's own, or that of MOBILEQ_DIST_PYTHON.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from conftest import ROOT

DIST = "MOBILEQ_DIST"
PYTHON = os.environ.get("MOBILEQ_DIST_PYTHON") or sys.executable
LOCK = ROOT / "requirements.lock"
INSTALL_LIMIT = 900  # seconds; TensorFlow alone has 250 MB
RUN_LIMIT = 600

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not os.environ.get(DIST), reason=f"{DIST} is not set"),
]


@dataclass(frozen=True)
class Clean:
    """An environment of its own.

    Attributes:
        directory: Where it is.
        version: Of its Python, such as `3.11`.
        work: Where its commands run, apart from the repository.
    """

    directory: Path
    version: str
    work: Path

    def call(
        self, program: str, arguments: Sequence[str | Path], limit: int = RUN_LIMIT
    ) -> subprocess.CompletedProcess[str]:
        """Run a program of it, without anything of the caller's environment."""
        return subprocess.run(
            [self.directory / "bin" / program, *map(str, arguments)],
            cwd=self.work,
            env={"PATH": os.defpath, "HOME": str(self.work), "COLUMNS": "120"},
            capture_output=True,
            text=True,
            timeout=limit,
            check=False,
        )

    def pip(self, *arguments: str | Path) -> None:
        """Let pip install something, or fail with what it said."""
        # pip may be told of an index by the environment; nothing else is handed on.
        pip = {key: text for key, text in os.environ.items() if key[:4] == "PIP_"}
        quiet = ["--quiet", "--disable-pip-version-check"]
        done = subprocess.run(
            [self.directory / "bin" / "pip", "install", *quiet, *map(str, arguments)],
            env={**pip, "PATH": os.environ["PATH"], "HOME": os.environ["HOME"]},
            capture_output=True,
            text=True,
            timeout=INSTALL_LIMIT,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-3000:]

    def constraints(self) -> list[str]:
        """The lock's versions for the Python that it was made with; else the newest."""
        first = LOCK.read_text(encoding="utf-8").splitlines()[0]
        locked = first.rpartition("Python ")[2].rstrip(".")
        return ["--constraint", str(LOCK)] if self.version == locked else []


def ok(done: subprocess.CompletedProcess[str]) -> str:
    """Standard output of a program that succeeded."""
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


@pytest.fixture(scope="module")
def dist() -> Path:
    """Directory with one wheel and one sdist."""
    return Path(os.environ[DIST]).resolve()


@pytest.fixture(scope="module")
def wheel(dist: Path) -> Path:
    """The wheel."""
    (found,) = dist.glob("mobileq-*.whl")
    return found


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Clean:
    """An environment with pip alone."""
    folder = tmp_path_factory.mktemp("clean")
    work = folder / "some work"
    work.mkdir()
    subprocess.run([PYTHON, "-m", "venv", str(folder / "venv")], check=True)
    code = "import sys; print('%d.%d' % sys.version_info[:2])"
    made = Clean(folder / "venv", "", work)
    return Clean(folder / "venv", ok(made.call("python", ["-c", code])).strip(), work)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped network, exported where the whole of mobileq is installed."""
    out = tmp_path_factory.mktemp("bundle") / "small.mobileq"
    command = [sys.executable, "-m", "mobileq", "export", "pcam-equivariant"]
    subprocess.run([*command, "--int8", "--out", str(out), "--quiet"], check=True)
    return out


@pytest.fixture(scope="module")
def bench_only(clean: Clean, wheel: Path) -> Clean:
    """With `mobileq[bench]`, which pip resolves."""
    clean.pip(*clean.constraints(), f"{wheel}[bench]")
    return clean


@pytest.fixture(scope="module")
def with_writers(bench_only: Clean, wheel: Path) -> Clean:
    """With `mobileq[bench,onnx,tflite]`."""
    bench_only.pip(*bench_only.constraints(), f"{wheel}[bench,onnx,tflite]")
    return bench_only


def test_files_are_measured_without_torch_and_tensorflow(
    bench_only: Clean, bundle: Path
) -> None:
    """The extra `bench` inspects, proves and measures, and brings nothing heavy."""
    held = ok(bench_only.call("python", ["-m", "pip", "list", "--format", "json"]))
    names = {one["name"].lower().replace("_", "-") for one in json.loads(held)}
    assert not names & {"torch", "escnn", "tensorflow", "tensorflow-cpu", "keras"}
    proven = ok(bench_only.call("mobileq", ["certify", bundle / "model.int8.tflite"]))
    assert "C4 is proven" in proven
    ok(bench_only.call("mobileq", ["inspect", bundle]))
    command = ["bench", bundle, "--images", "8", "--seconds", "0.1", "--out", "found"]
    shown = ok(bench_only.call("mobileq", command))
    assert "pip install 'torch" in shown  # rows that say what they would need
    figures = json.loads((bench_only.work / "found" / "bench.json").read_text())
    measured = {
        (row["label"]["runtime"], row["label"]["precision"])
        for row in figures["rows"]
        if row["cost"]
    }
    kinds = {("onnx", "float"), ("onnx", "int8"), ("tflite", "float")}
    assert measured == {*kinds, ("tflite", "int8")}
    page = (bench_only.work / "found" / "report.html").read_text(encoding="utf-8")
    assert page.rstrip().endswith("</html>")


@pytest.mark.parametrize(
    ("command", "module", "extra"),
    [
        (["train", "--out", "model.pt"], "torch", "train"),
        (["export", "pcam-equivariant", "--int8"], "torch", "train"),
        (["data", "pcam", "data"], "pooch", "train"),
    ],
)
def test_what_is_missing_is_named(
    bench_only: Clean, command: list[str], module: str, extra: str
) -> None:
    """One line with the extra to install, exit code 2."""
    done = bench_only.call("mobileq", command)
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith(f"mobileq: {module} is not installed")
    assert f"pip install 'mobileq[{extra}]'" in line


def test_doctor_finds_nothing_to_mend(bench_only: Clean) -> None:
    """What an extra would bring is absent, and not an error."""
    found = json.loads(ok(bench_only.call("mobileq", ["doctor", "--json"])))
    assert found["healthy"] is True
    states = {one["name"]: one["state"] for one in found["findings"]}
    assert states["onnxruntime"] == "ok"
    assert states["torch"] == "absent"


def test_a_collapsed_network_is_exported_without_torch(
    with_writers: Clean, bundle: Path
) -> None:
    """The whole ladder, on whatever Python this is; the weights are the same."""
    network = bundle / "network.collapsed.safetensors"
    command = ["export", network, "--int8", "--out", "again.mobileq"]
    shown = ok(with_writers.call("mobileq", command))
    assert "model.int8.tflite: C4 is proven" in shown
    ok(with_writers.call("mobileq", ["verify", bundle]))


def test_the_main_job(with_writers: Clean, wheel: Path) -> None:
    """With torch and escnn as the lock has them, the shipped network is exported."""
    if not with_writers.constraints():
        pytest.skip(f"the lock was not made with Python {with_writers.version}")
    pins = dict(
        line.split("==")
        for line in LOCK.read_text(encoding="utf-8").splitlines()
        if "==" in line
    )
    torch = f"torch=={pins['torch']}"
    with_writers.pip(*with_writers.constraints(), torch, "joblib", "lie-learn")
    # It declares packages that it does not need: docs/decisions/0001-lock-file.md.
    with_writers.pip("--no-deps", f"escnn=={pins['escnn']}")
    shown = ok(with_writers.call("mobileq", ["export", "pcam-equivariant", "--int8"]))
    assert "model.int8.onnx: C4 is proven" in shown
    assert (with_writers.work / "pcam-equivariant.mobileq" / "manifest.json").is_file()


def test_the_sdist_makes_the_same_wheel(
    dist: Path, wheel: Path, tmp_path: Path
) -> None:
    """What is built from the source archive has the same files, byte for byte."""
    (sdist,) = dist.glob("mobileq-*.tar.gz")
    shutil.unpack_archive(sdist, tmp_path, filter="data")
    (tree,) = tmp_path.iterdir()
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", "built"],
        cwd=tree,
        check=True,
        capture_output=True,
    )
    (again,) = (tree / "built").glob("*.whl")
    assert contents(again) == contents(wheel)


def contents(wheel: Path) -> dict[str, bytes]:
    """What a wheel holds, by name."""
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}
