"""Command lines of the benchmark tools."""

from __future__ import annotations

import pytest

from mobileq_android.errors import PhoneError
from mobileq_android.process import Done
from mobileq_android.tools import (
    DELEGATES,
    Budget,
    InputFile,
    Setting,
    Tool,
    recognise,
    settings,
    usual_delegates,
)

FLAGS = frozenset(
    [
        "graph",
        "num_threads",
        "num_runs",
        "min_secs",
        "warmup_runs",
        "warmup_min_secs",
        "use_xnnpack",
        "use_gpu",
        "use_nnapi",
        "report_peak_memory_footprint",
        "input_layer",
        "input_layer_shape",
        "input_layer_value_files",
        "output_filepath",
    ]
)
TOOL = Tool("/there/tool", "benchmark_model", FLAGS, "ab" * 32)


def flags(command: list[str]) -> dict[str, str]:
    """What a command line says."""
    assert command[0] == TOOL.path
    return dict(part.removeprefix("--").split("=", 1) for part in command[1:])


@pytest.mark.parametrize(
    ("delegate", "said"),
    [
        ("xnnpack", {"use_xnnpack": "true"}),
        ("builtin", {"use_xnnpack": "false"}),
        ("gpu", {"use_gpu": "true"}),
        ("nnapi", {"use_nnapi": "true"}),
    ],
)
def test_one_delegate_is_named(delegate: str, said: dict[str, str]) -> None:
    """Of several, the order of the flags would decide who computes."""
    found = flags(TOOL.timing("model", Setting(delegate, 2), Budget(7, 0.5)))
    assert {key: found[key] for key in found if key.startswith("use_")} == said
    assert found["graph"] == "model"
    assert (found["num_threads"], found["num_runs"], found["min_secs"]) == (
        "2",
        "7",
        "0.5",
    )


def test_an_input_from_a_file() -> None:
    """One run without warm-up; a colon in a name is doubled, as the tool wants it."""
    source = InputFile("/there/one", "serving:0", (1, 95, 95, 3))
    found = flags(TOOL.export("model", Setting("gpu", 1), source, "/there/out"))
    assert found["input_layer"] == "serving:0"
    assert found["input_layer_value_files"] == "serving::0:/there/one"
    assert found["input_layer_shape"] == "1,95,95,3"
    assert found["output_filepath"] == "/there/out"
    assert (found["num_runs"], found["warmup_runs"]) == ("1", "0")


def test_flags_that_a_tool_lacks_are_not_given() -> None:
    """It would stop at them; what it cannot do without them is said."""
    tool = Tool("/t", "benchmark_model", frozenset({"graph", "num_threads"}), "")
    command = tool.timing("model", Setting("xnnpack", 1), Budget())
    assert command == ["/t", "--graph=model", "--num_threads=1"]
    assert not tool.exports
    assert TOOL.exports
    for delegate in ("gpu", "nnapi", "builtin"):
        assert "has no --use_" in str(tool.why_not(Setting(delegate, 1)))
        assert TOOL.why_not(Setting(delegate, 1)) is None
    assert tool.why_not(Setting("xnnpack", 1)) is None


def test_tools_are_told_apart() -> None:
    """By their flags, whatever their exit code; other programs are refused."""
    usage = b"Flags:\n\t--graph=\n\t--num_runs=50\n\t--num_threads=-1\n"
    tool = recognise("/t", "ab" * 32, Done(1, b"", usage), "tool")
    assert tool.name == "benchmark_model"
    litert = Done(0, usage + b"\t--use_profiler=false", b"")
    assert recognise("/t", "", litert, "tool").name == "benchmark_litert_model"
    for wrong in (Done(0, b"hello", b""), Done(None, usage, b""), Done(127, b"", b"")):
        with pytest.raises(PhoneError, match="no benchmark tool"):
            recognise("/t", "", wrong, "tool")


def test_settings() -> None:
    """Threads matter on the CPU alone; each setting comes once."""
    found = settings(("xnnpack", "gpu", "xnnpack"), (1, 2, 1))
    assert found == (Setting("xnnpack", 1), Setting("xnnpack", 2), Setting("gpu", 1))
    assert set(usual_delegates("android")) <= set(DELEGATES)
    assert usual_delegates("linux") == ("xnnpack",)
    with pytest.raises(PhoneError, match="--delegate is 'tpu'"):
        settings(("tpu",), (1,))
    with pytest.raises(PhoneError, match="--threads"):
        settings(("xnnpack",), (0,))
