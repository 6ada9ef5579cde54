"""Packages that only a part of mobileq needs: what is said where one is missing."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from conftest import ROOT, SOURCE_ROOTS
from mobileq.extras import EXTRAS, as_not_installed

MODULES = {"pillow": "PIL", "tensorflow_cpu": "tensorflow"}
"""Names of modules that are not those of their packages."""

FOREIGN = {"google": "protobuf comes with onnx"}
"""Modules that a package of ours brings along and that are imported all the same."""


def asked_for(extra: str | None) -> set[str]:
    """Modules that pyproject.toml asks for, always or with an extra."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    project = tomllib.loads(text)["project"]
    extras = project["optional-dependencies"]
    lines = project["dependencies"] if extra is None else extras[extra]
    names = {canonicalize_name(Requirement(line).name) for line in lines}
    return {
        MODULES.get(name, name)
        for name in (one.replace("-", "_") for one in sorted(names))
    }


def imported() -> Iterator[tuple[str, Path]]:
    """Top-level names that the packages import, with the file."""
    for root in ("mobileq", "export", "android_bench"):
        for path in (ROOT / root).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Import):
                    names = [alias.name for alias in node.names]
                elif isinstance(node, ast.ImportFrom) and node.module:
                    names = [node.module]
                else:
                    continue
                for name in names:
                    yield name.partition(".")[0], path


def test_extras_are_those_of_the_project_file() -> None:
    """Each module is said to come with the extras that bring it, and all are listed."""
    extras = ("bench", "onnx", "tflite", "train")
    always = asked_for(None)
    brought = {
        module: tuple(extra for extra in extras if module in asked_for(extra))
        for extra in extras
        for module in asked_for(extra) - always
    }
    assert brought == EXTRAS


def test_everything_that_is_imported_is_asked_for() -> None:
    """An import is of the standard library, of ours, or of what pip is asked for."""
    known = {*sys.stdlib_module_names, *asked_for(None), *EXTRAS, *FOREIGN}
    ours = {"mobileq", "mobileq_onnx", "mobileq_tflite", "mobileq_android"}
    strange = {
        (name, path.relative_to(ROOT).as_posix())
        for name, path in imported()
        if name not in known | ours
    }
    # The runner for devices is put beside its own helpers there.
    assert {one for one in strange if "mobileq_android/" not in one[1]} == set()


@pytest.mark.parametrize("module", sorted(EXTRAS))
def test_what_is_said(module: str) -> None:
    """The module, and a command that installs it; for a part of it as well."""
    for name in (module, f"{module}.inner"):
        said = str(as_not_installed(ModuleNotFoundError("x", name=name)))
        assert said.startswith(f"{module} is not installed")
        assert f"pip install 'mobileq[{EXTRAS[module][0]}]'" in said


@pytest.mark.parametrize("name", [None, "", "mobileq.nothing", "torchvision"])
def test_other_modules(name: str | None) -> None:
    """What mobileq never asks for is not something that pip would mend."""
    assert as_not_installed(ModuleNotFoundError("x", name=name)) is None


@pytest.mark.parametrize(
    ("hidden", "arguments", "extra"),
    [
        ("torch", ["train", "--out", "model.pt"], "train"),
        ("pooch", ["data", "pcam", "data"], "train"),
        ("onnx", ["certify", "model.onnx"], "bench"),
    ],
)
def test_commands_without_a_package(
    hidden: str, arguments: list[str], extra: str, tmp_path: Path
) -> None:
    """One line with the command that installs it, and exit code 2: no traceback."""
    (tmp_path / "model.onnx").write_bytes(b"\x08\x07")
    done = without(hidden, f"sys.argv = ['mobileq', *{arguments!r}]; main()", tmp_path)
    assert done.returncode == 2, done.stderr
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1
    assert lines[0].startswith(f"mobileq: {hidden} is not installed")
    assert f"pip install 'mobileq[{extra}]'" in lines[0]


def without(
    module: str, code: str, directory: Path
) -> subprocess.CompletedProcess[str]:
    """Run code in a process that does not find a module."""
    start = (
        "import sys, importlib.abc\n"
        "class Hide(importlib.abc.MetaPathFinder):\n"
        "    def find_spec(self, name, path, target=None):\n"
        f"        if name.partition('.')[0] == {module!r}:\n"
        "            raise ModuleNotFoundError(name, name=name)\n"
        "sys.meta_path.insert(0, Hide())\n"
        f"sys.path[:0] = {[str(root) for root in SOURCE_ROOTS]!r}\n"
        "from mobileq.cli.app import main\n"
    )
    return subprocess.run(
        [sys.executable, "-c", start + code],
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
