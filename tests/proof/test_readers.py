"""Files of other makers: refused with operator and channel, or proven if true."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mobileq.certify import certify_path
from mobileq.contract import Contract
from mobileq.proof import Break, Certificate, Motion
from support.certified import FORMATS, SIZE, certify, small
from support.faults import editor


def _broken(certificate: Certificate) -> Break:
    """Where the quarter turn breaks."""
    assert certificate.first_break is not None
    return certificate.first_break


def test_a_file_of_tensorflow_hub_is_refused(shared_data: Path) -> None:
    """Its image is even; along the diagonal that is no matter, but weights differ."""
    path = shared_data / "pretrained" / "tf2_mobilenet_v2_1.0_224_ptq.tflite"
    (certificate,) = certify_path(path).values()
    assert certificate.group == "C1"
    assert not certificate.proof.proven
    broken = _broken(certificate)
    assert (broken.kind, broken.position) == ("CONV_2D", 2)
    assert broken.operator.startswith("MobileNetV2/Conv2d_0_0/")
    assert "stride 2 on 224x224 points" in broken.reason
    other = certificate.proof.breaks[Motion(True, 1)]
    assert other.operator == broken.operator
    assert "of channel 10 is 4; wanted -3" in other.reason


@pytest.mark.parametrize("kind", FORMATS)
def test_a_conventional_network_is_refused(kind: str) -> None:
    """At its first layer, with a channel and both numbers."""
    made = small("conventional")
    certificate = certify(kind, made.files[kind])
    assert certificate.group == "C1"
    assert len(certificate.proof.breaks) == 6
    broken = _broken(certificate)
    changed = editor(kind, made.files[kind])
    assert broken.operator == changed.operator(made.names["stem"])
    witness = broken.witness
    assert witness is not None
    weight = changed.get(made.names["stem"], "weight")
    turned = np.rot90(weight, -1, axes=(2, 3))
    place = (
        0,
        *divmod(
            int(np.argmax(weight[witness.channel, 0] != turned[witness.turned, 0])), 3
        ),
    )
    assert (
        witness.parameter
        == f"weight[input channel 0, row {place[1]}, column {place[2]}]"
    )
    assert witness.found == weight[witness.channel, *place]
    assert witness.wanted == turned[witness.turned, *place]


def test_float_files_are_refused() -> None:
    """Sums of real numbers depend on their order, so the last bit may change."""
    from mobileq_onnx.float_writer import write_float

    broken = _broken(certify("onnx", write_float(small("C4").graph)))
    assert broken.kind == "Conv"
    assert "sums of real numbers depend on their order" in broken.reason


@pytest.mark.parametrize("group", ["C4", "conventional"])
@pytest.mark.parametrize("per_channel", [True, False])
def test_files_of_onnx_runtimes_quantizer_are_refused(
    group: str, per_channel: bool, tmp_path: Path
) -> None:
    """A conventional network at a channel; ours where it rounds between reshapes."""
    from onnxruntime.quantization import CalibrationDataReader, quantize_static

    from mobileq_onnx.float_writer import write_float

    class Noise(CalibrationDataReader):
        """Four images."""

        def __init__(self) -> None:
            rng = np.random.default_rng(0)
            images = rng.normal(size=(4, 1, 3, SIZE, SIZE)).astype(np.float32)
            self._images = iter({"input": image} for image in images)

        def get_next(self) -> dict[str, Any] | None:
            """The next one."""
            return next(self._images, None)

    source, target = tmp_path / "float.onnx", tmp_path / "int8.onnx"
    source.write_bytes(write_float(small(group).graph))
    quantize_static(source, target, Noise(), per_channel=per_channel)
    (certificate,) = certify_path(target).values()
    assert certificate.group == "C1"
    broken = _broken(certificate)
    if group == "conventional":
        assert broken.kind == "Conv"
        assert broken.witness is not None
    else:
        assert broken.kind == "Reshape"
        assert "a reshape that mixes pixels and channels" in broken.reason


@pytest.mark.slow
def test_files_of_tensorflows_converter() -> None:
    """A conventional network is refused; our snapped one survives, and is proven.

    Filters that are exact copies of each other are quantized alike by whoever does it.
    The certificate knows nothing of the maker, and running the file agrees with it.
    """
    import tensorflow as tf

    from mobileq_tflite import float_writer
    from mobileq_tflite.quiet import quiet_stderr
    from support.adversarial import adversarial_images
    from support.exactness import changed_by_motions, runner_of_file

    noise = np.random.default_rng(0).normal(size=(4, 1, SIZE, SIZE, 3))

    def converted(group: str) -> bytes:
        graph = small(group).graph
        with quiet_stderr():
            function = tf.function(
                lambda image: float_writer._trace(tf, graph, Contract(), image, {}),
                input_signature=[tf.TensorSpec((1, SIZE, SIZE, 3), tf.float32)],
                autograph=False,
            )
            converter = tf.lite.TFLiteConverter.from_concrete_functions(
                [function.get_concrete_function()], tf.Module()
            )
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
            converter.representative_dataset = lambda: (
                [image.astype(np.float32)] for image in noise
            )
            integers = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
            converter.target_spec.supported_ops = integers
            converter.inference_input_type = tf.uint8
            converter.inference_output_type = tf.int8
            data: bytes = converter.convert()
        return data

    broken = _broken(certify("tflite", float_writer.write_float(small("C4").graph)))
    assert "FLOAT32, and sums of such numbers depend on their order" in broken.reason
    broken = _broken(certify("tflite", converted("conventional")))
    assert broken.kind == "CONV_2D"
    assert broken.witness is not None
    data = converted("C4")
    assert certify("tflite", data).group == "C4"
    runner = runner_of_file("tflite reference", data, 1)
    assert not changed_by_motions(runner, adversarial_images(SIZE), [(1, False)])
