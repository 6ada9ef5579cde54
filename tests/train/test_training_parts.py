"""Settings, Ctrl-C, predictions and the cost of a network."""

from __future__ import annotations

import json
import signal
import threading
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from mobileq.data.transforms import center_crop, normalize
from mobileq.errors import InputError
from mobileq.models.build import build_model
from mobileq.models.spec import ModelSpec
from mobileq.train.config import TrainConfig
from mobileq.train.cost import network_cost
from mobileq.train.evaluate import predict
from mobileq.train.interrupt import held_interrupt
from support.small_runs import SPEC, noise


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("epochs", 0),
        ("batch_size", 1),
        ("learning_rate", 0.0),
        ("learning_rate", 11.0),
        ("learning_rate", float("nan")),
        ("weight_decay", -0.1),
        ("warmup", 0.0),
        ("warmup", 1.0),
        ("label_smoothing", 1.0),
        ("stain_jitter", -0.1),
        ("average", 1.0),
        ("seed", -1),
        ("seed", 2**32),
        ("precision", "fp16"),
        ("device", "tpu"),
    ],
)
def test_impossible_settings(name: str, value: float | str) -> None:
    """A value out of its range is refused in a line that names it."""
    with pytest.raises(InputError, match=f"^{name} is .*{value}.*; wanted"):
        TrainConfig(**{name: value})


def test_settings_as_json() -> None:
    """Settings survive JSON, in which a checkpoint keeps them."""
    config = TrainConfig(seed=3, symmetries=False)
    assert TrainConfig(**json.loads(json.dumps(config.to_dict()))) == config


def press(times: int, seen: list[bool]) -> None:
    """Press Ctrl-C in a block that holds it back, noting what was reached."""
    with held_interrupt() as interrupt:
        seen.append(interrupt.requested)
        for _ in range(times):
            signal.raise_signal(signal.SIGINT)
            seen.append(interrupt.requested)


@pytest.mark.parametrize("times", [1, 2])
def test_ctrl_c(times: int) -> None:
    """The first Ctrl-C acts at the end of the block, a second one at once."""
    before = signal.getsignal(signal.SIGINT)
    seen: list[bool] = []
    with pytest.raises(KeyboardInterrupt):
        press(times, seen)
    # The second press never comes back to note anything.
    assert seen == [False, True]
    assert signal.getsignal(signal.SIGINT) is before


def test_other_threads_hold_nothing_back() -> None:
    """Outside the main thread, where no handler may be set, the block just runs."""
    seen = []

    def work() -> None:
        with held_interrupt() as interrupt:
            seen.append(interrupt.requested)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [False]


def test_predictions_do_not_depend_on_the_batch() -> None:
    """Logits are those of the network in evaluation mode, whatever the batch size."""
    model = build_model(SPEC).train()
    patches = noise(10, seed=0)
    with torch.no_grad():
        images = torch.from_numpy(normalize(center_crop(patches.images, 15)))
        wanted = model.eval()(images).numpy()
    model.train()
    for batch_size in (3, 128):
        logits = predict(model, patches, input_size=15, batch_size=batch_size)
        assert logits.dtype == np.float32
        # Other batches and layouts sum in another order; logits are of order one.
        np.testing.assert_allclose(logits, wanted, rtol=1e-4, atol=1e-4)
    assert model.training


def test_bf16_predictions_are_close() -> None:
    """bf16 is another rounding, not another network."""
    model = build_model(SPEC)
    patches = noise(10, seed=0)
    exact = predict(model, patches, input_size=15)
    rough = predict(model, patches, input_size=15, precision="bf16")
    assert rough.dtype == np.float32
    assert not np.array_equal(exact, rough)
    # 2**-8 per layer, some fifty layers, logits of order one.
    np.testing.assert_allclose(rough, exact, atol=0.2)


@pytest.mark.parametrize("group", ["C4", "D2", "conventional"])
def test_cost(group: str) -> None:
    """Multiply-adds are those that torch's own counter finds in the network."""
    spec = replace(SPEC, group=group, channel_multiple=4)
    model = build_model(spec).eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(torch.zeros(1, 3, 15, 15))
    aten = torch.ops.aten
    counts = counter.get_flop_counts()["Global"]
    # One multiply-add is two operations. Expanding the filters (bmm) happens once.
    wanted = (counts[aten.convolution] + counts[aten.addmm]) // 2
    cost = network_cost(spec)
    assert cost.multiply_adds == wanted
    assert cost.parameters == sum(p.numel() for p in model.parameters())


def test_symmetry_costs_no_multiplications() -> None:
    """The twin has the same multiply-adds but for the classifier, and more weights."""
    spec = ModelSpec(group="C4", width=0.1, input_size=63)
    own, twin = network_cost(spec), network_cost(spec.twin())
    # 3/4 of the twin's classifier: orbit pooling leaves a quarter of its inputs.
    assert twin.multiply_adds - own.multiply_adds == 128 * 2 * 3 // 4
    assert twin.parameters > 3 * own.parameters
    assert "multiply-adds per image" in str(own)
