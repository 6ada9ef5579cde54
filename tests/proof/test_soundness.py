"""Certificates of real files against the runtimes: proven is what holds, no more.

Networks of every group in both formats, with integers of two recipes and hostile ones;
files with one number changed at random, which must then be run if anything is proven.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mobileq.collapse.collapse import collapse
from mobileq.deploy.quantize import quantize
from mobileq.errors import BundleError
from mobileq.graph.graph import Graph
from mobileq.passes.pipeline import PREPARE, run_pipeline
from mobileq.proof import Certificate, Motion, prove
from mobileq.proof.motions import CHECKED, QUARTER_TURN
from mobileq.proof.program import Convolve
from mobileq.quant.spec import QuantSpec
from mobileq.recipe import load_recipe
from mobileq.verify.runner import Runner
from mobileq.verify.symmetry import asymmetry
from mobileq_onnx import qdq_writer
from support.adversarial import adversarial_images
from support.certified import FORMATS, SIZE, certify, files_of, small
from support.exactness import changed_by_motions, runner_of_file
from support.faults import Editor, editor, nudge, ulp
from support.images import random_pixels, symmetries_of
from support.networks import GROUPS, random_network
from support.programs import compose, run
from support.random_integers import hostile_spec
from support.symmetric_programs import Symmetric

KERNEL = {"tflite": "tflite reference", "onnx": "onnx uint8"}
RECIPES = ("dfq", "dfq-per-tensor")
SMALL = ("C4", "D4", "C12")

seeds = st.integers(0, 2**32 - 1)


@cache
def _prepared(group: str, seed: int) -> Graph:
    """A random network of a group, BatchNorm folded and orbits snapped."""
    network, shape = random_network(seed, groups=(group,))
    return run_pipeline(collapse(network, shape).graph, PREPARE)[-1].graph


def _known(motions: tuple[tuple[int, bool], ...]) -> set[Motion]:
    """(quarter turns, mirrored) as motions, of inverses the one that is checked."""
    every = {Motion(mirrored, turns) for turns, mirrored in motions}
    return every & set(CHECKED)


def _require_closed(certificate: Certificate) -> None:
    """What is proven one after the other is proven at once."""
    proven = certificate.proof.proven
    motions = {Motion(False, 0), *proven, *(m.inverse for m in proven)}
    assert {compose(a, b) for a, b in product(motions, motions)} == motions


def _require_exactly(group: str, graph: Graph, spec: QuantSpec) -> None:
    """Every format proves what the group's name says, neither less nor more."""
    assert (asymmetry(graph) is None) == bool(symmetries_of(group))
    files = [*files_of(graph, spec).items()]
    signed = qdq_writer.write_int8(graph, spec, activation_type="int8")
    for kind, data in (*files, ("onnx", signed)):
        certificate = certify(kind, data)
        proven = set(certificate.proof.proven)
        assert proven == _known(symmetries_of(group)), certificate.proof.breaks
        assert certificate.covers(symmetries_of(group))
        assert certificate.whole_image
        _require_closed(certificate)


@pytest.mark.parametrize("group", GROUPS)
def test_the_exact_subgroup_is_proven(group: str) -> None:
    """One network of each group, per channel and per tensor, and hostile integers."""
    graph = _prepared(group, GROUPS.index(group))
    for recipe in RECIPES:
        made = quantize(graph, load_recipe(recipe))
        _require_exactly(group, made.graph, made.spec)
        per_channel = load_recipe(recipe).per_channel
        hostile = hostile_spec(made.graph, 1, per_channel=per_channel)
        _require_exactly(group, made.graph, hostile)


@pytest.mark.slow
@settings(max_examples=10)
@given(seed=st.integers(0, 10_000), group=st.sampled_from(GROUPS))
def test_the_exact_subgroup_of_other_networks_is_proven(seed: int, group: str) -> None:
    """The same for networks that nobody chose."""
    made = quantize(_prepared(group, seed), load_recipe(RECIPES[seed % 2]))
    _require_exactly(group, made.graph, made.spec)


def _change(changed: Editor, names: dict[str, str], seed: int) -> None:
    """Change one stored number, anywhere in a file."""
    rng = np.random.default_rng(seed)
    layers = ("stem", "expand", "depthwise", "project", "head", "mean", "logits")
    numbers = ("weight", "bias", "weight scale", "bias scale", "weight zero point")
    places = [*product(layers, numbers), ("mask", "mask"), ("stem", "border")]
    places += [(name, "zero point") for name in (*layers, "add", "orbit")]
    if "cap" in names:
        places.append(("cap", "bound"))
    node, what = places[int(rng.integers(len(places)))]
    shape = changed.get(names[node], what).shape
    index = tuple(int(rng.integers(extent)) for extent in shape)
    if what.endswith("scale"):
        ulp(changed, names[node], what, index[0])
    else:
        nudge(changed, names[node], what, index)


def _runner(kind: str, data: bytes) -> Runner | None:
    """A runner; None if the runtime refuses the file."""
    try:
        return runner_of_file(KERNEL[kind], data, 1)
    except BundleError:
        return None


@settings(max_examples=40)
@given(seed=seeds, group=st.sampled_from(SMALL), kind=st.sampled_from(FORMATS))
def test_what_is_proven_of_a_changed_file_holds(
    seed: int, group: str, kind: str
) -> None:
    """Any number of any layer: no proof, or no byte of an output changes."""
    made = small(group, per_channel=bool(seed % 2))
    changed = editor(kind, made.files[kind])
    _change(changed, made.names, seed)
    data = changed.data()
    certificate = certify(kind, data)
    _require_closed(certificate)
    runner = _runner(kind, data)
    if certificate.proof.proven and runner is not None:
        noise = random_pixels(8, (3, SIZE, SIZE), seed)
        images = np.concatenate([noise, adversarial_images(SIZE)[::8]])
        motions = [(m.turns, m.mirrored) for m in certificate.proof.proven]
        assert not changed_by_motions(runner, images, motions)


def test_changed_files_are_of_both_kinds() -> None:
    """The test above sees proofs that break and proofs that do not."""
    made, found = small("C4"), []
    for seed in range(40):
        changed = editor("tflite", made.files["tflite"])
        _change(changed, made.names, seed)
        found.append(QUARTER_TURN in certify("tflite", changed.data()).proof.proven)
    # A quarter of the places are behind the orbit, or zero points between layers.
    assert 4 < sum(found) < 20


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("group", SMALL)
def test_the_order_of_hidden_channels_does_not_matter(group: str, kind: str) -> None:
    """Channels of an inverted residual listed otherwise, in all that reads them."""
    made = small(group)
    names = made.names
    changed = editor(kind, made.files[kind])
    rows = [names["expand"], names["depthwise"]]
    order = np.random.default_rng(3).permutation(
        len(changed.get(names["expand"], "bias"))
    )
    for layer in rows:
        for what in ("weight", "bias", "weight scale", "bias scale"):
            changed.put(layer, what, changed.get(layer, what)[order])
        capped = layer.removesuffix(".uncapped")
        if capped != layer:
            changed.put(capped, "bound", changed.get(capped, "bound")[order])
    columns = changed.get(names["project"], "weight")
    changed.put(names["project"], "weight", columns[:, order])
    data = changed.data()
    assert data != made.files[kind]
    before = certify(kind, made.files[kind]).to_dict()
    after = certify(kind, data).to_dict()
    assert {**after, "sha256": ""} == {**before, "sha256": ""}


@settings(max_examples=40)
@given(seed=seeds, group=st.sampled_from(["C2", "C4", "D1", "D4"]))
def test_copies_and_dead_channels_do_not_confuse(seed: int, group: str) -> None:
    """An orbit of zeros, one that is a copy of another, one of channels all alike."""
    made = Symmetric(seed, group, 5)
    made.convolve(4)
    layer, action = made.last, made.actions[made.last.name]
    assert isinstance(layer, Convolve)
    weight = layer.weight.copy()
    numbers = {name: values.copy() for name, values in layer.per_channel.items()}
    orbits = sorted(
        {tuple(sorted(s[c] for s in action.values())) for c in range(len(weight))}
    )
    dead, original, copy, alike = (int(orbit[0]) for orbit in orbits)
    symmetric = sum(motion(weight[alike]) for motion in made.group)
    for source in action.values():
        weight[source[dead]] = 0
        weight[source[copy]] = weight[source[original]]
        weight[source[alike]] = symmetric
        for values in numbers.values():
            values[source[copy]] = values[source[original]]
    made.operators[-1] = replace(layer, weight=weight, per_channel=numbers)
    made.depthwise()
    made.pointwise()
    made.convolve(2, windows=made.windows(largest=1))
    made.orbit_max()
    made.maximum_of_all()
    program = made.program()
    proven = prove(program).proven
    assert set(made.group) & set(CHECKED) <= set(proven)
    image = np.random.default_rng(seed).integers(0, 50, (2, 5, 5))
    for motion in proven:
        moved = run(program, np.ascontiguousarray(motion(image)))
        assert np.array_equal(moved, run(program, image)), str(motion)
