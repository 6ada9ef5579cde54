"""The shipped networks go the whole way, on real tissue."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from mobileq.bundle import Bundle
from mobileq.checkpoint import load_checkpoint, shipped_checkpoints
from mobileq.collapse.collapse import collapse
from mobileq.data.pcam import open_pcam
from mobileq.data.transforms import center_crop
from mobileq.deploy import export_checkpoint
from mobileq_onnx.runner import OnnxRunner
from mobileq_tflite.runner import TfliteRunner

NAMES = ("pcam-equivariant", "pcam-conventional")


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Bundle]:
    """Both networks, exported with the default recipe."""
    folder = tmp_path_factory.mktemp("bundles")
    return {name: export_checkpoint(name, folder / f"{name}.mobileq") for name in NAMES}


@pytest.fixture(scope="module")
def patches(pcam_dir: Path) -> NDArray[np.uint8]:
    """192 real patches, 95x95, from all three splits."""
    parts = []
    for split in ("train", "valid", "test"):
        found = open_pcam(pcam_dir, split)  # type: ignore[arg-type]
        parts.append(found.read(np.arange(len(found))))
    return center_crop(np.concatenate(parts), 95)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_shipped_networks_keep_their_predictions(
    name: str, bundles: dict[str, Bundle], patches: NDArray[np.uint8]
) -> None:
    """INT8 agrees with float on real patches, in TFLite and in ONNX Runtime."""
    bundle = bundles[name]
    wanted = TfliteRunner(bundle.read("model.float.tflite"), kernels="xnnpack")
    prediction = wanted.outputs(patches).argmax(1)
    for runner in (
        TfliteRunner(bundle.read("model.int8.tflite"), kernels="xnnpack"),
        OnnxRunner(bundle.read("model.int8.onnx")),
    ):
        agreed = (runner.outputs(patches).argmax(1) == prediction).mean()
        # About 99 of 100 agree on the whole test split; 192 patches scatter by 1.5 %.
        assert agreed > 0.95, runner.name


@pytest.mark.slow
def test_turning_real_patches_changes_no_bit(
    bundles: dict[str, Bundle], patches: NDArray[np.uint8]
) -> None:
    """All quarter turns, all kernels: not one integer differs."""
    bundle = bundles["pcam-equivariant"]
    file = bundle.read("model.int8.tflite")
    runners = [
        TfliteRunner(file, kernels="xnnpack"),
        TfliteRunner(file, kernels="xnnpack", threads=2),
        TfliteRunner(file, kernels="builtin"),
        OnnxRunner(bundle.read("model.int8.onnx")),
    ]
    for runner in runners:
        wanted = runner.outputs(patches)
        for turns in (1, 2, 3):
            turned = np.ascontiguousarray(np.rot90(patches, turns, axes=(1, 2)))
            np.testing.assert_array_equal(
                runner.outputs(turned), wanted, err_msg=runner.name
            )


@pytest.mark.slow
def test_turning_changes_the_conventional_network(
    bundles: dict[str, Bundle], patches: NDArray[np.uint8]
) -> None:
    """The check above can fail: it does for the twin."""
    runner = TfliteRunner(
        bundles["pcam-conventional"].read("model.int8.tflite"), kernels="xnnpack"
    )
    turned = np.ascontiguousarray(np.rot90(patches, 1, axes=(1, 2)))
    assert (runner.outputs(turned) != runner.outputs(patches)).any(axis=1).mean() > 0.5


def test_twins_have_the_same_multiply_adds() -> None:
    """All convolutions cost the same; only the small classifier differs."""
    costs, classifiers = [], []
    for name in NAMES:
        checkpoint = load_checkpoint(name)
        size = checkpoint.spec.input_size
        graph = collapse(checkpoint.build(), (3, size, size)).graph
        classifier = graph.shapes["flatten"][0] * checkpoint.spec.num_classes
        costs.append(graph.multiply_adds - classifier)
        classifiers.append(classifier)
    assert costs[0] == costs[1]
    # The twin's classifier reads every channel, ours one per orbit: 0.01 % of the sum.
    assert max(classifiers) < 2e-4 * costs[0]


@pytest.mark.parametrize("name", shipped_checkpoints())
def test_every_shipped_checkpoint_has_a_card(name: str) -> None:
    """Command, data and scores are beside the weights, and agree with them."""
    path = shipped_checkpoints()[name]
    card = path.with_suffix(".md").read_text(encoding="utf-8")
    test = load_checkpoint(name).training["test"]
    assert "mobileq train --data" in card
    assert f"{test['accuracy']:.4f}" in card
    assert f"{test['auc']:.4f}" in card
    assert "not comparable" in card
