"""Which runtimes are there, and what is told to whoever lacks one."""

from __future__ import annotations

import subprocess
import sys
from importlib import metadata
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path

import pytest

import mobileq.runtimes.factory as factory
from conftest import ROOT, SOURCE_ROOTS
from mobileq.bench.spec import KERNELS, RunnerSpec
from mobileq.collapsed import CollapsedCheckpoint, save_collapsed
from mobileq.errors import BundleError, InputError, NotInstalledError
from support.handmade import handmade_graph

REQUIRES = [
    "ai-edge-litert>=2.3",
    "escnn>=1.0.11",
    "flatbuffers>=25",
    "numpy<2,>=1.26",
    "onnx>=1.23",
    "onnxruntime>=1.31",
    "onnxsim>=0.8",
    "torch>=2.13",
    'torchvision>=0.20; extra == "dev"',
]
"""As pip keeps them of an installed mobileq."""


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Mobileq is installed, with these requirements."""

    def requires(name: str) -> list[str]:
        assert name == "mobileq"
        return REQUIRES

    monkeypatch.setattr(metadata, "requires", requires)


def hide(monkeypatch: pytest.MonkeyPatch, *modules: str) -> None:
    """Make these modules look as if they were not installed."""

    def found(name: str, package: str | None = None) -> ModuleSpec | None:
        return None if name in modules else find_spec(name, package)

    monkeypatch.setattr(factory, "find_spec", found)


@pytest.mark.parametrize("runtime", KERNELS)
def test_everything_is_installed(runtime: str) -> None:
    """Nothing is missing where the tests run."""
    assert factory.missing(runtime) is None
    factory.require(runtime)


def test_every_runtime_is_known() -> None:
    """Runtimes with kernels and runtimes with packages are the same."""
    assert set(factory.PACKAGES) == set(KERNELS)


@pytest.mark.parametrize(
    ("runtime", "hidden", "message"),
    [
        (
            "tflite",
            ["ai_edge_litert"],
            "ai-edge-litert not installed (pip install 'ai-edge-litert>=2.3')",
        ),
        (
            "tflite",
            ["flatbuffers"],
            "flatbuffers not installed (pip install 'flatbuffers>=25')",
        ),
        (
            "onnx",
            ["onnxruntime"],
            "onnxruntime not installed (pip install 'onnxruntime>=1.31')",
        ),
        (
            "onnx",
            ["onnx", "onnxruntime"],
            "onnx and onnxruntime not installed "
            "(pip install 'onnx>=1.23' 'onnxruntime>=1.31')",
        ),
        (
            "torch",
            ["torch", "escnn"],
            "torch and escnn not installed (pip install 'torch>=2.13' 'escnn>=1.0.11')",
        ),
    ],
)
@pytest.mark.usefixtures("installed")
def test_missing(
    runtime: str, hidden: list[str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is missing is named, with the command that installs a version that fits."""
    hide(monkeypatch, *hidden)
    assert factory.missing(runtime) == message
    with pytest.raises(NotInstalledError) as found:
        factory.require(runtime)
    assert str(found.value) == f"{runtime}: {message}"
    assert found.value.exit_code == 2


def test_mobileq_is_not_installed_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run from its sources, it knows no versions, and asks for any."""

    def requires(name: str) -> list[str]:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "requires", requires)
    hide(monkeypatch, "onnxruntime")
    assert factory.missing("onnx") == (
        "onnxruntime not installed (pip install 'onnxruntime')"
    )


def test_requirements_are_those_of_the_project(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Every package that may be asked for is one of the project's dependencies."""
    lines = (ROOT / "pyproject.toml").read_text(encoding="utf-8").splitlines()
    wanted = [line.strip(' ",') for line in lines if line.startswith('    "')]
    monkeypatch.setattr(metadata, "requires", lambda name: wanted)
    for runtime, packages in factory.PACKAGES.items():
        hide(monkeypatch, *packages)
        found = factory.missing(runtime)
        assert found is not None
        assert found.count(">=") == len(packages)


@pytest.mark.parametrize("runtime", KERNELS)
def test_looking_imports_nothing(runtime: str) -> None:
    """Whether a runtime is there is found out without importing it."""
    code = (
        f"import sys; from mobileq.runtimes.factory import missing, PACKAGES\n"
        f"assert missing({runtime!r}) is None\n"
        f"loaded = set(sys.modules) & {{m for p in PACKAGES.values() for m in p}}\n"
        f"assert not loaded, loaded"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": ":".join(map(str, SOURCE_ROOTS))},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("kernel", KERNELS["torch"])
def test_collapsed_checkpoint_is_no_module(kernel: str, tmp_path: Path) -> None:
    """A collapsed checkpoint holds a graph, and torch is told to take another file."""
    path = tmp_path / "collapsed.npz"
    save_collapsed(path, CollapsedCheckpoint(handmade_graph()))
    with pytest.raises(InputError, match="is a collapsed checkpoint") as found:
        factory.make(RunnerSpec("torch", kernel, str(path)), b"")
    assert str(found.value).startswith(f"{path}: ")


def test_file_is_read_once(tmp_path: Path) -> None:
    """A file's bytes are read as they are; a checkpoint is left to torch."""
    path = tmp_path / "any.onnx"
    path.write_bytes(b"any bytes")
    assert factory.read(RunnerSpec("onnx", "cpu", str(path))) == b"any bytes"
    assert factory.read(RunnerSpec("torch", "eager", str(path))) == b""


@pytest.mark.parametrize("runtime", ["tflite", "onnx"])
def test_damaged_bytes_name_the_file(runtime: str) -> None:
    """A runner is given bytes, so the factory adds whose they are."""
    kernel = KERNELS[runtime][0]
    spec = RunnerSpec(runtime, kernel, f"folder/some.{runtime}")  # type: ignore[arg-type]
    with pytest.raises(BundleError) as found:
        factory.make(spec, b"no such file")
    assert str(found.value).startswith(f"folder/some.{runtime}: ")
    assert "\n" not in str(found.value)
