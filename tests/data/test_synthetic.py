"""Synthetic tissue and patches in memory."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from mobileq.data.patches import ArrayPatches, Patches
from mobileq.data.synthetic import CENTRE, synthetic_tissue
from mobileq.errors import DataError


@pytest.fixture(scope="module")
def tissue() -> ArrayPatches:
    """800 patches of 96 px."""
    return synthetic_tissue(800, seed=3)


def auc(scores: NDArray[np.float64], labels: NDArray[np.uint8]) -> float:
    """Return the area under the ROC curve from rank sums (no ties expected)."""
    ranks = np.argsort(np.argsort(scores)) + 1.0
    positive = int(labels.sum())
    above = ranks[labels == 1].sum() - positive * (positive + 1) / 2
    return float(above / (positive * (len(labels) - positive)))


def darkness(tissue: ArrayPatches) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the mean darkness in red, where nuclei stand out: centre and border."""
    dark = 255.0 - tissue.images[..., 0]
    edge = (tissue.size[0] - CENTRE) // 2
    inside = np.zeros(tissue.size, bool)
    inside[edge:-edge, edge:-edge] = True
    return dark[:, inside].mean(1), dark[:, ~inside].mean(1)


def test_the_centre_tells_the_label(tissue: ArrayPatches) -> None:
    """Darkness of the central 32 px separates the classes."""
    centre, _ = darkness(tissue)
    # Measured 0.99; 0.8 is what "learnable by a tiny classifier" needs.
    assert auc(centre, tissue.labels) > 0.8


def test_the_border_does_not_tell_the_label(tissue: ArrayPatches) -> None:
    """The same statistic outside the centre knows nothing of the classes."""
    _, border = darkness(tissue)
    # Chance has a standard deviation of 0.02 over 800 patches; 0.1 is five of them.
    assert abs(auc(border, tissue.labels) - 0.5) < 0.1


def test_tumour_nuclei_surround_normal_patches_too(tissue: ArrayPatches) -> None:
    """The darkest pixels of normal patches lie outside the centre."""
    normal = tissue.images[tissue.labels == 0][..., 0]
    edge = (tissue.size[0] - CENTRE) // 2
    centre = normal[:, edge:-edge, edge:-edge]
    very_dark = np.percentile(tissue.images[tissue.labels == 1][..., 0], 1)
    # Outside has 8 times the area, so an equal density would give a ratio of 9.
    assert (normal < very_dark).sum() > 15 * (centre < very_dark).sum()


def test_the_colours_are_those_of_stained_tissue(tissue: ArrayPatches) -> None:
    """Stroma is pink (red over blue over green), nuclei are blue-purple and darker."""
    pixels = tissue.images.reshape(-1, 3)
    red = pixels[:, 0].astype(int)
    stroma = np.median(pixels[red > 200], axis=0)
    nuclei = np.median(pixels[red < 100], axis=0)
    assert stroma[1] < min(stroma[0], stroma[2])
    assert nuclei[2] > nuclei[0] > nuclei[1]
    assert (nuclei < stroma).all()


@pytest.mark.parametrize(("count", "size"), [(1, 96), (7, 64), (300, 96)])
def test_shape_and_balance(count: int, size: int) -> None:
    """Any count and size gives uint8 patches, half of them tumour."""
    tissue = synthetic_tissue(count, seed=1, size=size)
    assert tissue.images.shape == (count, size, size, 3)
    assert len(tissue) == count
    assert tissue.size == (size, size)
    assert int(tissue.labels.sum()) == count // 2


def test_a_seed_gives_the_same_tissue_again() -> None:
    """Equal seeds agree byte for byte; another seed does not."""
    first, again, other = (synthetic_tissue(5, seed=seed) for seed in (8, 8, 9))
    np.testing.assert_array_equal(first.images, again.images)
    np.testing.assert_array_equal(first.labels, again.labels)
    assert not np.array_equal(first.images, other.images)


@pytest.mark.parametrize(
    ("count", "seed", "size"), [(0, 0, 96), (1, -1, 96), (1, 0, 63)]
)
def test_impossible_requests_are_rejected(count: int, seed: int, size: int) -> None:
    """The message repeats the three values and their bounds."""
    found = rf"count {count}, seed {seed}, size {size}; wanted count >= 1, seed >= 0"
    with pytest.raises(DataError, match=found):
        synthetic_tissue(count, seed=seed, size=size)


def test_array_patches_read_in_any_order(tissue: ArrayPatches) -> None:
    """Reading through the interface gives copies in the order asked for."""
    patches: Patches = tissue
    indices = np.array([5, 2, 5, 0])
    found = patches.read(indices)
    np.testing.assert_array_equal(found, tissue.images[indices])
    assert not np.shares_memory(found, tissue.images)


@pytest.mark.parametrize(
    ("indices", "message"),
    [
        (np.array([0, 800]), r"index 800 is out of range, wanted 0 to 799"),
        (np.array([-1]), r"index -1 is out of range"),
        (np.array([[0]]), r"shape \(1, 1\) .* wanted shape \(B,\) of integers"),
        (np.array([0.5]), r"type float64, wanted shape \(B,\) of integers"),
        (np.array([True]), r"type bool, wanted shape \(B,\) of integers"),
    ],
)
def test_wrong_indices_are_rejected(
    tissue: ArrayPatches, indices: NDArray[np.int64], message: str
) -> None:
    """Negative indices do not wrap around and fractions are not truncated."""
    with pytest.raises(DataError, match=message):
        tissue.read(indices)


@pytest.mark.parametrize(
    ("shape", "labels", "message"),
    [
        ((2, 3, 8, 8), np.zeros(2, np.uint8), r"found shape \(2, 3, 8, 8\) of uint8"),
        (
            (2, 8, 8, 3),
            np.zeros(3, np.uint8),
            r"shape \(3,\) .* wanted \(2,\) of uint8",
        ),
        ((2, 8, 8, 3), np.zeros(2, np.int64), r"type int64, wanted \(2,\) of uint8"),
    ],
)
def test_inconsistent_arrays_are_rejected(
    shape: tuple[int, ...], labels: NDArray[np.uint8], message: str
) -> None:
    """Layout, length and type of both arrays are checked."""
    with pytest.raises(DataError, match=message):
        ArrayPatches(np.zeros(shape, np.uint8), labels)
