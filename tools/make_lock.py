"""Rewrite requirements.lock: every package that .venv gets, with its exact version.

Needs Python 3.11 and a package index; nothing else is installed or changed. Run by
`make lock`, which keeps the pins that the lock already has, or by
`make lock UPGRADE=1`, which takes the newest versions that pyproject.toml allows.
docs/decisions/0001-lock-file.md gives the reasons.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import tomllib
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LOCK = ROOT / "requirements.lock"

# escnn also declares py3nj, pymanopt and autograd, see FORBIDDEN; so it is installed
# without its dependencies, and those that it does need stand here.
ESCNN_NEEDS = ("joblib",)

FORBIDDEN = {
    "py3nj": "is built by a Fortran compiler; escnn uses it for SO(3) alone",
    "pymanopt": "makes escnn import TensorFlow and Keras: 7 s instead of 2.7 s",
    "autograd": "is there for pymanopt alone",
    "scikit-learn": "breaks escnn's D_N groups ('np.matrix is not supported')",
    "tensorflow": "is three times the size of tensorflow-cpu, which is enough",
}

# pip is venv's own. The others belong to torch wheels built for CUDA: the index
# decides whether torch comes with them, so they cannot be pinned for everybody.
NOT_LOCKED = re.compile(r"pip|nvidia-.*|cuda-.*|triton")

HEADER = """\
# Written by `make lock`; do not edit. Python 3.11.
# torch is installed first, with its dependencies, then the rest with --no-deps:
# see docs/decisions/0001-lock-file.md.
"""


def normalized(name: str) -> str:
    """Return a distribution's name in the spelling that PEP 503 compares."""
    return re.sub(r"[-_.]+", "-", name).lower()


def requirement_name(requirement: str) -> str:
    """Return the normalized name that a requirement such as `torch>=2` starts with."""
    return normalized(re.split(r"[\s<>=!~;\[]", requirement, maxsplit=1)[0])


def direct_requirements(pyproject: Path) -> list[str]:
    """Return what pyproject.toml asks for: run time, development, build."""
    data = tomllib.loads(pyproject.read_text(encoding="utf-8"))
    project = data["project"]
    return [
        *project["dependencies"],
        *(
            requirement
            for extra, requirements in project["optional-dependencies"].items()
            if extra != "all"  # which only names the others
            for requirement in requirements
        ),
        *data["build-system"]["requires"],
    ]


def pins_of(frozen: str) -> dict[str, str]:
    """Parse `pip freeze` output or a lock file into {normalized name: version}.

    A local version such as 2.13.0+cpu loses its suffix: the index decides which
    build of a version is taken.
    """
    pins = {}
    for line in frozen.splitlines():
        if line.strip() and not line.startswith("#"):
            name, _, version = line.partition("==")
            pins[normalized(name)] = version.strip().partition("+")[0]
    return pins


def resolve(directory: Path, requirements: list[str], constraints: Path) -> str:
    """Install the requirements into a fresh environment and return `pip freeze`.

    Raises:
        subprocess.CalledProcessError: pip found no solution.
    """
    venv.create(directory, with_pip=True, clear=True)
    python = directory / "bin" / "python"
    pip = [str(python), "-m", "pip", "--disable-pip-version-check", "--quiet"]
    install = [*pip, "install", "--constraint", str(constraints)]
    torch = [item for item in requirements if requirement_name(item) == "torch"]
    escnn = [item for item in requirements if requirement_name(item) == "escnn"]
    subprocess.run([*install, *torch], check=True)
    others = [item for item in requirements if item not in escnn]
    subprocess.run([*install, *others, *ESCNN_NEEDS], check=True)
    subprocess.run([*install, "--no-deps", *escnn], check=True)
    # --all, because torch and TensorFlow declare setuptools, which freeze leaves out.
    freeze = [*pip, "freeze", "--all"]
    return subprocess.run(freeze, check=True, capture_output=True, text=True).stdout


def main() -> int:
    """Write requirements.lock and return the exit code."""
    parser = argparse.ArgumentParser(description="Rewrite requirements.lock.")
    parser.add_argument("--upgrade", action="store_true", help="forget the old pins")
    upgrade: bool = parser.parse_args().upgrade
    keep = LOCK.exists() and not upgrade
    requirements = direct_requirements(ROOT / "pyproject.toml")
    with tempfile.TemporaryDirectory(prefix="mobileq-lock-") as scratch:
        constraints = Path(scratch) / "constraints.txt"
        constraints.write_text(LOCK.read_text(encoding="utf-8") if keep else "")
        frozen = resolve(Path(scratch) / "venv", requirements, constraints)
    pins = pins_of(frozen)
    for name in sorted(FORBIDDEN.keys() & pins.keys()):
        print(f"make_lock: {name} came in, but it {FORBIDDEN[name]}", file=sys.stderr)
        return 1
    lines = [
        f"{name}=={version}\n"
        for name, version in sorted(pins.items())
        if not NOT_LOCKED.fullmatch(name)
    ]
    partial = LOCK.with_suffix(".lock.partial")
    partial.write_text(HEADER + "".join(lines), encoding="utf-8")
    os.replace(partial, LOCK)
    print(f"{LOCK.name}: {len(lines)} packages")
    return 0


if __name__ == "__main__":
    sys.exit(main())
