"""Workflows, images and the Makefile name each other's parts as they are."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib

import pytest
from packaging.requirements import Requirement

from conftest import ROOT

MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
TARGETS = set(re.findall(r"^([a-z][a-z0-9-]*):(?!=)", MAKEFILE, re.MULTILINE))
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


def test_there_are_workflows() -> None:
    """The tests below have something to look at."""
    assert {path.name for path in WORKFLOWS} == {"ci.yml", "release.yml"}
    assert {"demo", "test", "lint", "image-test", "test-dist", "docs"} <= TARGETS


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_every_step_calls_a_target(path: object) -> None:
    """What a workflow runs can be run at home: make, but for what apt installs."""
    text = (ROOT / ".github" / "workflows" / str(path)).read_text(encoding="utf-8")
    steps = re.findall(r"- run: (?:>-\n\s+)?(.+)", text)
    for step in steps:
        if step.startswith("sudo apt-get"):
            continue
        command, target, *_ = step.split()
        assert command == "make", step
        assert target in TARGETS, step


def test_every_target_is_documented() -> None:
    """The head of the Makefile or CONTRIBUTING.md says what each target is for."""
    told = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    comments = "\n".join(line for line in MAKEFILE.splitlines() if line[:1] == "#")
    untold = {name for name in TARGETS if f"make {name}" not in told + comments}
    assert untold <= {"clients", "setup", "clean"}


def test_phony_targets_exist() -> None:
    """Every name of .PHONY is a target, and every target is there."""
    (line,) = re.findall(r"^\.PHONY: (.+)$", MAKEFILE, re.MULTILINE)
    assert set(line.split()) == TARGETS


def test_no_source_is_ignored() -> None:
    """A rule of .gitignore for what is built hides no source file from a clone."""
    listed = ["git", "ls-files", "--others", "--ignored", "--exclude-standard", "--"]
    folders = ["mobileq", "export", "android_bench", "tests", "tools", "docs"]
    done = subprocess.run(
        [*listed, *folders], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        pytest.skip(f"not a clone that git reads: {done.stderr.strip()}")
    hidden = [line for line in done.stdout.splitlines() if "__pycache__" not in line]
    assert hidden == []


@pytest.mark.parametrize("extras", [["bench"], ["onnx", "tflite", "train"]])
def test_what_the_image_installs(extras: list[str]) -> None:
    """The layers below mobileq hold what its extras ask for, escnn aside."""
    script = ROOT / "tools" / "image_requirements.py"
    done = subprocess.run(
        [sys.executable, str(script), *extras],
        capture_output=True,
        text=True,
        check=True,
    )
    printed = {Requirement(line).name for line in done.stdout.splitlines()}
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    project = tomllib.loads(text)["project"]
    asked = [*project["dependencies"]]
    for extra in extras:
        asked += project["optional-dependencies"][extra]
    assert printed == {Requirement(line).name for line in asked} - {"escnn"}


def test_targets_of_the_images() -> None:
    """What the Makefile and the script build is in the Dockerfile, `runtime` last."""
    dockerfile = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    stages = re.findall(r"^FROM \S+ AS (\S+)$", dockerfile, re.MULTILINE)
    assert {"runtime", "lean", "ci"} <= set(stages)
    # Without --target, the last one is built.
    assert stages[-1] == "runtime"
