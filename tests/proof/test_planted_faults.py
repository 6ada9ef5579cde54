"""One number of a file is wrong: the proof says which.

The files are small, but have one of everything. Faults go into the file itself, so that
neither the passes nor the writers have a chance to repair them.
"""

from __future__ import annotations

import numpy as np
import pytest

from mobileq.models.masks import circular_mask
from mobileq.proof import Break, Certificate
from support.adversarial import adversarial_images
from support.certified import FORMATS, SIZE, certify, small
from support.exactness import changed, changed_by_motions, elements, runner_of_file
from support.faults import Editor, editor, exchange, nudge, ulp

GROUPS = {"C4": "C4", "D4": "D4", "C12": "C4"}
"""What is proven of the whole file, by the group of the network."""

DENSE = ("stem", "expand", "project", "head")
SHARED = ("tflite", "mean")
"""One filter, bias and scale for all channels, which cannot differ."""

KERNEL = {"tflite": "tflite reference", "onnx": "onnx uint8"}

everywhere = pytest.mark.parametrize("kind", FORMATS)
groups = pytest.mark.parametrize("group", GROUPS)


def _opened(group: str, kind: str) -> tuple[Editor, dict[str, str]]:
    """A file to change, and the names of its nodes."""
    made = small(group)
    return editor(kind, made.files[kind]), made.names


def _broken(kind: str, changed: Editor) -> Break:
    """Where the quarter turn breaks."""
    found = certify(kind, changed.data()).first_break
    assert found is not None
    return found


def _index(shape: tuple[int, ...], seed: int) -> tuple[int, ...]:
    """A random place in an array."""
    rng = np.random.default_rng(seed)
    return tuple(int(rng.integers(extent)) for extent in shape)


@everywhere
@groups
def test_without_a_fault_the_group_is_proven(group: str, kind: str) -> None:
    """What is found below is not there before; writing the file again is no fault."""
    changed, _ = _opened(group, kind)
    assert certify(kind, changed.data()).group == GROUPS[group]


@everywhere
@groups
@pytest.mark.parametrize("layer", [*DENSE, "depthwise", "mean"])
def test_one_weight(group: str, kind: str, layer: str) -> None:
    """Off by one: channel, place in the filter, both numbers."""
    if (kind, layer) == SHARED:
        pytest.skip("one filter for all channels, see the next test")
    changed, names = _opened(group, kind)
    shape = changed.get(names[layer], "weight").shape
    for seed in range(3):
        changed, _ = _opened(group, kind)
        out, into, row, column = _index(shape, seed)
        numbers = nudge(changed, names[layer], "weight", (out, into, row, column))
        broken = _broken(kind, changed)
        place = f"row {row}, column {column}"
        if layer in DENSE:
            place = f"input channel {into}, {place}"
        assert broken.operator == changed.operator(names[layer])
        assert broken.witness is not None
        assert broken.witness.parameter == f"weight[{place}]"
        assert broken.witness.channel == out
        assert (broken.witness.found, broken.witness.wanted) == numbers
        assert broken.witness.differences == 1


@groups
def test_one_weight_of_a_sum_over_the_grid(group: str) -> None:
    """TFLite's masked mean has one filter; either of the pair is named, of any channel.

    Its bias and its scale are those of all channels, so they cannot break a symmetry.
    """
    kind, layer = SHARED
    changed, names = _opened(group, kind)
    shape = changed.get(names[layer], "weight").shape
    assert shape[0] == 1
    # None of them is the middle, which stays where it is.
    for place in ((0, 0, 1, 2), (0, 0, 5, 3), (0, 0, 8, 4)):
        changed, _ = _opened(group, kind)
        numbers = nudge(changed, names[layer], "weight", place)
        broken = _broken(kind, changed)
        assert broken.operator == changed.operator(names[layer])
        assert broken.witness is not None
        assert {broken.witness.found, broken.witness.wanted} == set(numbers)
        marked = np.zeros(shape[2:], bool)
        marked[place[2:]] = True
        pair = np.argwhere(marked | np.rot90(marked, -1)).tolist()
        wanted = [f"weight[row {row}, column {column}]" for row, column in pair]
        assert broken.witness.parameter in wanted
    changed, _ = _opened(group, kind)
    nudge(changed, names[layer], "bias", (0,))
    ulp(changed, names[layer], "weight scale", 0)
    _require_harmless(group, kind, changed)


@everywhere
@groups
@pytest.mark.parametrize("what", ["bias", "weight scale", "bias scale"])
def test_one_number_of_a_channel(group: str, kind: str, what: str) -> None:
    """A bias off by one, a scale by one unit in the last place."""
    _, names = _opened(group, kind)
    for seed, layer in enumerate((*DENSE, "depthwise", "mean")):
        if (kind, layer) == SHARED:
            continue
        changed, _ = _opened(group, kind)
        (channel,) = _index(changed.get(names[layer], what).shape, seed)
        if what == "bias":
            numbers = nudge(changed, names[layer], what, (channel,))
        else:
            numbers = ulp(changed, names[layer], what, channel)
        broken = _broken(kind, changed)
        assert broken.operator == changed.operator(names[layer])
        assert broken.witness is not None
        assert (broken.witness.parameter, broken.witness.channel) == (what, channel)
        assert (broken.witness.found, broken.witness.wanted) == numbers


@everywhere
@groups
@pytest.mark.parametrize("layer", ["stem", "expand", "depthwise", "mean"])
def test_one_weight_zero_point(group: str, kind: str, layer: str) -> None:
    """No kernel has several of them in one layer, so the channel is refused."""
    changed, names = _opened(group, kind)
    zero_points = changed.get(names[layer], "weight zero point")
    (channel,) = _index(zero_points.shape, 5)
    nudge(changed, names[layer], "weight zero point", (channel,))
    broken = _broken(kind, changed)
    assert broken.operator == changed.operator(names[layer])
    assert broken.reason.startswith(
        f"the weight zero point of channel {channel} is 1; wanted 0"
    )


@everywhere
@groups
def test_a_wrong_bias_scale_has_no_meaning(group: str, kind: str) -> None:
    """One that is not the product of the other two, by more than rounding."""
    changed, names = _opened(group, kind)
    values = changed.get(names["head"], "bias scale")
    values[3] *= np.float32(1.001)
    changed.put(names["head"], "bias scale", values)
    broken = _broken(kind, changed)
    assert broken.operator == changed.operator(names["head"])
    assert "the bias scale of channel 3 is" in broken.reason


@everywhere
@groups
def test_an_asymmetric_border(group: str, kind: str) -> None:
    """One row of padding at the bottom instead of the top; mirror images still pass."""
    changed, names = _opened(group, kind)
    assert changed.get(names["stem"], "border").tolist() == [2, 2, 2, 2]
    changed.put(names["stem"], "border", np.array([1, 2, 3, 2]))
    broken = _broken(kind, changed)
    assert broken.operator == changed.operator(names["stem"], "border")
    assert "1 and 3 above and below, 2 and 2 left and right" in broken.reason
    proven = certify(kind, changed.data()).proof.proven
    assert list(map(str, proven)) == ["mirrored left to right"] * (group == "D4")


@everywhere
@groups
def test_an_even_grid(group: str, kind: str) -> None:
    """An image one pixel larger, with its mask: the last column is never looked at."""
    changed, names = _opened(group, kind)
    changed.resize(SIZE + 1)
    changed.put(names["mask"], "mask", circular_mask(SIZE + 1))
    certificate = certify(kind, changed.data())
    assert certificate.group == ("D1" if group == "D4" else "C1")
    broken = certificate.first_break
    assert broken is not None
    assert broken.operator == changed.operator(names["stem"])
    assert "not sampled symmetrically" in broken.reason


@everywhere
@groups
@pytest.mark.parametrize("pixel", [(0, 0), (3, 1), (7, 3)])
def test_one_pixel_of_the_mask(group: str, kind: str, pixel: tuple[int, int]) -> None:
    """It differs from its turned copies; either of the pair is named, with its row."""
    changed, names = _opened(group, kind)
    mask = changed.get(names["mask"], "mask")
    mask[pixel] ^= 1
    changed.put(names["mask"], "mask", mask)
    broken = _broken(kind, changed)
    assert broken.operator == changed.operator(names["mask"])
    assert broken.witness is not None
    differing = np.argwhere(np.rot90(mask, -1) != mask).tolist()
    assert list(pixel) in differing
    assert len(differing) == 2
    places = [f"[row {row}, column {column}]" for row, column in differing]
    assert broken.witness.parameter.endswith(tuple(places))
    assert {broken.witness.found, broken.witness.wanted} == {0, 1}


@everywhere
@groups
def test_two_exchanged_channels(group: str, kind: str) -> None:
    """The layer itself is as symmetric as before; whoever reads it is not.

    Of a depthwise layer the filters are exchanged, but not what they read, so it breaks
    itself.
    """
    changed, names = _opened(group, kind)
    first = int(np.flatnonzero(_blocks(group, "expand") == 1)[0])
    behind = {
        "stem": changed.operator(names["expand"]),
        "expand": changed.operator(names["depthwise"]),
        "depthwise": changed.operator(names["depthwise"]),
        "project": changed.operator(names["add"]),
        # TFLite's maximum lies between reshapes, and goes by the name of the last one.
        "head": names["flat"],
    }
    if kind == "onnx":
        behind["head"] = changed.operator(names["orbit"])
    capped: dict[str, str] = {}
    for layer in ("expand", "head"):
        # Some blocks have different caps: two of those are exchanged.
        if names[layer].endswith(".uncapped"):
            capped[layer] = names[layer].removesuffix(".uncapped")
    for layer, reader in (behind | capped).items():
        changed, _ = _opened(group, kind)
        second = first if len(_blocks(group, layer)) > first else 1
        if layer in capped:
            bounds = changed.get(capped[layer], "bound").ravel()
            second = int(np.flatnonzero(bounds != bounds[0])[0])
        exchange(changed, names[layer], 0, second)
        broken = _broken(kind, changed)
        assert broken.operator == reader, layer
        assert broken.witness is not None
        if layer in ("depthwise", "project"):
            assert broken.witness.channel in (0, second), layer


def _blocks(group: str, layer: str) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """(C,) block of each output channel of a layer."""
    made = small(group)
    return np.asarray(made.graph.fields(made.names[layer]).block)


@pytest.mark.parametrize("group", GROUPS)
def test_the_zero_point_of_a_copy(group: str) -> None:
    """TFLite's maximum copies integers, so they must mean the same on both sides."""
    changed, names = _opened(group, "tflite")
    found, wanted = nudge(changed, names["largest"], "zero point", (0,))
    broken = _broken("tflite", changed)
    assert broken.operator == names["largest"]
    assert broken.kind == "MAX_POOL_2D"
    assert f"zero point {wanted:.0f})" in broken.reason
    assert f"zero point {found:.0f})" in broken.reason


@everywhere
@pytest.mark.parametrize("group", ["C4", "D4"])
def test_the_bound_of_one_channel(group: str, kind: str) -> None:
    """A cap is a minimum with one bound for each channel, equal inside of an orbit."""
    changed, names = _opened(group, kind)
    channel = 5
    numbers = nudge(changed, names["cap"], "bound", (channel,))
    broken = _broken(kind, changed)
    assert broken.operator == changed.operator(names["cap"], "bound")
    assert broken.witness is not None
    assert broken.witness.channel == channel
    assert broken.witness.parameter.startswith(f"constant '{names['cap']}")
    assert (broken.witness.found, broken.witness.wanted) == numbers


def _require_harmless(group: str, kind: str, changed_file: Editor) -> Certificate:
    """Still proven, and really so: no motion changes a byte of any image's output."""
    data = changed_file.data()
    certificate = certify(kind, data)
    assert certificate.group == GROUPS[group]
    images = adversarial_images(SIZE)
    runner = runner_of_file(KERNEL[kind], data, 1)
    motions = elements([(1, False), (0, True)] if group == "D4" else [(1, False)])
    assert not changed_by_motions(runner, images, motions)
    return certificate


@everywhere
@groups
def test_faults_behind_the_orbit_are_harmless(group: str, kind: str) -> None:
    """Nothing moves there any more, so a wrong number is wrong for every turn alike."""
    changed, names = _opened(group, kind)
    nudge(changed, names["logits"], "weight", (1, 0))
    nudge(changed, names["logits"], "bias", (0,))
    ulp(changed, names["logits"], "weight scale", 1)
    _require_harmless(group, kind, changed)


@everywhere
@groups
def test_the_zero_point_of_a_tensor_is_harmless(group: str, kind: str) -> None:
    """It is wrong for all channels and all pixels alike, borders included.

    A border is padded with the zero point, whatever it is, and each layer takes it off
    the values that it reads. So the network computes something else, for every turn of
    the image the same; certificates are about symmetry, not about accuracy.
    """
    before = small(group).files[kind]
    off_by_one, names = _opened(group, kind)
    nudge(off_by_one, names["stem"], "zero point", (0,))
    _require_harmless(group, kind, off_by_one)

    # Off by one, a tensor saturates one step earlier; off by 100, that can be seen.
    far_off, _ = _opened(group, kind)
    zero_point = far_off.get(names["stem"], "zero point")
    far_off.put(names["stem"], "zero point", zero_point + 100)
    _require_harmless(group, kind, far_off)
    images = adversarial_images(SIZE)
    outputs = [
        runner_of_file(KERNEL[kind], data, 1).outputs(images)
        for data in (before, far_off.data())
    ]
    assert changed(*outputs).size
