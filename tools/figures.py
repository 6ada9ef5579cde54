"""Draw the figures of the documentation, from the shipped networks.

    python tools/figures.py [DIRECTORY]        # by default docs/figures

Equal networks and packages give equal files. `make figures` runs it; a test does, too.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from mobileq.bench.circle import angles_of
from mobileq.bundle import Bundle
from mobileq.cli.app import app
from mobileq.collapsed import load_collapsed
from mobileq.data.synthetic import synthetic_tissue
from mobileq.data.transforms import center_crop
from mobileq.deploy import export_checkpoint
from mobileq.graph.nodes import Conv
from mobileq.recipe import load_recipe
from mobileq_tflite.runner import TfliteRunner

EQUIVARIANT, CONVENTIONAL = "pcam-equivariant", "pcam-conventional"
NETWORKS = (EQUIVARIANT, CONVENTIONAL)
DIRECTORY = Path(__file__).resolve().parents[1] / "docs" / "figures"
ORDER = 4
"""Elements of C_4, the group of the equivariant one."""

SIZE = 95
"""Side of the shipped networks' images, pixels."""

Pixels = NDArray[np.uint8]


def save(figure: Figure, path: Path) -> None:
    """Write a figure as SVG without date and version."""
    nobody = {"Date": None, "Creator": None}
    figure.savefig(path, format="svg", metadata=nobody, bbox_inches="tight")


def orbits(bundle: Bundle, path: Path) -> None:
    """Filters of the first layer after collapsing: each field is one filter, turned."""
    content = bundle.read("network.collapsed.safetensors")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "network.collapsed.safetensors"
        file.write_bytes(content)
        graph = load_collapsed(file).graph
    first = next(node for node in graph.nodes if isinstance(node, Conv))
    filters = first.weight.mean(1)  # (channels, height, width)
    fields = filters.reshape(-1, ORDER, *filters.shape[1:])
    shown = fields[np.argsort(-np.abs(fields).max((1, 2, 3)))[:3]]
    figure = Figure(figsize=(5.2, 3.9))
    for row, field in enumerate(shown):
        limit = np.abs(field).max()
        for column, one in enumerate(field):
            axes = figure.add_subplot(len(shown), ORDER, row * ORDER + column + 1)
            axes.imshow(one, cmap="RdBu_r", vmin=-limit, vmax=limit)
            axes.set_xticks([])
            axes.set_yticks([])
            if row == 0:
                axes.set_title(f"turned by {90 * column}°", fontsize=9)
            if column == 0:
                axes.set_ylabel(f"field {row + 1}", fontsize=9)
    save(figure, path)


def turned(bundles: Sequence[Bundle], path: Path) -> None:
    """One patch, turned; what the INT8 files of both networks answer."""
    patch = center_crop(synthetic_tissue(1, seed=3).read(np.arange(1)), SIZE)
    turns = [np.rot90(patch, turn, (1, 2)) for turn in range(4)]
    images = np.ascontiguousarray(np.concatenate(turns))
    answers = [answer(bundle, images) for bundle in bundles]
    figure = Figure(figsize=(7.2, 2.5))
    for column, image in enumerate(images):
        axes = figure.add_subplot(1, 4, column + 1)
        axes.imshow(image)
        axes.set_axis_off()
        lines = [
            f"{name.removeprefix('pcam-')}: {found[column, 0]} {found[column, 1]}"
            for name, found in zip(NETWORKS, answers, strict=True)
        ]
        axes.set_title(f"{90 * column}°", fontsize=9)
        axes.text(
            0.5,
            -0.06,
            "\n".join(lines),
            fontsize=7.5,
            ha="center",
            va="top",
            transform=axes.transAxes,
        )
    save(figure, path)


def answer(bundle: Bundle, images: Pixels) -> NDArray[np.int64]:
    """What the INT8 file returns for images (N, H, W, 3): integers (N, 2)."""
    runner = TfliteRunner(bundle.read("model.int8.tflite"), kernels="xnnpack")
    return np.asarray(runner.outputs(images)).astype(np.int64)


def circle(bundles: Sequence[Bundle], path: Path) -> None:
    """Error by angle, as `mobileq equivariance --plot` draws it."""
    names = [str(bundle.path) for bundle in bundles]
    step = angles_of(15)[1]
    options = [f"--step={step}", "--images=64", f"--plot={path}", "--overwrite"]
    app(["equivariance", *names, *options], standalone_mode=False)


def main() -> None:
    """Draw all of them."""
    out = Path(sys.argv[1]) if len(sys.argv) > 1 else DIRECTORY
    out.mkdir(parents=True, exist_ok=True)
    mpl.rcdefaults()
    mpl.rcParams.update({"svg.hashsalt": "mobileq", "svg.fonttype": "none"})
    with tempfile.TemporaryDirectory() as folder:
        bundles = [
            export_checkpoint(name, Path(folder) / f"{name}.mobileq")
            for name in NETWORKS
        ]
        orbits(bundles[0], out / "orbits.svg")
        turned(bundles, out / "turned.svg")
        circle(bundles, out / "circle.svg")
        per_tensor = export_checkpoint(
            CONVENTIONAL,
            Path(folder) / "explained.mobileq",
            recipe=load_recipe("dfq-per-tensor"),
            explain=True,
        )
        (out / "ranges.svg").write_bytes(per_tensor.read("explain.svg"))
    print("\n".join(str(path) for path in sorted(out.glob("*.svg"))))


if __name__ == "__main__":
    main()
