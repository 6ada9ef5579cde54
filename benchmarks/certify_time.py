"""How long a certificate takes at width 1.0, in a fresh process and inside one.

usage: python benchmarks/certify_time.py [--groups C12 D4]

Networks with random weights, one stride reduced: a proof compares the same integers as
for trained ones. Prints, for each integer file, the wall seconds of `mobileq certify`
as a whole process (best of 5), and processor seconds of reading and proving alone.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from mobileq.certify import certify
from mobileq.collapse.collapse import collapse
from mobileq.deploy import deploy
from mobileq.models.build import build_model
from mobileq.models.spec import ModelSpec

REPEATS = 5


def files_of(group: str) -> dict[str, bytes]:
    """Integer files of a random network of width 1.0."""
    torch.manual_seed(0)
    spec = ModelSpec(group=group, width=1.0, reduced_strides=1)
    size = spec.input_size
    made = deploy(collapse(build_model(spec).eval(), (3, size, size)))
    return {name: data for name, data in made.files.items() if ".int8." in name}


def whole_process(path: Path) -> float:
    """Wall seconds of the command, the best of some."""
    command = [sys.executable, "-m", "mobileq.cli.app", "certify", str(path)]
    found = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
        found.append(time.perf_counter() - start)
    return min(found)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--groups", nargs="+", default=["C12", "D4"])
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as directory:
        for group in options.groups:
            for name, data in files_of(group).items():
                path = Path(directory) / name
                path.write_bytes(data)
                start = time.process_time()
                found = certify(data, name)
                alone = time.process_time() - start
                print(
                    f"{group} width 1.0, {name}: {found.group} proven, "
                    f"{found.proof.numbers:,} integers; `mobileq certify` "
                    f"{whole_process(path):.2f} s, proof alone {alone:.2f} s"
                )


if __name__ == "__main__":
    main()
