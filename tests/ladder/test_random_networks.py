"""Random small networks go the whole way, from escnn to the integer files."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mobileq.collapse.collapse import collapse
from mobileq.deploy import Deployment, climb, deploy
from mobileq.recipe import Recipe, load_recipe, shipped_recipes
from mobileq.verify.ladder import Measure, Rung, Tolerances, require
from mobileq.verify.symmetry import asymmetry
from support.networks import random_network, random_pixels

SEEDS = st.integers(0, 10_000)

# A random network has no reason to be quantizable well: ranges come from statistics of
# noise. 0 dB would mean that the error is as large as the signal.
RANDOM_SQNR_DB = 3.0


def _deployed(seed: int, recipe: Recipe) -> tuple[torch.nn.Module, Deployment]:
    """A random network and its files."""
    network, shape = random_network(seed)
    calibration = random_pixels(16, shape, seed + 1)
    model = collapse(network, shape)
    return network, deploy(model, recipe=recipe, calibration=calibration)


def _climbed(seed: int, recipe: Recipe) -> tuple[Deployment, tuple[Rung, ...]]:
    """A random network and its ladder, which does not break."""
    network, made = _deployed(seed, recipe)
    pixels = random_pixels(4, made.graph.input.shape, seed)
    tolerances = Tolerances(sqnr_db=RANDOM_SQNR_DB)
    rungs = climb(network, made, tolerances=tolerances, images=pixels)
    require(rungs)
    # Whoever claims to be exactly symmetric was turned, in integers, bit by bit.
    exact = [r for r in rungs if r.measure == Measure.CHANGED.value]
    assert bool(exact) == (asymmetry(made.graph) is None)
    return made, rungs


@pytest.mark.slow
# The same networks everywhere: a new one may be quantized badly for good reasons.
@settings(max_examples=4, derandomize=True)
@given(seed=SEEDS)
@pytest.mark.parametrize("name", sorted(shipped_recipes()))
def test_every_rung_holds_on_random_networks(name: str, seed: int) -> None:
    """From the trained module to every INT8 kernel, no rung breaks."""
    made, rungs = _climbed(seed, load_recipe(name))
    assert made.quantized is not None
    names = {rung.name for rung in rungs}
    assert {f"INT8: {s.name}" for s in made.quantized.stages} <= names


@pytest.mark.slow
@settings(max_examples=4, derandomize=True)
@given(seed=SEEDS)
@pytest.mark.parametrize(
    "passes",
    [("cap-relu6", "equalize", "absorb", "correct-bias"), ("replace-relu6", "absorb")],
)
def test_passes_that_no_shipped_recipe_uses(passes: tuple[str, ...], seed: int) -> None:
    """They hold all the way down to the files as well."""
    _climbed(seed, Recipe(passes=passes, granularity="per-tensor"))


def test_a_wrong_weight_is_found_and_its_tensor_named() -> None:
    """A file made from another graph breaks its rung at the layer that differs."""
    from dataclasses import replace

    from mobileq.errors import VerificationError
    from mobileq.graph.nodes import Conv
    from mobileq_onnx.float_writer import write_float

    network, made = _deployed(3, Recipe())
    convs = [node for node in made.graph.nodes if isinstance(node, Conv)]
    victim = convs[1]
    wrong = made.graph.replaced({victim.name: replace(victim, bias=victim.bias + 1.0)})
    files = {**made.files, "model.float.onnx": write_float(wrong)}
    pixels = random_pixels(2, made.graph.input.shape, 0)
    rungs = climb(network, replace(made, files=files), images=pixels)
    with pytest.raises(VerificationError, match="onnx float") as caught:
        require(rungs)
    assert repr(victim.name) in str(caught.value)


def test_a_wrong_integer_breaks_the_exact_rung() -> None:
    """One INT8 weight off by one shows against the simulator, which has it right."""
    from dataclasses import replace

    from mobileq.quant.spec import QuantSpec
    from mobileq_tflite.int8_writer import write_int8

    network, made = _deployed(5, Recipe())
    assert made.quantized is not None
    right = made.quantized.spec
    name = next(iter(right.layers))
    layer = right.layers[name]
    weight = layer.weight.copy()
    weight.flat[0] += 1 if weight.flat[0] < 0 else -1
    spec = QuantSpec(
        right.activations,
        {**right.layers, name: replace(layer, weight=weight)},
    )
    files = {**made.files, "model.int8.tflite": write_int8(made.quantized.graph, spec)}
    pixels = random_pixels(8, made.graph.input.shape, 0)
    rungs = climb(network, replace(made, files=files), images=pixels)
    broken = [rung for rung in rungs if not rung.passed]
    # Integer rounding can swallow one unit before the logits; the first layer's own
    # tensor cannot.
    reference = [r for r in broken if "reference" in r.name and r.first_wrong]
    assert reference
    assert reference[0].first_wrong == name
