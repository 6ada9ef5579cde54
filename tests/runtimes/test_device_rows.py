"""Rows of devices: real files, real LiteRT, and this machine in a phone's place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from mobileq.bench.figures import Label
from mobileq.bench.machine import this_machine
from mobileq.bench.plan import Bench
from mobileq.bench.spec import RunnerSpec
from mobileq.bench.store import Store
from mobileq.bench.subject import Candidate
from mobileq.contract import Head
from mobileq.quant.affine import Affine
from mobileq.quant.heads import SCORES
from mobileq.runtimes import device_runner
from mobileq.runtimes.device_rows import DevicePlan, device_rows
from mobileq.verify.images import verification_images
from mobileq_android.devices import Chosen
from mobileq_android.errors import PhoneError
from mobileq_android.plan import Options
from mobileq_android.process import Stop
from mobileq_android.tools import Budget
from support.certified import SIZE, small
from support.local_device import PYTHON, LocalDevice, make_tool
from support.runner_files import write_runner_files

AFFINE = Affine(0.5, 0)


@pytest.fixture(scope="module")
def images() -> NDArray[np.uint8]:
    """A few images."""
    return verification_images((3, SIZE, SIZE), count=4)


@pytest.fixture(scope="module")
def candidate(tmp_path_factory: pytest.TempPathFactory) -> Candidate:
    """An INT8 file that is proven to commute with quarter turns."""
    path = tmp_path_factory.mktemp("file") / "model.int8.tflite"
    path.write_bytes(small("C4").files["tflite"])
    label = Label("tflite", "xnnpack", "int8", 1, path.name, path.stat().st_size, "ab")
    return Candidate(label, RunnerSpec("tflite", "xnnpack", str(path)), AFFINE)


def bench(tmp_path: Path, images: NDArray[np.uint8]) -> Bench:
    """What measurements have in common."""
    return Bench(
        images=images, store=Store(tmp_path), machine=this_machine(), plan=None
    )  # type: ignore[arg-type]


def plan(
    devices: Mapping[str, LocalDevice], options: Options, *delegates: str
) -> DevicePlan:
    """All devices with the same options."""
    chosen = {name: Chosen(device, options) for name, device in devices.items()}
    return DevicePlan(chosen, delegates, (1, 2))


def by_python(**changes: object) -> Options:
    """LiteRT for Python on the device."""
    usual = Options(python=PYTHON, cool_down=0, budget=Budget(3, 0), pin=False)
    return replace(usual, **changes)  # type: ignore[arg-type]


def test_rows(tmp_path: Path, candidate: Candidate, images: NDArray[np.uint8]) -> None:
    """Times for each number of threads; outputs once, and all that they tell."""
    device = LocalDevice(tmp_path / "device")
    labels = np.array([0, 1, 0, 1])
    found = device_rows(
        plan({"local device": device}, by_python()),
        [candidate],
        bench(tmp_path, images),
        labels,
        Stop(),
    )
    first, second = found.rows
    assert [row.label.threads for row in found.rows] == [1, 2]
    assert {row.label.device for row in found.rows} == {"local device"}
    assert {row.label.runtime for row in found.rows} == {"linux"}
    assert all(row.cost and row.cost.latency.runs == 3 for row in found.rows)
    assert first.rotations is not None
    assert (first.rotations.compared, first.rotations.changed) == (12, 0)
    assert first.mirrors is not None
    assert first.mirrors.changed > 0  # a network of C4
    assert first.host is not None
    # Both sides are XNNPACK of this machine.
    assert (first.host.images, first.host.differing, first.host.largest_step) == (
        4,
        0,
        0,
    )
    assert first.accuracy is not None
    assert first.accuracy.count == 4
    assert second.host is None
    (described,) = found.devices
    assert described.name == "local device"
    assert "LiteRT" in described.tool
    assert found.notes == ()
    assert not Path(device.folder).exists()


def test_many_images_go_in_parts(
    tmp_path: Path,
    candidate: Candidate,
    images: NDArray[np.uint8],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Their outputs are those of all at once, in the same order."""
    found = []
    for at_once in (256, 3):
        monkeypatch.setattr(device_runner, "AT_ONCE", at_once)
        device = LocalDevice(tmp_path / f"device {at_once}")
        ask = plan({"local device": device}, by_python())
        where = tmp_path / str(at_once)
        where.mkdir()
        rows = device_rows(ask, [candidate], bench(where, images), None, Stop()).rows
        found.append((rows[0].host, rows[0].rotations, rows[0].mirrors))
        inputs = [path for path in device.pushes if path.endswith("inputs")]
        # Four images, as they are and under seven motions.
        assert len(inputs) == -(-4 * 8 // at_once)
    assert found[0] == found[1]


def test_kept_rows_are_not_measured_again(
    tmp_path: Path, candidate: Candidate, images: NDArray[np.uint8]
) -> None:
    """An interrupted run goes on; other images are another measurement."""
    device = LocalDevice(tmp_path / "device")
    ask = plan({"local device": device}, by_python())
    first = device_rows(ask, [candidate], bench(tmp_path, images), None, Stop())
    pushed = len(device.pushes)
    again = device_rows(ask, [candidate], bench(tmp_path, images), None, Stop())
    assert again.rows == first.rows
    assert len(device.pushes) == pushed
    device_rows(ask, [candidate], bench(tmp_path, images[:2]), None, Stop())
    assert len(device.pushes) > pushed


def test_a_file_with_a_head(tmp_path: Path) -> None:
    """Scores are compared as they are, and measured as logits."""
    files = write_runner_files(tmp_path)
    path = files.paths["scores.tflite"]
    label = Label("tflite", "xnnpack", "int8", 1, path.name, 1)
    spec = files.spec("scores.tflite", "xnnpack", head=Head.SOFTMAX)
    candidate = Candidate(label, replace(spec, output=SCORES))
    device = LocalDevice(tmp_path / "device")
    found = device_rows(
        plan({"local device": device}, by_python(), "builtin"),
        [candidate],
        bench(tmp_path, files.pixels),
        None,
        Stop(),
    )
    row = found.rows[0]
    assert row.label.kernel == "builtin"
    assert row.host is not None
    assert row.rotations is not None


def test_settings_that_fail_are_rows(
    tmp_path: Path, candidate: Candidate, images: NDArray[np.uint8]
) -> None:
    """A delegate that the tool lacks, one that crashes, outputs that cannot be had."""
    does = (
        "if 'use_gpu' in given: sys.exit('Failed to apply GPU delegate.')\n"
        "if 'output_filepath' in given: sys.exit('ERROR: no outputs today')\n"
        "figures()"
    )
    options = Options(
        binary=make_tool(tmp_path / "tool", does),
        cool_down=0,
        budget=Budget(3, 0),
        pin=False,
    )
    found = device_rows(
        plan(
            {"local device": LocalDevice(tmp_path / "d")},
            options,
            "xnnpack",
            "gpu",
            "nnapi",
        ),
        [candidate],
        bench(tmp_path, images),
        None,
        Stop(),
    )
    one, two, gpu, nnapi = found.rows
    assert one.cost is not None
    assert two.cost is not None
    assert one.host is None
    assert "no outputs today" in one.notes[-1]
    assert "Failed to apply GPU delegate" in str(gpu.unavailable)
    assert "no --use_nnapi" in str(nnapi.unavailable)


class Vanishing(LocalDevice):
    """A device that is gone after a number of commands."""

    left = 0

    def _check(self) -> None:
        """Count down."""
        self.left -= 1
        self.gone = self.left < 0
        super()._check()


@pytest.mark.parametrize("commands", [0, 3, 12, 30])
def test_a_device_that_vanishes(
    commands: int, tmp_path: Path, candidate: Candidate, images: NDArray[np.uint8]
) -> None:
    """The other one's rows are all there, and a note says what became of this one."""
    gone = Vanishing(tmp_path / "gone")
    gone.left = commands
    devices = {"gone": gone, "local device": LocalDevice(tmp_path / "there")}
    found = device_rows(
        plan(devices, by_python()), [candidate], bench(tmp_path, images), None, Stop()
    )
    there = [row for row in found.rows if row.host is not None]
    assert there
    assert any("is gone" in note for note in found.notes)


def test_all_devices_vanish(
    tmp_path: Path, candidate: Candidate, images: NDArray[np.uint8]
) -> None:
    """Then there is nothing to report."""
    with pytest.raises(PhoneError, match="is gone"):
        device_rows(
            plan({"gone": Vanishing(tmp_path / "gone")}, by_python()),
            [candidate],
            bench(tmp_path, images),
            None,
            Stop(),
        )


def test_a_device_without_a_tool_stops_all(
    tmp_path: Path, candidate: Candidate, images: NDArray[np.uint8]
) -> None:
    """It is the user's mistake, and every device is left clean."""
    devices = {name: LocalDevice(tmp_path / name) for name in ("a", "b")}
    with pytest.raises(PhoneError, match="nonesuch"):
        device_rows(
            plan(devices, by_python(python="nonesuch")),
            [candidate],
            bench(tmp_path, images),
            None,
            Stop(),
        )
    assert not any(Path(device.folder).exists() for device in devices.values())
