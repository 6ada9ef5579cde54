"""Set-up by the Makefile, with a stand-in for Python that records its calls."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
MAKE = shutil.which("make")

pytestmark = pytest.mark.skipif(MAKE is None, reason="make is not installed")

# Answers as Python 3.11 does, appends its arguments to calls.log, makes an
# environment that holds a copy of itself, and fails where FAIL_ON matches.
FAKE_PYTHON = """\
#!/bin/sh
echo "$*" >> "$CALLS"
case "$*" in *"${FAIL_ON:-nothing fails}"*) exit 1 ;; esac
if [ "$1 $2" = "-m venv" ]; then
    rm -rf .venv && mkdir -p .venv/bin && cp "$0" .venv/bin/python
fi
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A directory with a space in its name that `make setup` can work in."""
    directory = tmp_path / "a project"
    directory.mkdir()
    for name in ("Makefile", "requirements.lock", "pyproject.toml"):
        shutil.copy(ROOT / name, directory)
    fake = directory / "fake python"
    fake.write_text(FAKE_PYTHON, encoding="utf-8")
    fake.chmod(0o755)
    return directory


def setup(
    project: Path, python: str = "./fake python", fail_on: str = ""
) -> tuple[subprocess.CompletedProcess[str], list[str]]:
    """Run `make setup`; return the process and the stand-in's new calls."""
    calls = project / "calls.log"
    calls.write_text("", encoding="utf-8")
    assert MAKE is not None
    # The variables of an outer make would reach this one, so the environment is new.
    env = {"PATH": os.environ["PATH"], "CALLS": str(calls)}
    if fail_on:
        env["FAIL_ON"] = fail_on
    done = subprocess.run(
        [MAKE, "setup", f"PYTHON={python}"],
        cwd=project,
        env=env,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done, calls.read_text(encoding="utf-8").splitlines()


def installs(calls: list[str]) -> list[str]:
    """Return what follows `install` in the calls of pip."""
    return [call.split(" install ")[1] for call in calls if " install " in call]


def test_setup_installs_torch_then_the_lock_then_mobileq(project: Path) -> None:
    """Three calls of pip, in the order that decision 0001 gives."""
    done, calls = setup(project)
    assert done.returncode == 0, done.stderr
    torch, lock, package = installs(calls)
    assert torch.startswith("--constraint requirements.lock torch==")
    assert lock == "--no-deps --requirement requirements.lock"
    assert package == "--no-deps --no-build-isolation --editable ."


def test_second_setup_installs_nothing(project: Path) -> None:
    """A finished set-up is not repeated."""
    setup(project)
    done, calls = setup(project)
    assert done.returncode == 0, done.stderr
    assert calls == []


@pytest.mark.parametrize(
    "step", ["-m venv", "--constraint", "--requirement", "--editable"]
)
def test_interrupted_setup_starts_again(project: Path, step: str) -> None:
    """Whatever step fails, the next set-up does all that is missing."""
    failed, _ = setup(project, fail_on=step)
    assert failed.returncode != 0
    done, calls = setup(project)
    assert done.returncode == 0, done.stderr
    assert any(step in call for call in calls)


def test_changed_lock_makes_a_fresh_environment(project: Path) -> None:
    """A package that leaves the lock leaves the environment."""
    setup(project)
    stale = project / ".venv" / "stale"
    stale.touch()
    stamp = (project / ".venv" / "lock-installed").stat().st_mtime
    os.utime(project / "requirements.lock", (stamp + 1, stamp + 1))
    done, calls = setup(project)
    assert done.returncode == 0, done.stderr
    assert len(installs(calls)) == 3
    assert not stale.exists()


def test_changed_pyproject_installs_mobileq_alone(project: Path) -> None:
    """Configuring a tool does not download torch again."""
    setup(project)
    stamp = (project / ".venv" / "mobileq-installed").stat().st_mtime
    os.utime(project / "pyproject.toml", (stamp + 1, stamp + 1))
    _, calls = setup(project)
    assert installs(calls) == ["--no-deps --no-build-isolation --editable ."]


def test_wrong_python_is_one_clear_line(project: Path, tmp_path: Path) -> None:
    """Without Python 3.11, set-up says what to do and leaves nothing behind."""
    tools = tmp_path / "bin"
    tools.mkdir()
    wrong = tools / "python3"
    wrong.write_text("#!/bin/sh\nexit 1\n", encoding="utf-8")
    wrong.chmod(0o755)
    assert MAKE is not None
    done = subprocess.run(
        [MAKE, "setup", "PYTHON=no-such-python"],
        cwd=project,
        env={"PATH": str(tools)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    message, make_error = done.stderr.splitlines()
    assert (
        message == "mobileq needs Python 3.11 or 3.12; set PYTHON=/path/to/python3.11"
    )
    assert make_error.startswith("make: ***")
    assert not (project / ".venv").exists()


def test_a_link_is_never_emptied(project: Path, tmp_path: Path) -> None:
    """Making an environment clears its directory, which may be somebody's own."""
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "precious").touch()
    (project / ".venv").symlink_to(mine)
    done, calls = setup(project)
    assert done.returncode != 0
    assert ".venv is a link" in done.stderr
    assert calls == []
    assert (mine / "precious").exists()
