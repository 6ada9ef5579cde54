"""The lock file, the package's metadata, and what the command line loads."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

import mobileq

ROOT = Path(__file__).resolve().parents[1]
ABSENT = {"autograd", "py3nj", "pymanopt", "scikit-learn", "tensorflow"}
HEAVY = (
    "PIL",
    "ai_edge_litert",
    "escnn",
    "flatbuffers",
    "h5py",
    "numpy",
    "onnx",
    "onnxruntime",
    "onnxsim",
    "pooch",
    "requests",
    "safetensors",
    "scipy",
    "tensorflow",
    "torch",
)


def lock_lines() -> list[str]:
    """Return the lock's lines without its comments."""
    lines = (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()
    return [line for line in lines if not line.startswith("#")]


def lock_pins() -> Mapping[str, Version]:
    """Return {canonical name: version} of the lock."""
    pairs = (line.split("==") for line in lock_lines())
    return {canonicalize_name(name): Version(version) for name, version in pairs}


def pyproject() -> dict[str, Any]:
    """Return the parsed pyproject.toml."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def direct_requirements() -> list[str]:
    """Return what pyproject.toml asks for on this system: with extras, and to build."""
    data = pyproject()
    extras = data["project"]["optional-dependencies"]
    asked = [
        *data["project"]["dependencies"],
        *(one for extra in sorted(set(extras) - {"all"}) for one in extras[extra]),
        *data["build-system"]["requires"],
    ]
    markers = {one: Requirement(one).marker for one in asked}
    return sorted(one for one, when in markers.items() if not when or when.evaluate())


def test_lock_pins_exactly() -> None:
    """Every line is name==version: no range, no host, no local version."""
    wrong = [
        line
        for line in lock_lines()
        if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*==\d+(\.\w+)*", line)
    ]
    assert wrong == []


def test_lock_is_sorted_without_duplicates() -> None:
    """Names come once each and in order, so that a change of the lock reads well."""
    names = [line.split("==")[0] for line in lock_lines()]
    assert names == sorted(set(names))


@pytest.mark.parametrize("requirement", direct_requirements())
def test_lock_satisfies_pyproject(requirement: str) -> None:
    """Each direct requirement is in the lock, at a version that it allows."""
    wanted = Requirement(requirement)
    pins = lock_pins()
    assert canonicalize_name(wanted.name) in pins
    assert wanted.specifier.contains(pins[canonicalize_name(wanted.name)])


def test_lock_leaves_out_what_breaks_escnn() -> None:
    """None of the packages that decision 0001 excludes is in the lock."""
    assert lock_pins().keys() & ABSENT == set()


def test_lock_is_complete() -> None:
    """What a locked package declares is in the lock too, at an allowed version."""
    pins = lock_pins()
    problems = []
    checked = 0
    for name in pins:
        try:
            declared = metadata.requires(name) or []
        except metadata.PackageNotFoundError:
            continue
        checked += 1
        for requirement in map(Requirement, declared):
            child = canonicalize_name(requirement.name)
            if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
                continue
            if child in ABSENT or child.startswith(("nvidia-", "cuda-", "triton")):
                continue
            if child not in pins or not requirement.specifier.contains(pins[child]):
                problems.append(f"{name} wants {requirement}, not {pins.get(child)}")
    assert problems == []
    # Most are installed wherever the suite can run at all: it did compare something.
    assert checked > len(pins) // 2


def test_public_names() -> None:
    """The package itself exposes its version and `export`, which is looked up late."""
    public = [
        name
        for name, value in vars(mobileq).items()
        if not name.startswith("_") and not isinstance(value, ModuleType)
    ]
    helpers = {"annotations", "Any", "TYPE_CHECKING", "import_module"}
    assert [name for name in public if name not in helpers] == []
    assert sorted(mobileq.__all__) == ["__version__", "export"]
    assert mobileq.export.__module__ == "mobileq.api"
    with pytest.raises(AttributeError, match="no attribute 'quantize'"):
        mobileq.quantize  # noqa: B018
    assert str(Version(mobileq.__version__)) == mobileq.__version__


def test_entry_point_can_be_called() -> None:
    """The console script names a function that exists and takes no argument."""
    target = pyproject()["project"]["scripts"]["mobileq"]
    assert target == "mobileq.cli.app:main"
    module, _, function = target.partition(":")
    assert callable(getattr(importlib.import_module(module), function))


@pytest.mark.parametrize("args", [["--help"], ["--version"], ["export", "--help"]])
def test_help_loads_nothing_heavy(args: list[str]) -> None:
    """A help text needs no numerical framework, so it appears at once."""
    code = (
        "import sys\n"
        "from mobileq.cli.app import main\n"
        f"sys.argv = ['mobileq', *{args!r}]\n"
        "code = 0\n"
        "try:\n"
        "    main()\n"
        "except SystemExit as stop:\n"
        "    code = stop.code or 0\n"
        f"found = sorted(set({HEAVY!r}) & set(sys.modules))\n"
        "print('loaded:', *found, file=sys.stderr)\n"
        "sys.exit(code)\n"
    )
    # -c puts the working directory first on sys.path: it runs uninstalled as well.
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.strip() == "loaded:"


def test_builds_are_reproducible(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wheel and sdist of one tree are the same bytes, whenever they are built."""
    builders = [
        pytest.importorskip("hatchling.builders.wheel").WheelBuilder,
        pytest.importorskip("hatchling.builders.sdist").SdistBuilder,
    ]
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1767225600")
    for builder in builders:
        made = []
        for turn in ("one", "two"):
            out = tmp_path / turn
            (path,) = builder(str(ROOT)).build(
                directory=str(out), versions=["standard"]
            )
            made.append(Path(path).read_bytes())
        assert made[0] == made[1]


def test_the_sdist_can_be_built_from(tmp_path: Path) -> None:
    """It has what the build and the tests need, and nothing of runs or environments."""
    sdist = pytest.importorskip("hatchling.builders.sdist")
    (path,) = sdist.SdistBuilder(str(ROOT)).build(
        directory=str(tmp_path), versions=["standard"]
    )
    with tarfile.open(path) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    wanted = {"pyproject.toml", "requirements.lock", "LICENSE", "Makefile"}
    assert wanted <= names
    assert "mobileq/py.typed" in names
    tops = {name.partition("/")[0] for name in names}
    assert not tops & {"runs", ".venv", ".venv-clients", "dist", ".mypy_cache"}


def test_wheel_holds_every_package_and_its_data(tmp_path: Path) -> None:
    """The wheel has the four packages, all their files, and no tests."""
    wheel_builder = pytest.importorskip("hatchling.builders.wheel")
    builder = wheel_builder.WheelBuilder(str(ROOT))
    (wheel,) = builder.build(directory=str(tmp_path), versions=["standard"])
    inside = {
        name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name
    }
    sources = {
        "mobileq": ROOT,
        "mobileq_onnx": ROOT / "export",
        "mobileq_tflite": ROOT / "export",
        "mobileq_android": ROOT / "android_bench",
    }
    wanted = {
        path.relative_to(root).as_posix()
        for package, root in sources.items()
        for path in (root / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert inside == wanted
