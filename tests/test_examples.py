"""The examples do what they say, run as a user runs them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from mobileq.bundle import open_bundle
from mobileq.deploy.verifying import verify_bundle

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["own_network", "segmentation", "c8_classifier", "wide_residual"]
)
def test_an_example_makes_a_bundle_that_verifies(name: str, tmp_path: Path) -> None:
    """escnn networks of the usual kinds: every rung holds again, and C_4 is proven."""
    out = tmp_path / f"{name}.mobileq"
    command = [sys.executable, str(EXAMPLES / f"{name}.py"), str(out)]
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    found = verify_bundle(out)
    assert all(found.reproduced.values())
    groups = {
        n: c["group"] for n, c in open_bundle(out).manifest["certificates"].items()
    }
    assert groups == {"model.int8.onnx": "C4", "model.int8.tflite": "C4"}
