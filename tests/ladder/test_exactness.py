"""The shipped symmetric networks: turning an image changes no bit, on any kernel.

No tolerance anywhere: bytes are compared. Kernels that take ten times longer than
others see every image too, but not in every position (`test_slow_kernels_...`).
"""

from __future__ import annotations

import io
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from mobileq.bench.equivariance import Motion, moved
from mobileq.checkpoint import load_checkpoint, shipped_checkpoints
from mobileq.collapse.collapse import collapse
from mobileq.data.transforms import center_crop
from mobileq.deploy.quantize import Quantized, quantize
from mobileq.graph.graph import Graph
from mobileq.models.spec import CONVENTIONAL
from mobileq.passes.pipeline import PREPARE, run_pipeline
from mobileq.recipe import load_recipe
from mobileq.verify.symmetry import asymmetry
from support.adversarial import adversarial_images
from support.exactness import (
    KERNELS,
    changed,
    changed_by_motions,
    elements,
    require_exact,
    runner_of,
    spun,
)
from support.images import symmetries_of

PATCHES, CALIBRATION = 500, 32
RECIPES = ("dfq", "dfq-per-tensor", "calibrated")
SYMMETRIC = tuple(
    name
    for name in shipped_checkpoints()
    if load_checkpoint(name).spec.group != CONVENTIONAL
)
SMALL_WIDTH = 0.5
CASES = tuple(
    (name, recipe)
    for name in SYMMETRIC
    for recipe in RECIPES
    # One recipe for a network that takes four times as long; all layers are the same.
    if recipe == RECIPES[0] or load_checkpoint(name).spec.width <= SMALL_WIDTH
)
FAST = (
    ("tflite xnnpack", 1),
    ("tflite xnnpack", 2),
    ("tflite builtin", 1),
    ("onnx uint8", 1),
    ("onnx uint8", 2),
)


@cache
def _read(pack: Path, count: int, first: int) -> NDArray[np.uint8]:
    """(count, 96, 96, 3) patches of a pack, evenly spaced from number `first`."""
    from PIL import Image

    data = np.load(pack)
    jpeg, offsets = data["jpeg"], data["offsets"]
    rows = np.linspace(first, len(offsets) - 2, count).astype(np.int64)
    files = (jpeg[offsets[row] : offsets[row + 1]].tobytes() for row in rows)
    return np.stack([np.asarray(Image.open(io.BytesIO(file))) for file in files])


@pytest.fixture(scope="module")
def packs(shared_data: Path) -> Path:
    """Directory of the packs of patches."""
    return shared_data / "data" / "pcam_ai4all"


@cache
def _prepared(name: str) -> Graph:
    """A checkpoint with BatchNorm folded and orbits snapped."""
    checkpoint = load_checkpoint(name)
    spec = checkpoint.spec
    shape = (spec.in_channels, spec.input_size, spec.input_size)
    return run_pipeline(collapse(checkpoint.build(), shape).graph, PREPARE)[-1].graph


@cache
def _quantized(name: str, recipe: str, packs: Path) -> Quantized:
    """Its integers, calibrated (where a recipe wants that) on other patches."""
    graph = _prepared(name)
    pixels = _read(packs / "train_jpeg.npz", CALIBRATION, 0)
    return quantize(
        graph,
        load_recipe(recipe),
        calibration=center_crop(pixels, graph.input.shape[1]),
    )


def _motions(name: str) -> tuple[Motion, ...]:
    """All elements of the exact subgroup; what the graph says is what the name says."""
    graph = _prepared(name)
    assert asymmetry(graph) is None
    found = elements(graph.input.fields.motions)
    assert set(found[1:]) == set(symmetries_of(load_checkpoint(name).spec.group))
    return found


def _images(name: str, packs: Path) -> NDArray[np.uint8]:
    """Adversarial images, then patches: a quarter of them for a large network."""
    size = _prepared(name).input.shape[1]
    large = load_checkpoint(name).spec.width > SMALL_WIDTH
    count = PATCHES // 4 if large else PATCHES
    patches = center_crop(_read(packs / "valid_jpeg.npz", count, 0), size)
    return np.concatenate([adversarial_images(size), patches])


def test_a_network_with_symmetry_is_shipped() -> None:
    """The tests below are about something."""
    assert SYMMETRIC


@pytest.mark.slow
@pytest.mark.parametrize(("kernel", "threads"), FAST)
@pytest.mark.parametrize(("name", "recipe"), CASES)
def test_no_motion_of_any_image_changes_a_bit(
    name: str, recipe: str, kernel: str, threads: int, packs: Path
) -> None:
    """Adversarial images and 500 (125) patches under every element of the group."""
    made = _quantized(name, recipe, packs)
    images, motions = _images(name, packs), _motions(name)
    require_exact(kernel, made.graph, made.spec, images, motions, threads=threads)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "recipe"), CASES)
def test_slow_kernels_agree_on_copies_in_other_positions(
    name: str, recipe: str, packs: Path
) -> None:
    """The reference kernels and the simulator compute one function, which is exact.

    Each image goes once through each of them, and the simulator sees it one element of
    the group further. Adversarial images go through the reference kernels everywhere.
    """
    made = _quantized(name, recipe, packs)
    images, motions = _images(name, packs), _motions(name)
    reference = runner_of("tflite reference", made.graph, made.spec)
    simulator = runner_of("simulator", made.graph, made.spec)
    wanted = reference.outputs(spun(images, motions))
    further = spun(images, motions, start=1)
    # A few at a time: the simulator is fastest where tensors stay in the cache.
    parts = np.array_split(further, len(further) // 4)
    found = np.concatenate([simulator.outputs(part) for part in parts])
    assert not changed(found, wanted).size
    hard = adversarial_images(images.shape[1])
    assert not changed_by_motions(reference, hard, motions)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "recipe"), CASES)
def test_slow_threads_agree_on_copies_in_other_positions(
    name: str, recipe: str, packs: Path
) -> None:
    """Two threads give for a moved image what one gives for the image elsewhere.

    TFLite's built-in kernels get every sixteenth image: two threads on one core spend a
    hundred times longer in waiting than in work. How they share the work depends on
    shapes alone, which are the same for all images.
    """
    made = _quantized(name, recipe, packs)
    images, motions = _images(name, packs), _motions(name)
    for kernel, every in (("onnx int8", 1), ("tflite builtin", 16)):
        some = images[::every]
        one, two = (runner_of(kernel, made.graph, made.spec, n) for n in (1, 2))
        wanted = one.outputs(spun(some, motions))
        found = two.outputs(spun(some, motions, start=1))
        assert not changed(found, wanted).size, kernel
    hard = adversarial_images(images.shape[1])
    require_exact("onnx int8", made.graph, made.spec, hard, motions)


@pytest.mark.slow
@pytest.mark.parametrize("name", SYMMETRIC)
def test_reference_kernels_know_no_threads(name: str, packs: Path) -> None:
    """One thread stands for two: bytes are the same on some images of every kind."""
    made = _quantized(name, "dfq", packs)
    images = _images(name, packs)[::24]
    one, two = (runner_of("tflite reference", made.graph, made.spec, n) for n in (1, 2))
    assert not changed(one.outputs(images), two.outputs(images)).size


@pytest.mark.slow
@pytest.mark.parametrize("what", ["weight", "bias"])
@pytest.mark.parametrize("name", SYMMETRIC)
def test_one_unit_of_one_integer_shows(name: str, what: str, packs: Path) -> None:
    """A weight or a bias of the first layer off by one: outputs change by motions."""
    made = _quantized(name, "dfq", packs)
    images, motions = _images(name, packs)[:200], _motions(name)
    first, layer = next(iter(made.spec.layers.items()))
    values = getattr(layer, what).copy()
    values.flat[0] += -1 if values.flat[0] > 0 else 1
    layers = {**made.spec.layers, first: replace(layer, **{what: values})}
    spec = replace(made.spec, layers=layers)
    runner = runner_of("tflite xnnpack", made.graph, spec)
    found = changed_by_motions(runner, images, motions)
    assert set(found) == set(motions[1:])
    # A weight changed 109 of 200, a bias 67; a tenth is far from chance.
    assert min(map(len, found.values())) > len(images) / 10


@pytest.mark.slow
@pytest.mark.parametrize("kernel", KERNELS)
def test_the_conventional_network_changes(kernel: str, packs: Path) -> None:
    """All of this can fail: on every kernel, most turned patches give other bytes."""
    made = _quantized("pcam-conventional", "dfq", packs)
    patches = _images("pcam-conventional", packs)[-16:]
    runner = runner_of(kernel, made.graph, made.spec)
    wanted = runner.outputs(patches)
    for turns in (1, 2, 3):
        found = runner.outputs(moved(patches, (turns, False)))
        # 99 % on the test split; half of 16 leaves room for chance.
        assert len(changed(found, wanted)) > len(patches) / 2
