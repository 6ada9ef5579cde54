"""Logistic regression on frozen features, and the photographs that need no labels."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from examples.frozen_features import fit_head, load_head, objective, save_head
from examples.photographs import natural_images, read_images, square
from mobileq.errors import DataError, InputError


def test_the_direction_of_a_separable_problem() -> None:
    """Two clusters far apart along one axis, of different scales and a dead feature."""
    rng = np.random.default_rng(0)
    labels = np.arange(200) % 2
    features = rng.standard_normal((200, 4)) * [1.0, 100.0, 1.0, 0.0]
    features[:, 0] += 12.0 * labels + 5.0
    weight, bias = fit_head(features, labels, l2=1e-3)
    assert (((features @ weight.T + bias).argmax(1)) == labels).all()
    # Standardized, the other features are noise.
    direction = (weight[1] - weight[0]) * features.std(0)
    assert direction[0] > 0
    assert direction[0] ** 2 > 0.98 * (direction**2).sum()
    assert direction[3] == 0


@settings(deadline=None, max_examples=15)
@given(
    seed=st.integers(0, 2**16),
    classes=st.integers(2, 4),
    l2=st.sampled_from([0.0, 0.01, 1.0]),
)
def test_the_gradient_is_that_of_autograd(seed: int, classes: int, l2: float) -> None:
    """Loss and gradient against torch's own cross-entropy in float64."""
    rng = np.random.default_rng(seed)
    features, labels = rng.standard_normal((20, 5)), rng.integers(0, classes, 20)
    flat = rng.standard_normal(classes * 6)
    both = torch.tensor(flat.reshape(classes, 6), requires_grad=True)
    logits = torch.tensor(features) @ both[:, :5].T + both[:, 5]
    wanted = torch.nn.functional.cross_entropy(logits, torch.tensor(labels))
    wanted = wanted + l2 / 2 * (both[:, :5] ** 2).sum()
    wanted.backward()
    loss, gradient = objective(flat, features, np.eye(classes)[labels], l2)
    # float64 on both sides.
    assert loss == pytest.approx(wanted.item(), rel=1e-12)
    assert both.grad is not None
    np.testing.assert_allclose(gradient, both.grad.numpy().ravel(), atol=1e-12)


def test_the_fit_is_a_minimum_in_the_original_features() -> None:
    """With the standardization undone, the gradient of the same loss is zero."""
    rng = np.random.default_rng(1)
    labels = np.repeat([0, 1, 2], 30)
    features = rng.standard_normal((90, 3)) * [1.0, 20.0, 0.1] + labels[:, None]
    weight, bias = fit_head(features, labels, l2=0.05)
    scale = features.std(0)
    whitened = (features - features.mean(0)) / scale
    both = np.column_stack((weight * scale, bias + weight @ features.mean(0)))
    _, gradient = objective(both.ravel(), whitened, np.eye(3)[labels], 0.05)
    # L-BFGS stops at a gradient of 1e-5, or where the loss changes by 2e-9 of itself.
    assert np.abs(gradient).max() < 1e-4


@pytest.mark.parametrize("labels", [[0, 0, 0], [0, 2, 0], [0, 1], []])
def test_labels_that_allow_no_fit_are_refused(labels: list[int]) -> None:
    """One class, a class without images, another number of labels."""
    with pytest.raises(DataError, match="wanted one label for each"):
        fit_head(np.eye(3), np.array(labels, np.int64))


def test_a_head_is_read_as_it_was_written(tmp_path: Path) -> None:
    """To the bit; another file is refused by name."""
    file = tmp_path / "head.npz"
    save_head(file, (np.full((2, 3), 0.1), np.array([1.0, 2.0])))
    weight, bias = load_head(file)
    assert weight.tolist() == [[0.1] * 3] * 2
    assert bias.tolist() == [1.0, 2.0]
    np.savez(file, weight=weight)
    with pytest.raises(DataError, match=r"head\.npz: not a fitted head"):
        load_head(file)


def test_crops_of_photographs_differ_and_can_be_repeated() -> None:
    """The same seed gives the same crops; no two of them are equal."""
    if os.environ.get("CI") != "true":
        pytest.importorskip("skimage")
    images = natural_images(32, 15)
    assert images.shape == (15, 32, 32, 3)
    assert images.dtype == np.uint8
    assert np.array_equal(images, natural_images(32, 15))
    assert len({image.tobytes() for image in images}) == 15
    assert not np.array_equal(images[5:], natural_images(32, 15, seed=1)[5:])


def test_without_scikit_image_the_error_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One line with the command."""
    for module in ("skimage", "skimage.data"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(InputError, match="pip install scikit-image"):
        natural_images(32, 1)


def test_the_central_square_of_a_picture() -> None:
    """What lies outside of it leaves no trace; a constant stays constant."""
    picture = np.full((20, 30, 3), 255, np.uint8)
    picture[:, 5:25] = [10, 20, 30]
    assert (square(picture, 8) == [10, 20, 30]).all()


def test_images_of_ones_own(tmp_path: Path) -> None:
    """A folder of pictures and an array give the same."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (2, 24, 24, 3)).astype(np.uint8)
    np.save(tmp_path / "images.npy", pixels)
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number, image in enumerate(pixels):
        Image.fromarray(image).save(folder / f"{number}.png")
    (folder / "notes.txt").write_text("no picture", encoding="utf-8")
    assert np.array_equal(read_images(folder, 24), pixels)
    assert np.array_equal(read_images(tmp_path / "images.npy", 24), pixels)


def test_images_that_cannot_be_used_are_refused(tmp_path: Path) -> None:
    """Missing, an empty folder, floats: one line that names the path."""
    empty, floats = tmp_path / "empty", tmp_path / "floats.npy"
    empty.mkdir()
    np.save(floats, np.zeros((2, 8, 8, 3)))
    for path in (empty, floats, tmp_path / "missing.npy"):
        with pytest.raises(DataError, match=path.name) as caught:
            read_images(path, 8)
        assert "\n" not in str(caught.value)
