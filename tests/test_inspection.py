"""What `inspect` says agrees with the runtimes, and survives damaged files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from ai_edge_litert.interpreter import Interpreter
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper

from mobileq.bundle import MANIFEST, open_bundle, write_bundle
from mobileq.checkpoint import load_checkpoint, shipped_checkpoints
from mobileq.errors import BundleError, InputError
from mobileq.facts import FileFacts
from mobileq.inspection import describe, inspect, require_intact
from support.certified import small

KINDS = ("onnx", "tflite")


def test_a_checkpoint() -> None:
    """Architecture, hash, numbers and training are those of the file."""
    name = "pcam-equivariant"
    found, checkpoint = inspect(name), load_checkpoint(name)
    assert found["kind"] == "checkpoint"
    assert found["spec"] == checkpoint.spec.to_dict()
    assert found["sha256"] == checkpoint.sha256
    assert found["bytes"] == shipped_checkpoints()[name].stat().st_size
    total = sum(tensor.numel() for tensor in checkpoint.weights.values())
    assert sum(found["numbers"].values()) == total
    assert found["training"] == checkpoint.training


def test_a_tflite_file_as_its_interpreter_sees_it() -> None:
    """Ends and operators are those that LiteRT finds."""
    data = small("C4").files["tflite"]
    facts = describe(data, "x.tflite")
    interpreter = Interpreter(model_content=data)
    for end, wanted in (
        (facts.inputs[0], interpreter.get_input_details()[0]),
        (facts.outputs[0], interpreter.get_output_details()[0]),
    ):
        assert end.name == wanted["name"]
        assert end.dtype == np.dtype(wanted["dtype"]).name
        assert end.shape == tuple(wanted["shape"])
        # Both come from the same float32 in the file.
        assert (end.scale, end.zero_point) == wanted["quantization"]
    calls = interpreter._get_ops_details()
    names = [call["op_name"] for call in calls if call["op_name"] != "DELEGATE"]
    assert sum(facts.operators.values()) == len(names)
    assert set(facts.operators) == set(names)


def test_an_onnx_file_as_its_runtime_sees_it() -> None:
    """Ends are those that ONNX Runtime finds, operators those of the graph."""
    data = small("C4").files["onnx"]
    facts = describe(data, "x.onnx")
    session = onnxruntime.InferenceSession(data)
    for end, wanted in (
        (facts.inputs[0], session.get_inputs()[0]),
        (facts.outputs[0], session.get_outputs()[0]),
    ):
        kind = end.dtype.replace("float32", "float")
        assert (end.name, f"tensor({kind})") == (wanted.name, wanted.type)
        assert list(end.shape) == wanted.shape
    nodes = onnx.load_model_from_string(data).graph.node
    assert sum(facts.operators.values()) == len(nodes)
    assert list(facts.operators.values()) == sorted(facts.operators.values())[::-1]


def test_a_foreign_onnx_file() -> None:
    """Several inputs and free lengths are no reason to refuse."""
    ends = [
        helper.make_tensor_value_info("a", TensorProto.FLOAT, ["batch", 3]),
        helper.make_tensor_value_info("b", TensorProto.FLOAT, [None, 3]),
        helper.make_tensor_value_info("c", TensorProto.FLOAT, []),
    ]
    node = helper.make_node("Add", ["a", "b"], ["c"])
    graph = helper.make_graph([node], "sum", ends[:2], ends[2:])
    facts = describe(helper.make_model(graph).SerializeToString(), "sum.onnx")
    assert [end.shape for end in facts.inputs] == [("batch", 3), ("?", 3)]
    assert facts.outputs[0].shape == ()
    assert facts.operators == {"Add": 1}
    assert facts.constants == {}


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A bundle with both INT8 files of a small network and some text."""
    files = {f"model.int8.{kind}": small("C4").files[kind] for kind in KINDS}
    path = tmp_path / "made.mobileq"
    write_bundle(path, {**files, "note.txt": b"hello"}, {"group": "C4"})
    return path


def test_a_bundle(bundle: Path) -> None:
    """Every file is there, intact and described."""
    found = inspect(str(bundle))
    assert found == inspect(str(bundle / MANIFEST))
    require_intact(found)
    assert found["manifest"] == open_bundle(bundle).manifest
    assert found["files"]["note.txt"]["bytes"] == 5
    for kind in KINDS:
        entry = found["files"][f"model.int8.{kind}"]
        assert (entry["intact"], entry["format"]) == (True, kind)
    assert found["not in the manifest"] == []


def test_a_bundle_that_changed(bundle: Path) -> None:
    """A changed, a missing and an added file are all named."""
    with (bundle / "model.int8.onnx").open("ab") as file:
        file.write(b"\0")
    (bundle / "note.txt").unlink()
    (bundle / "other.bin").write_bytes(b"")
    found = inspect(str(bundle))
    intact = {name: entry["intact"] for name, entry in found["files"].items()}
    assert intact == {
        "model.int8.onnx": False,
        "model.int8.tflite": True,
        "note.txt": False,
    }
    assert found["not in the manifest"] == ["other.bin"]
    with pytest.raises(BundleError, match=r"model\.int8\.onnx: SHA-256 is"):
        require_intact(found)


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "a/b", "..", ""])
def test_a_manifest_that_points_out_of_its_bundle(name: str, bundle: Path) -> None:
    """Names that are not those of files in the bundle are refused unread."""
    manifest: dict[str, Any] = json.loads((bundle / MANIFEST).read_text())
    manifest["files"][name] = manifest["files"]["note.txt"]
    (bundle / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(BundleError, match="wanted files in the bundle itself"):
        inspect(str(bundle))


@given(kind=st.sampled_from(KINDS), data=st.data())
def test_damaged_files(kind: str, data: st.DataObject) -> None:
    """Some changed bytes, or a missing end: facts, or one line."""
    content = bytearray(small("C4").files[kind])
    for _ in range(data.draw(st.integers(1, 6))):
        place = data.draw(st.integers(0, len(content) - 1))
        content[place] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(content)) | st.none())
    said: FileFacts | str
    try:
        said = describe(bytes(content[:cut]), f"x.{kind}")
    except InputError as error:
        said = str(error)
    if isinstance(said, str):
        assert said.startswith(f"x.{kind}: ")
        assert "\n" not in said
