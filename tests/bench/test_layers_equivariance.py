"""Equivariance, tensor by tensor: what holds, and which layer breaks it."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from rich.console import Console
from scipy.ndimage import gaussian_filter

from mobileq.bench.layer_report import ROUNDING, LayerErrors, TensorError
from mobileq.bench.layers import Pair, layer_errors
from mobileq.collapse.collapse import collapse
from mobileq.deploy.quantize import Quantized, quantize
from mobileq.errors import InputError
from mobileq.graph.fields import FieldBlocks
from mobileq.graph.graph import Graph
from mobileq.graph.nodes import Conv
from mobileq.models.build import build_model
from mobileq.models.spec import CONVENTIONAL, ModelSpec
from mobileq.passes.pipeline import PREPARE, run_pipeline
from mobileq.quant.simulate import SimulatorRunner
from mobileq.quant.spec import QuantSpec
from mobileq.recipe import Recipe
from mobileq.verify.graph_runner import GraphRunner
from mobileq_tflite.int8_writer import write_int8
from mobileq_tflite.runner import TfliteRunner
from support.images import normalized, random_pixels
from support.networks import GROUPS, random_network, randomize_norms


def quantized(network: torch.nn.Module, shape: tuple[int, int, int]) -> Quantized:
    """A network in integers, by the default recipe."""
    prepared = run_pipeline(collapse(network, shape).graph, PREPARE)
    return quantize(prepared[-1].graph, Recipe())


def pair_of(made: Quantized) -> Pair:
    """Both representations; the integers by the simulator."""
    return pair(made.graph, made.spec)


def pair(graph: Graph, spec: QuantSpec) -> Pair:
    """A graph and integers."""
    integers = SimulatorRunner(graph, spec)
    return Pair(graph, GraphRunner(graph, "float"), integers, spec.activations)


@cache
def mobilenet(group: str) -> Quantized:
    """A narrow MobileNetV2 with random weights and fitting statistics."""
    torch.manual_seed(1)
    model = build_model(ModelSpec(group=group, width=0.1, input_size=31))
    randomize_norms(model, normalized(random_pixels(8, (3, 31, 31), 5)))
    return quantized(model, (3, 31, 31))


def smooth(count: int, size: int, seed: int) -> NDArray[np.uint8]:
    """Images without detail, for which interpolation loses little."""
    noise = np.random.default_rng(seed).normal(size=(count, size, size, 3))
    soft = gaussian_filter(noise, (0, size / 10, size / 10, 0))
    return np.clip(128 + 60 * soft / soft.std(), 0, 255).astype(np.uint8)


@settings(max_examples=5)
@given(seed=st.integers(0, 10_000))
def test_the_exact_subgroup_changes_no_integer(seed: int) -> None:
    """In no tensor of any kind of network; floats follow it up to rounding."""
    groups = [group for group in GROUPS if group != CONVENTIONAL]
    network, shape = random_network(seed, groups=groups)
    made = quantized(network, shape)
    found = layer_errors(pair_of(made), random_pixels(2, shape, seed))
    assert [t.name for t in found.tensors] == [n.name for n in made.graph.nodes]
    assert found.group == network.group
    assert found.motions == made.graph.input.fields.motions != ()
    assert found.first_changed is None
    assert found.first_inexact is None
    known = [t for t in found.tensors if t.changed_values is not None]
    assert len(known) >= 5
    assert all((t.changed_values, t.changed_images) == (0, 0) for t in known)
    # Rounding of float32 sums, as the constant says.
    assert all(0 <= (t.float_exact or 0) < ROUNDING for t in found.tensors)
    image = found.tensors[0]
    assert image.sqnr_db == np.inf
    # Eight bits of a tensor that fills its range are worth 40 dB; of a few, 0 is left.
    assert all(t.sqnr_db > 0 for t in found.tensors)


def test_the_deployed_file_and_the_simulator_agree() -> None:
    """TFLite's reference kernels give the same figures to the last digit."""
    made = mobilenet("C12")
    images = random_pixels(2, (3, 31, 31), 3)
    file = TfliteRunner(write_int8(made.graph, made.spec), kernels="reference")
    deployed = replace(pair_of(made), integers=file)
    assert layer_errors(deployed, images) == layer_errors(pair_of(made), images)


def test_a_changed_integer_weight_is_named() -> None:
    """Whichever convolution it is in, that one is the first that breaks."""
    made = mobilenet("C4")
    images = random_pixels(2, (3, 31, 31), 3)
    convs = [node for node in made.graph.nodes if isinstance(node, Conv)]
    for node in (convs[0], convs[len(convs) // 2], convs[-3]):
        layer = made.spec.layers[node.name]
        weight = layer.weight.copy()
        place = np.unravel_index(weight.argmax(), weight.shape)
        weight[place] = -127
        layers = {**made.spec.layers, node.name: replace(layer, weight=weight)}
        found = layer_errors(
            pair(made.graph, QuantSpec(made.spec.activations, layers)), images
        )
        assert found.first_changed is not None
        assert found.first_changed.name == node.name
        assert found.first_changed.changed_images
        assert found.first_inexact is None
        (line,) = found.lines()
        assert line.startswith(f"INT8: a quarter turn is broken first in {node.name} (")


def test_a_changed_float_weight_is_named() -> None:
    """The float network is measured by itself."""
    made = mobilenet("C4")
    node = next(n for n in made.graph.nodes if isinstance(n, Conv) and n.depthwise)
    weight = node.weight.copy()
    weight[1] *= -1
    broken = made.graph.replaced({node.name: replace(node, weight=weight)})
    floats = GraphRunner(broken, "float")
    both = replace(pair_of(made), floats=floats)
    found = layer_errors(both, random_pixels(2, (3, 31, 31), 3))
    assert found.first_changed is None
    assert found.first_inexact is not None
    assert found.first_inexact.name == node.name
    first, second = found.lines()
    assert first.startswith(f"Float: a quarter turn is broken first in {node.name} (")
    assert second == "INT8: a quarter turn changes no value of any tensor."


@pytest.mark.parametrize("group", ["C8", "C12"])
def test_the_smallest_rotation_turns_features_as_the_group_says(group: str) -> None:
    """Of all orders of the channels, the group's own leaves the smallest error."""
    made = mobilenet(group)
    images = smooth(3, 31, 7)
    node = next(n for n in made.graph.nodes if isinstance(n, Conv))
    count = int(group[1:])
    assert node.fields.step is not None
    errors, step = [], np.arange(node.fields.channels)
    for _ in range(count):
        fields = FieldBlocks(
            group, node.fields.block, node.fields.generators, step=step
        )
        changed = made.graph.replaced({node.name: replace(node, fields=fields)})
        found = layer_errors(replace(pair_of(made), graph=changed), images)
        assert found.degrees == 360 / count
        tensor = next(t for t in found.tensors if t.name == node.name)
        assert tensor.float_step is not None
        assert tensor.int8_step is not None
        # INT8 adds noise of about 1 %.
        assert tensor.int8_step == pytest.approx(tensor.float_step, abs=0.05)
        errors.append(tensor.float_step)
        step = step[node.fields.step]
    assert int(np.argmin(errors)) == 1
    assert errors[1] < 0.7 * np.delete(errors, 1).min() or errors[1] < 0.1


def test_a_turned_image_differs_from_itself_by_rounding() -> None:
    """Pixels are turned as features are, to whole grey levels."""
    found = layer_errors(pair_of(mobilenet("C12")), smooth(3, 31, 7))
    image = found.tensors[0]
    assert image.float_step is not None
    # Half a grey level at most, of images whose deviation from grey is about 60.
    assert 0 < image.float_step < 0.5 / 60
    # The integers are the pixels; normalized ones are rounded to float32.
    assert image.int8_step == pytest.approx(image.float_step, rel=1e-4)


def test_without_a_group_there_is_nothing_to_say() -> None:
    """A conventional network promises nothing, and nothing is claimed of it."""
    found = layer_errors(
        pair_of(mobilenet(CONVENTIONAL)), random_pixels(1, (3, 31, 31), 3)
    )
    assert (found.motions, found.degrees) == ((), None)
    assert all(t.changed_values is None for t in found.tensors)
    assert (found.steepest, found.most_added) == (None, None)
    assert found.lines() == ("C1 has no rotation that maps pixels to pixels.",)


def test_images_must_be_square() -> None:
    """One clear error."""
    with pytest.raises(InputError, match="at least one image"):
        layer_errors(pair_of(mobilenet("C4")), np.zeros((1, 31, 30, 3), np.uint8))


def tensor_of(
    name: str, inputs: tuple[str, ...], floats: float | None, int8: float | None
) -> TensorError:
    """A tensor with given errors under the smallest rotation."""
    return TensorError(name, "Conv", (1,), inputs, 20, 0, 0, 0, floats, int8)


def errors_of(*tensors: TensorError) -> LayerErrors:
    """What was found in a C12 network."""
    return LayerErrors("net", "C12", 2, ((1, False),), 30.0, tensors)


@given(
    first=st.floats(0, 1),
    second=st.floats(0, 1),
    rise=st.floats(0.01, 1),
    more=st.floats(0.5, 1),
)
def test_the_steepest_rise_is_over_the_worst_input(
    first: float, second: float, rise: float, more: float
) -> None:
    """At a sum both inputs count, and a tensor without figures is passed over."""
    worst = max(first, second)
    found = errors_of(
        tensor_of("x", (), 0, 0),
        tensor_of("a", ("x",), first, first),
        tensor_of("b", ("x",), second, second),
        tensor_of("unknown", ("a",), None, None),
        tensor_of("sum", ("a", "b"), worst + rise + more, worst + rise),
    )
    wanted = max((first, "a"), (second, "b"), (rise, "sum"), key=lambda pair: pair[0])
    assert found.steepest is not None
    # Rises that are equal but for rounding may be ordered either way.
    assert found.rise(found.steepest) == pytest.approx(wanted[0])
    assert found.rise(found.tensors[3]) is None
    assert found.lines()[-1].endswith("; INT8 is nowhere above float.")


def test_figures_are_told_in_tables_lines_and_json() -> None:
    """Nothing is cut on 80 columns, and brackets in a name are no markup."""
    found = errors_of(
        replace(tensor_of("image", (), 0.0, 0.0), sqnr_db=np.inf),
        tensor_of("blocks.16.branch.depthwise[bold]", ("image",), 0.25, 0.5),
        tensor_of("last", ("image",), 0.5, 0.625),
    )
    console = Console(width=80, no_color=True)
    with console.capture() as capture:
        console.print(found.table())
    text = capture.get()
    assert "…" not in text
    row = "blocks.16.branch.depthwise[bold] 20.0 0e+00 0 0.250 0.500"
    assert row.split() in [line.split() for line in text.splitlines()]
    assert found.lines() == (
        "INT8: a quarter turn changes no value of any tensor.",
        "At 30 degrees the error rises most in last (INT8 0.625, float 0.500); INT8 is "
        "furthest above float in blocks.16.branch.depthwise[bold] (0.500 against "
        "0.250).",
    )
    values = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert (values["steepest"], values["first_changed"]) == ("last", None)
    assert values["tensors"][0]["sqnr_db"] is None
    assert values["tensors"][1]["rise"] == 0.5
