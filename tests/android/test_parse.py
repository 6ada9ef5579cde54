"""What benchmark tools print: real logs, every wording, and rubbish."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mobileq_android.errors import ToolError
from mobileq_android.parse import Timing, last_words, parse

MIB = 2**20

LOGS = {
    "tflite_rb1_mobilenet_v1_quant_cpu.txt": Timing(
        runs=50,
        mean_ms=105.784,
        median_ms=105.718,
        p5_ms=105.485,
        p95_ms=106.281,
        min_ms=105.416,
        max_ms=106.528,
        std_ms=0.26,
        load_ms=87.639,
        first_ms=106.436,
        warmup_runs=5,
        model_bytes=round(14.8164 * MIB),
    ),
    "tflite_rb1_mobilenet_v1_quant_gpu.txt": Timing(
        runs=50,
        mean_ms=115.246,
        median_ms=115.35,
        p5_ms=112.107,
        p95_ms=116.62,
        min_ms=111.842,
        max_ms=119.614,
        std_ms=1.329,
        load_ms=1361.236,
        first_ms=125.113,
        warmup_runs=5,
        model_bytes=round(132.816 * MIB),
    ),
    "tflite_qemu_riscv64_mobilenet_v1_opprofile.txt": Timing(
        runs=50,
        mean_ms=2950.34,
        min_ms=2727.568,
        max_ms=3189.954,
        std_ms=109.798,
        load_ms=17.187,
        first_ms=3512.391,
        warmup_runs=1,
        model_bytes=round(46.0859 * MIB),
    ),
    "tflite_apk_logcat_oppo_a3x_yolo26l_fp16.txt": Timing(
        runs=10,
        mean_ms=2719.85,
        median_ms=2709.263,
        p5_ms=2640.862,
        p95_ms=3025.403,
        min_ms=2640.862,
        max_ms=3025.403,
        std_ms=105.101,
        load_ms=458.883,
        first_ms=2732.148,
        warmup_runs=1,
        model_bytes=337 * MIB,
    ),
    "litert_benchmark_model_arm_sme2_cpu_profiler.txt": Timing(
        runs=2112,
        mean_ms=0.464545,
        median_ms=0.462,
        p5_ms=0.46,
        p95_ms=0.478,
        min_ms=0.442,
        max_ms=0.979,
        std_ms=0.013,
        load_ms=4.48,
        first_ms=1.03,
        warmup_runs=1055,
        model_bytes=round(11.51 * MIB),
    ),
    "litert_benchmark_py_2.3.0_qemu_aarch64.txt": Timing(
        runs=20,
        mean_ms=11.44,
        median_ms=10.53,
        p5_ms=10.39,
        p95_ms=14.62,
        min_ms=10.37,
        max_ms=14.86,
        std_ms=1.69,
        load_ms=59.31,
        first_ms=60.11,
        warmup_runs=3,
    ),
}


def log(shared: Path, name: str) -> str:
    """A real output."""
    return (shared / "data" / "benchmark_logs" / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("name", LOGS)
def test_real_logs(name: str, shared_data: Path) -> None:
    """Every figure that a real tool printed, in milliseconds and bytes."""
    found, wanted = vars(parse(log(shared_data, name))), vars(LOGS[name])
    # Exact but for the division by 1000.
    assert found == {
        key: value if value is None else pytest.approx(value, rel=1e-12)
        for key, value in wanted.items()
    }


@pytest.mark.parametrize("name", LOGS)
@pytest.mark.parametrize("prefix", ["INFO: ", "07-08 15:33:55.768 I/tflite  ( 5395): "])
def test_prefixes_change_nothing(name: str, prefix: str, shared_data: Path) -> None:
    """The same output, as the tool's log or logcat passes it on."""
    text = log(shared_data, name)
    if "logcat" in name:
        text = re.sub(r"^.*?\( *\d+\): ", "", text, flags=re.M)
    plain = re.sub(r"^(INFO|VERBOSE): ", "", text, flags=re.M)
    again = "\n".join(prefix + line for line in plain.splitlines())
    assert parse(again) == parse(plain) == parse(log(shared_data, name))


def test_peak_memory_of_each_wording(shared_data: Path) -> None:
    """The lines of --report_peak_memory_footprint, and those of older tools."""
    text = log(shared_data, "tflite_rb1_mobilenet_v1_quant_cpu.txt")
    lines = [line for line in text.splitlines() if "footprint delta" not in line]
    fragment = log(shared_data, "tflite_peak_memory_fragment.txt")
    found = parse("\n".join([*lines, fragment]))
    assert found.peak_bytes == round(13.1797 * MIB)
    assert found.model_bytes == round(8.67578 * MIB)
    old = parse("\n".join([*lines, "Peak memory footprint (MB): init=1 overall=2.5"]))
    assert (old.peak_bytes, old.model_bytes) == (None, round(2.5 * MIB))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "nothing else"),
        ("INFO: STARTING!\nERROR: Failed to apply NNAPI delegate.\n", "NNAPI"),
        ("ERROR: Benchmarking failed.\nbye", "Benchmarking failed."),
        ("Inference timings in us: Init: 5, Inference (avg): 7", "only a part"),
        ("BENCHMARK RESULTS\nInference (avg): 4 ms", "only a part"),
        (
            "count=0 curr=1\nInference timings in us: Init: 1, Inference (avg): 3",
            "impossible",
        ),
        (
            "count=5 curr=1\nInference timings in us: Init: -1, Inference (avg): 3",
            "impossible",
        ),
        (
            "count=5 curr=1\nInference timings in us: Init: 1, Inference (avg): 1e999",
            "impossible",
        ),
    ],
)
def test_no_figures(text: str, said: str) -> None:
    """One line says what was printed instead."""
    with pytest.raises(ToolError, match=said) as caught:
        parse(text)
    assert "\n" not in str(caught.value)


def complaint(text: str) -> str:
    """What is said of an output; empty if there are figures in it."""
    try:
        found = parse(text)
    except ToolError as error:
        return str(error)
    assert found.runs > 0
    assert found.mean_ms >= 0
    return ""


@given(st.text())
def test_any_text_is_figures_or_one_line(text: str) -> None:
    """No output of a program ends in anything else."""
    assert "\n" not in complaint(text)
    assert "\n" not in last_words(text)


@given(data=st.data())
def test_damaged_logs(data: st.DataObject, shared_data: Path) -> None:
    """Logs that are cut, or have lost lines, are never misread as a crash."""
    name = data.draw(st.sampled_from(sorted(LOGS)))
    lines = log(shared_data, name).splitlines()
    kept = data.draw(st.lists(st.sampled_from(lines), max_size=len(lines)))
    assert "\n" not in complaint("\n".join(kept))
