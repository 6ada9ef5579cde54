"""The pipeline as a whole."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mobileq.collapse.collapse import collapse
from mobileq.errors import GraphError, SymmetryError, UnsupportedError
from mobileq.graph.fields import trivial_fields
from mobileq.graph.graph import Graph
from mobileq.graph.interpret import outputs
from mobileq.graph.nodes import BatchNorm, Conv, Input
from mobileq.graph.spec import Stage, check
from mobileq.passes.pipeline import DEPLOY, PREPARE, Step, recipe_steps, run_pipeline
from mobileq.recipe import Recipe
from support.handmade import random_conv
from support.hostile import hostile_graph, logits_moved
from support.networks import normalized, random_network, random_pixels

ONES = np.ones(3)
IMAGE = Input("image", (), (3, 5, 5), trivial_fields(3))


def _fails(graph: Graph) -> Graph:
    """A pass that cannot do its work."""
    raise UnsupportedError(f"{graph.output}: too much")


@settings(max_examples=8)
@given(seed=st.integers(0, 10_000))
def test_every_stage_computes_the_same(seed: int) -> None:
    """From the collapsed graph to the deployable one, on random networks."""
    network, shape = random_network(seed)
    stages = run_pipeline(collapse(network, shape).graph)
    assert [s.name for s in stages] == ["collapsed", *(step.name for step in DEPLOY)]
    assert stages[-1].stage is Stage.DEPLOYABLE
    images = normalized(random_pixels(2, shape, seed)).numpy()
    first = outputs(stages[0].graph, images)
    for stage in stages:
        check(stage.graph, stage.stage)
        # float32 sums in another order, and weights snapped by some 1e-7.
        bound = 1e-4 * np.abs(first).max()
        assert np.abs(outputs(stage.graph, images) - first).max() <= bound, stage.name


PASSES = ("cap-relu6", "equalize", "absorb", "balance")


@settings(max_examples=6)
@given(seed=st.integers(0, 10_000), passes=st.permutations(PASSES))
def test_every_order_of_passes_keeps_what_it_claims(
    seed: int, passes: list[str]
) -> None:
    """Stages that say so compute the same as the one before; all of them are legal."""
    recipe = Recipe(passes=(*passes, "correct-bias"))
    steps = recipe_steps(recipe)
    assert [s.name for s in steps[-2:]] == ["caps merged", "deployable"]
    stages = run_pipeline(hostile_graph(seed), steps, name="fused")
    assert stages[0].name == "fused"
    for before, after in itertools.pairwise(stages):
        check(after.graph, after.stage)
        assert after.preserves == (after.name != "absorbed")
        if after.preserves:
            # As tests/passes/test_equalize.py says.
            assert logits_moved(after.graph, before.graph) < 1e-5, after.name


def test_a_recipe_without_passes_only_finishes() -> None:
    """Nothing is done to the network but what writers need."""
    steps = recipe_steps(Recipe(passes=()))
    assert [step.name for step in steps] == ["deployable"]
    steps = recipe_steps(Recipe(passes=("replace-relu6", "correct-bias")))
    assert [step.name for step in steps] == ["ReLU6 replaced", "deployable"]
    assert not steps[0].preserves


def test_an_error_names_the_stages_before_it() -> None:
    """A pass that fails says what had been done."""
    broken = Step("broken", _fails, Stage.FOLDED, Stage.FOLDED)
    norm = BatchNorm("n", ("image",), ONES, ONES, ONES, ONES, 1e-5)
    with pytest.raises(
        UnsupportedError, match=r"\(stages before: collapsed, folded\)$"
    ):
        run_pipeline(Graph((IMAGE, norm), "n"), (PREPARE[0], broken))


def test_a_later_error_names_more_stages() -> None:
    """The error keeps its type and its own message in front."""
    network, shape = random_network(2, groups=["C4"])
    graph = collapse(network, shape).graph
    first = next(n for n in graph.nodes if isinstance(n, Conv))
    weight = np.array(first.weight)
    weight[0] *= 2
    broken = graph.replaced({first.name: replace(first, weight=weight)})
    wanted = r"^Conv .* breaks the symmetry of C4 .*\(stages before: collapsed, folded"
    with pytest.raises(SymmetryError, match=wanted):
        run_pipeline(broken)


def test_illegal_graphs_are_refused_before_the_first_pass() -> None:
    """NaN weights are found at once."""
    conv = random_conv(np.random.default_rng(0), "a", "image", (3, 3, 1, 1))
    broken = replace(conv, bias=np.full(3, np.nan))
    with pytest.raises(GraphError, match=r"^Conv 'a': bias holds NaN or infinity"):
        run_pipeline(Graph((IMAGE, broken), "a"))


def test_steps_can_be_chosen() -> None:
    """Without steps only the collapsed graph is returned."""
    conv = random_conv(np.random.default_rng(0), "a", "image", (3, 3, 1, 1))
    graph = Graph((IMAGE, conv), "a")
    (only,) = run_pipeline(graph, ())
    assert only.graph is graph
