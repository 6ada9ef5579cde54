"""Operators that would fool a proof that believed them: refused, with the reason."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from ai_edge_litert import schema_py_generated as schema
from onnx import TensorProto, helper, numpy_helper

from mobileq.errors import InputError
from mobileq.proof import Break, Certificate
from support.certified import certify, small
from support.faults import OnnxEditor, edited, editor


def _broken(certificate: Certificate) -> Break:
    """Where the quarter turn breaks."""
    assert certificate.first_break is not None
    return certificate.first_break


def _appended(kind: str, above: str | None) -> Any:
    """A change that appends an operator, with a new output, behind a tensor."""

    def change(model: Any, graph: Any) -> None:
        code, operator = schema.OperatorCodeT(), schema.OperatorT()
        code.builtinCode = getattr(schema.BuiltinOperator, kind)
        code.deprecatedBuiltinCode = min(code.builtinCode, 127)
        model.operatorCodes.append(code)
        operator.opcodeIndex = len(model.operatorCodes) - 1
        names = [tensor.name.decode() for tensor in graph.tensors]
        inputs = [] if above is None else [names.index(above)]
        made = schema.TensorT()
        made.name, made.type = b"appended", schema.TensorType.INT8
        made.shape = np.array([1, 2], np.int32)
        made.quantization = schema.QuantizationParametersT()
        made.quantization.scale = np.array([1 / 256], np.float32)
        made.quantization.zeroPoint = np.array([-128], np.int64)
        graph.tensors.append(made)
        operator.inputs = np.array(inputs, np.int32)
        operator.outputs = graph.outputs = np.array([len(names)], np.int32)
        graph.operators.append(operator)

    return change


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("LOG_SOFTMAX", "no rule says that it commutes with moving the image"),
        ("SOFTMAX", "it reads channels that take each other's places"),
    ],
)
def test_unknown_operators_behind_the_pool_do_no_harm(kind: str, reason: str) -> None:
    """Softmax of logits that do not change does not change; of an orbit it would."""
    names = small("C4").names
    behind = certify(
        "tflite", edited(small("C4").files["tflite"], _appended(kind, names["logits"]))
    )
    assert behind.group == "C4"
    broken = _broken(
        certify(
            "tflite",
            edited(small("C4").files["tflite"], _appended(kind, names["head"])),
        )
    )
    assert (broken.operator, broken.kind, broken.reason) == ("appended", kind, reason)


@pytest.mark.parametrize("kind", ["RANDOM_UNIFORM", "VAR_HANDLE", "CUSTOM"])
@pytest.mark.parametrize("above", ["logits", None])
def test_what_may_remember_or_throw_dice_is_refused(
    kind: str, above: str | None
) -> None:
    """Equal inputs are no guarantee of equal results there, pooled or not."""
    broken = _broken(
        certify("tflite", edited(small("C4").files["tflite"], _appended(kind, above)))
    )
    assert (broken.operator, broken.kind) == ("appended", kind)


IMAGE = ("in", TensorProto.UINT8, [1, 1, 3, 3])


def _onnx(
    nodes: list[onnx.NodeProto],
    constants: dict[str, Any] | None = None,
    *,
    shape: list[int] | None = None,
    image: tuple[str, int, list[int]] = IMAGE,
    **more: Any,
) -> bytes:
    """A file of a few operators from `in` to `out`; `real` is the image as floats."""
    cast = helper.make_node("Cast", ["in"], ["real"], to=TensorProto.FLOAT)
    initializers = [
        numpy_helper.from_array(np.asarray(value), name)
        for name, value in (constants or {}).items()
    ]
    graph = helper.make_graph(
        [cast, *nodes],
        "graph",
        [helper.make_tensor_value_info(*image)],
        [
            helper.make_tensor_value_info(
                "out", TensorProto.FLOAT, shape or [1, 1, 3, 3]
            )
        ],
        initializers,
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("odd", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8, **more)
    return bytes(model.SerializeToString())


def test_bodies_that_read_what_is_not_among_their_inputs_are_refused() -> None:
    """An If without inputs returns the image, in any position."""
    bodies = {
        f"{name}_branch": helper.make_graph(
            [helper.make_node("Identity", ["real"], [name])],
            name,
            [],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 1, 3, 3])],
        )
        for name in ("then", "else")
    }
    node = helper.make_node("If", ["yes"], ["out"], **bodies)
    assert _broken(certify("onnx", _onnx([node], {"yes": True}))).kind == "If"


@pytest.mark.parametrize(
    "node",
    [
        helper.make_node("RandomNormal", [], ["out"], shape=[1, 1, 3, 3]),
        helper.make_node("Anything", ["real"], ["out"], domain="odd"),
        helper.make_node("Anything", [], ["out"], domain="odd"),
    ],
    ids=["random", "custom", "custom without inputs"],
)
def test_random_and_custom_operators_are_refused(node: onnx.NodeProto) -> None:
    """Nothing is known of them, whatever they read."""
    assert _broken(certify("onnx", _onnx([node]))).operator == "out"


def test_operators_that_a_file_defines_itself_are_refused() -> None:
    """A function may have the name of an operator of ONNX."""
    body = [helper.make_node("Identity", ["a"], ["b"])]
    opsets = [helper.make_opsetid("", 17)]
    function = helper.make_function("", "Relu", ["a"], ["b"], body, opsets)
    node = helper.make_node("Relu", ["real"], ["out"])
    with pytest.raises(InputError, match="defines the operator 'Relu' itself"):
        certify("onnx", _onnx([node], functions=[function]))


def _outside(name: str) -> onnx.TensorProto:
    """A tensor whose nine floats lie in `secret.bin`."""
    tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=[1, 1, 3, 3])
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="secret.bin")
    return tensor


@pytest.mark.parametrize("where", ["initializer", "attribute", "body"])
def test_weights_outside_are_refused(
    where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever a file names another one, that is there and would fit: not opened."""
    monkeypatch.chdir(tmp_path)
    Path("secret.bin").write_bytes(bytes(36))
    constant = helper.make_node("Constant", [], ["c"], value=_outside("c"))
    add = helper.make_node("Add", ["real", "c"], ["out"])
    nodes = [constant, add]
    if where == "body":
        info = helper.make_tensor_value_info("c", TensorProto.FLOAT, [1, 1, 3, 3])
        body = helper.make_graph([constant], "body", [], [info])
        both = {"then_branch": body, "else_branch": body}
        nodes = [helper.make_node("If", ["yes"], ["out"], **both)]
    if where == "initializer":
        nodes = [add]
    model = onnx.load_model_from_string(_onnx(nodes, {"yes": True}))
    if where == "initializer":
        model.graph.initializer.append(_outside("c"))
    with pytest.raises(InputError, match="keeps 'c' in another file"):
        certify("onnx", model.SerializeToString())


@pytest.mark.parametrize(
    ("attributes", "reason"),
    [
        ({"strides": [0, 0]}, "wanted at least 1"),
        ({"dilations": [1, -1]}, "wanted at least 1"),
        ({"pads": [2**40] * 4}, "too large"),
        ({"auto_pad": "SAME_UPPER"}, "pads by rule"),
        ({"ceil_mode": 1}, "kernel"),
    ],
)
def test_windows_that_make_no_sense(attributes: dict[str, Any], reason: str) -> None:
    """No division by zero, no memory, no silent guess."""
    node = helper.make_node(
        "MaxPool", ["real"], ["out"], kernel_shape=[3, 3], **attributes
    )
    try:
        broken = _broken(certify("onnx", _onnx([node])))
    except InputError:  # ONNX's own checks may come first.
        return
    assert reason in broken.reason


@pytest.mark.parametrize(
    "attributes",
    [
        {"pads": [0, 1, 0, 1]},
        {"dilations": [1, 2]},
        {"ceil_mode": 1},
        {"auto_pad": "SAME_LOWER"},
        {"strides": [0, 1]},
    ],
    ids=str,
)
def test_maxima_over_reshaped_axes_are_plain_or_refused(
    attributes: dict[str, Any],
) -> None:
    """The trick for an orbit's maximum counts only if it is nothing but that."""
    made = OnnxEditor(small("C4").files["onnx"])
    reshaped = {n.output[0] for n in made.model.graph.node if n.op_type == "Reshape"}
    (pool,) = (
        n
        for n in made.model.graph.node
        if reshaped & set(n.input) and n.op_type == "MaxPool"
    )
    assert certify("onnx", made.data()).group == "C4"
    kept = [a for a in pool.attribute if a.name not in attributes]
    added = [helper.make_attribute(key, value) for key, value in attributes.items()]
    del pool.attribute[:]
    pool.attribute.extend([*kept, *added])
    try:
        certificate = certify("onnx", made.data())
    except InputError:  # ONNX's own checks may come first.
        return
    assert certificate.group == "C1"


def test_wide_weights_and_biases_are_refused() -> None:
    """No kernel multiplies 32-bit weights in integers."""
    made = small("C4")
    changed = OnnxEditor(made.files["onnx"])
    for what in ("integers", "zero"):
        constant = changed.constants[f"{made.names['expand']}/weight/{what}"]
        values = numpy_helper.to_array(constant).astype(np.int32)
        constant.CopyFrom(numpy_helper.from_array(values, constant.name))
    broken = _broken(certify("onnx", changed.data()))
    assert broken.operator == changed.operator(made.names["expand"])
    assert "weights are int32; wanted 8 bits" in broken.reason


def test_zero_points_beyond_the_type_are_refused() -> None:
    """Bounds of sums rest on values of 8 bits."""
    made = small("C4")
    changed = editor("tflite", made.files["tflite"])
    changed.put(made.names["stem"], "zero point", np.array([10_000]))
    broken = _broken(certify("tflite", changed.data()))
    assert broken.operator == made.names["stem"]
    assert "zero point 10000; wanted -128 to 127" in broken.reason
