"""The collapsed checkpoint: one file, no code, no framework, and no harm."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save

import mobileq.collapsed
from mobileq.collapsed import (
    FORMAT,
    MOST_HEADER,
    CollapsedCheckpoint,
    collapsed_bytes,
    is_collapsed,
    load_collapsed,
    save_collapsed,
)
from mobileq.errors import CheckpointError
from mobileq.graph.store import graph_to_tensors
from support.every_node import everything
from support.same_graph import require_same_graph

ROOT = Path(__file__).resolve().parents[1]
CHECKPOINT = CollapsedCheckpoint(
    everything(0),
    {"source": "model.pt", "sha256": "ab" * 32, "spec": {"width": 0.5}},
    {"epochs": 3, "test": {"auc": 0.9}},
    ({"name": "collapsed", "value": 0.0},),
)


def _message(path: Path) -> str:
    """The one line that a user sees for a bad file; it names the file."""
    with pytest.raises(CheckpointError) as caught:
        load_collapsed(path)
    text = str(caught.value)
    assert text.startswith(f"{path}: ")
    assert "\n" not in text
    assert len(text) < 2000
    assert caught.value.exit_code == 2
    return text


def _file(path: Path, text: str) -> Path:
    """A file with the arrays of the graph and any text as our part of the header."""
    arrays, _ = graph_to_tensors(CHECKPOINT.graph)
    path.write_bytes(save(arrays, metadata={FORMAT: text}))
    return path


def _header() -> dict[str, Any]:
    """Our part of the header."""
    data = collapsed_bytes(CHECKPOINT)
    length = int.from_bytes(data[:8], "little")
    header = json.loads(json.loads(data[8 : 8 + length])["__metadata__"][FORMAT])
    assert isinstance(header, dict)
    return header


def test_round_trip(tmp_path: Path) -> None:
    """Graph, origin, training record and rungs come back, and the bytes do too."""
    path = tmp_path / "new" / "x.collapsed.safetensors"
    save_collapsed(path, CHECKPOINT)
    assert is_collapsed(path)
    found = load_collapsed(path)
    require_same_graph(found.graph, CHECKPOINT.graph)
    assert found.origin == CHECKPOINT.origin
    assert found.training == CHECKPOINT.training
    assert found.ladder == CHECKPOINT.ladder
    assert (found.source, len(found.sha256)) == (str(path), 64)
    assert collapsed_bytes(found) == path.read_bytes()
    assert list(path.parent.iterdir()) == [path]


def test_reading_loads_no_framework(tmp_path: Path) -> None:
    """Neither escnn, torch nor TensorFlow, and none of our modules that need them."""
    path = tmp_path / "x.safetensors"
    save_collapsed(path, CHECKPOINT)
    code = (
        "import sys\nfrom pathlib import Path\n"
        "from mobileq.collapsed import load_collapsed\n"
        f"load_collapsed(Path({str(path)!r}))\n"
        "print(*sorted(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    loaded = set(done.stdout.split())
    assert "mobileq.graph.store" in loaded
    heavy = {"torch", "escnn", "tensorflow", "onnx", "scipy", "mobileq.models"}
    assert loaded & heavy == set()


def test_other_files_are_not_collapsed(tmp_path: Path) -> None:
    """A checkpoint, text, a directory and nothing at all."""
    text = tmp_path / "text"
    text.write_text("mobileq-collapsed")
    shipped = ROOT / "mobileq" / "checkpoints" / "pcam-equivariant.safetensors"
    for path in (text, tmp_path, tmp_path / "missing", shipped):
        assert not is_collapsed(path)
        _message(path)
    assert "no such file" in _message(tmp_path / "missing").lower()


@pytest.mark.parametrize("kept", [0, 1, 7, 8, 100, 0.5, 0.9, -1])
def test_truncated_files(tmp_path: Path, kept: float) -> None:
    """Wherever the file was cut, it is refused, and its size is told."""
    data = collapsed_bytes(CHECKPOINT)
    length = int(kept * len(data)) if isinstance(kept, float) else kept
    path = tmp_path / "x.safetensors"
    path.write_bytes(data[:length])
    assert "truncated" in _message(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "other"}, "not a mobileq-collapsed"),
        ({"version": 2}, "collapsed format 2; this mobileq reads up to 1"),
        ({"version": 0}, "collapsed format 0"),
        ({"version": True}, "collapsed format True"),
        ({"version": "1" * 99}, "collapsed format str"),
        ({"graph": None}, "graph: incomplete"),
        ({"origin": []}, "origin is missing or of another type"),
        ({"training": 3}, "training is missing or of another type"),
        ({"ladder": [3]}, "ladder is missing or of another type"),
        ({"training": {"loss": float("nan")}}, "damaged, truncated"),
    ],
)
def test_other_headers(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    """Newer versions, other formats and wrong types name what was found."""
    text = json.dumps({**_header(), **change})
    assert message in _message(_file(tmp_path / "x", text))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "null",
        "{",
        "[" * 100_000,
        '{"a":' * 100_000,
        '{"x": 1e999}',
        "9" * 9999,
    ],
)
def test_text_that_is_no_header(tmp_path: Path, text: str) -> None:
    """No JSON, another kind of JSON, and JSON that no parser gets to the end of."""
    _message(_file(tmp_path / "x", text))


def test_header_without_an_entry(tmp_path: Path) -> None:
    """Each entry that is missing is named."""
    for name in ("graph", "origin", "training", "ladder"):
        header = _header()
        del header[name]
        assert name in _message(_file(tmp_path / "x", json.dumps(header)))


def test_huge_headers_are_not_parsed(tmp_path: Path) -> None:
    """A hundred megabytes of JSON would become gigabytes of objects."""
    path = _file(tmp_path / "x", '{"a":[' + "{}," * MOST_HEADER + "{}]}")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert "a header of 25," in _message(path)
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # KiB: the file is read, and nothing is made of it.
    assert after - before < 200_000


def test_huge_files_are_not_read(tmp_path: Path) -> None:
    """The size is looked at first."""
    path = tmp_path / "x"
    with path.open("wb") as file:
        file.truncate(mobileq.collapsed.MOST_BYTES + 1)
    assert "(1,073,741,825 bytes, more than 1,073,741,824); wanted" in _message(path)


def test_an_unwritable_directory_is_one_line(tmp_path: Path) -> None:
    """Nothing is left behind."""
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(CheckpointError, match="cannot be written"):
        save_collapsed(tmp_path / "file" / "x", CHECKPOINT)
    assert os.listdir(tmp_path) == ["file"]


def test_numbers_of_other_types(tmp_path: Path) -> None:
    """float16 is widened, and what numpy has no exact type for is refused."""
    arrays, _ = graph_to_tensors(CHECKPOINT.graph)
    text = json.dumps(_header())
    path = tmp_path / "x"
    half = {**arrays, "stem:bias": np.ones(4, np.float16)}
    path.write_bytes(save(half, metadata={FORMAT: text}))
    assert load_collapsed(path).graph["stem"] is not None
    data = path.read_bytes().replace(b'"F16"', b'"F8Q"')
    path.write_bytes(data)
    _message(path)


@given(data=st.data())
def test_any_bytes_are_read_or_refused(data: st.DataObject) -> None:
    """Some bytes of a file are changed: it is read, or refused in one line."""
    content = bytearray(collapsed_bytes(CHECKPOINT))
    # The header is where a change matters most.
    length = int.from_bytes(content[:8], "little")
    for _ in range(data.draw(st.integers(1, 4))):
        end = length if data.draw(st.booleans()) else len(content) - 1
        content[data.draw(st.integers(0, end))] = data.draw(st.integers(0, 255))
    path = Path(os.environ.get("TMPDIR", "/tmp")) / f"mobileq-fuzz-{os.getpid()}"
    message = f"{path}: "
    try:
        path.write_bytes(content)
        load_collapsed(path)
    except CheckpointError as error:
        message = str(error)
    finally:
        path.unlink()
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
