"""The runner: names, layouts, timing, and files that are none."""

from __future__ import annotations

import numpy as np
import pytest

from mobileq.errors import BundleError
from mobileq.graph.nodes import Padding
from mobileq_tflite.flatfile import unpack
from mobileq_tflite.int8_writer import write_int8
from mobileq_tflite.layout import borders
from mobileq_tflite.quiet import quiet_stderr
from mobileq_tflite.runner import Kernels, TfliteRunner, observable
from support.handmade import handmade_graph, handmade_spec, random_pixels

ALL: tuple[Kernels, ...] = ("xnnpack", "builtin", "reference")


@pytest.fixture(scope="module")
def file() -> bytes:
    """An INT8 file."""
    graph = handmade_graph()
    return write_int8(graph, handmade_spec(graph))


@pytest.mark.parametrize("kernels", ALL)
def test_watching_tensors_does_not_change_the_output(
    file: bytes, kernels: Kernels
) -> None:
    """The copy with all tensors as outputs computes the same logits."""
    runner = TfliteRunner(file, kernels=kernels)
    graph = handmade_graph()
    pixels = random_pixels(graph, 3)
    tensors = runner.tensors(pixels)
    assert np.array_equal(tensors["logits"], runner.outputs(pixels))
    assert {name: values.shape[1:] for name, values in tensors.items()} == graph.shapes
    assert all(values.dtype == np.int8 for values in tensors.values())


@pytest.mark.parametrize("kernels", ALL)
def test_two_threads_compute_what_one_does(file: bytes, kernels: Kernels) -> None:
    """Integer sums do not depend on their order."""
    pixels = random_pixels(handmade_graph(), 3)
    one = TfliteRunner(file, kernels=kernels).outputs(pixels)
    two = TfliteRunner(file, kernels=kernels, threads=2).outputs(pixels)
    assert np.array_equal(one, two)


def test_names_tell_kernels_and_threads(file: bytes) -> None:
    """The name is what a report shows."""
    assert (
        TfliteRunner(file, kernels="xnnpack").name == "tflite int8, xnnpack, 1 thread"
    )
    runner = TfliteRunner(file, kernels="builtin", threads=2)
    assert runner.name == "tflite int8, builtin, 2 threads"
    assert runner.integer


@pytest.mark.parametrize("kernels", ALL)
def test_timed_runs_are_repeatable(file: bytes, kernels: Kernels) -> None:
    """An inference leaves its input in place, so it can be run again and again."""
    runner = TfliteRunner(file, kernels=kernels)
    first, second = random_pixels(handmade_graph(), 2)[:, None]
    wanted = runner.outputs(first)
    runner.outputs(second)
    once = runner.timed(first)
    for _ in range(3):
        once()
    output = runner._interpreter.get_output_details()[0]["index"]
    # The file itself returns uint8.
    found = runner._interpreter.get_tensor(output).astype(int) - 128
    assert np.array_equal(found, wanted)


def test_copies_of_a_file_keep_its_constants(file: bytes) -> None:
    """Unpacking and packing loses no buffer."""
    before, after = unpack(file), unpack(observable(file))
    assert [b.data for b in before.buffers] == [b.data for b in after.buffers]


@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.999])
def test_a_truncated_file_is_one_line(file: bytes, share: float) -> None:
    """Any cut is found when the file is loaded."""
    with pytest.raises(BundleError) as caught:
        TfliteRunner(file[: int(len(file) * share)], kernels="xnnpack")
    assert "TFLite file" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 an archive", b"\x00" * 4096])
def test_a_foreign_file_is_refused(content: bytes) -> None:
    """What is not TFLite at all is said to be so."""
    with pytest.raises(BundleError, match="not a TFLite file"):
        TfliteRunner(content, kernels="reference")


def test_images_of_another_size_are_refused(file: bytes) -> None:
    """The message names both sizes."""
    runner = TfliteRunner(file, kernels="reference")
    with pytest.raises(BundleError, match=r"\(8, 9, 3\).*\(9, 9, 3\)"):
        runner.outputs(np.zeros((1, 8, 9, 3), np.uint8))


def test_loading_is_quiet(file: bytes, capfd: pytest.CaptureFixture[str]) -> None:
    """LiteRT's notes about delegates do not reach the user."""
    TfliteRunner(file, kernels="xnnpack")
    assert capfd.readouterr().err == ""


def test_quiet_blocks_show_their_output_on_errors(
    capfd: pytest.CaptureFixture[str],
) -> None:
    """What a library said before it failed is not lost."""
    import os

    def fail() -> None:
        with quiet_stderr():
            os.write(2, b"the reason\n")
            raise ValueError

    with pytest.raises(ValueError, match=r"^$"):
        fail()
    assert capfd.readouterr().err == "the reason\n"


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "padding", "kind", "explicit"),
    [
        (9, 3, 1, Padding.even(1), "SAME", Padding()),
        (9, 3, 2, Padding.even(1), "SAME", Padding()),
        (9, 3, 2, Padding(), "VALID", Padding()),
        (10, 3, 2, Padding.even(1), "VALID", Padding(1, 0, 1, 0)),
        (10, 3, 2, Padding(0, 1, 0, 1), "SAME", Padding()),
        (9, 3, 1, Padding.even(2), "VALID", Padding.even(2)),
        (9, 1, 1, Padding(), "VALID", Padding()),
        (9, 9, 1, Padding(), "VALID", Padding()),
    ],
)
def test_borders_sample_the_same_points(
    size: int, kernel: int, stride: int, padding: Padding, kind: str, explicit: Padding
) -> None:
    """SAME where TensorFlow's rule gives our points, VALID after a PAD elsewhere."""
    found = borders((1, size, size), (kernel, kernel), stride, padding)
    assert (found.kind, found.explicit) == (kind, explicit)
