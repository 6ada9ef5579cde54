"""Print what the image installs before mobileq itself, so that it lies in layers below.

    python tools/image_requirements.py bench        # what the extra `bench` needs
    python tools/image_requirements.py bench train

Versions come from requirements.lock, as pip's constraints. escnn is left out: it is
installed without what it declares (docs/decisions/0001-lock-file.md).
"""

from __future__ import annotations

import argparse
import tomllib
from pathlib import Path

PYPROJECT = Path(__file__).resolve().parents[1] / "pyproject.toml"


def requirements(pyproject: Path, extras: list[str]) -> list[str]:
    """Requirements of mobileq with some extras, sorted, escnn aside.

    Args:
        pyproject: The project file.
        extras: Names of extras.

    Raises:
        KeyError: there is no such extra.
    """
    project = tomllib.loads(pyproject.read_text(encoding="utf-8"))["project"]
    optional = project["optional-dependencies"]
    asked = set(project["dependencies"]).union(*(optional[one] for one in extras))
    return sorted(one for one in asked if not one.startswith("escnn"))


def main() -> None:
    """Print them, one a line."""
    parser = argparse.ArgumentParser(description="What the image installs first.")
    parser.add_argument("extras", nargs="+", help="such as: bench onnx tflite train")
    extras: list[str] = parser.parse_args().extras
    print("\n".join(requirements(PYPROJECT, extras)))


if __name__ == "__main__":
    main()
