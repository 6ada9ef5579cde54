"""Table 1: presets, checks before the work, figures of files, report, picture."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from rich.console import Console

from mobileq.bench.figures import Label
from mobileq.bench.machine import this_machine
from mobileq.bench.polar import FORMATS
from mobileq.bench.subject import Subject
from mobileq.bundle import Bundle
from mobileq.data.patches import ArrayPatches
from mobileq.errors import InputError
from mobileq.models.spec import ModelSpec
from mobileq.reproduce.origin import OFFICIAL_PATCHES, Origin
from mobileq.reproduce.plots import table1_plot
from mobileq.reproduce.presets import NETWORKS, PRESETS, TABLE1, preset_of
from mobileq.reproduce.table1 import check_given, check_pair, measure_files
from mobileq.reproduce.table1_report import NetworkFigures, Table1Report
from mobileq.reproduce.training import Display

SPEC = ModelSpec(group="C4", width=0.1, input_size=31)
SMALL = Origin("here", {"train": 48, "valid": 24, "test": 40})
MAGIC = {"svg": b"<?xml", "png": b"\x89PNG", "pdf": b"%PDF"}


class Scripted:
    """A runner that says what it was told to, image by image."""

    integer = False

    def __init__(self, logits: NDArray[np.float32]) -> None:
        self.name, self.logits, self.done = "scripted", logits, 0

    def outputs(self, pixels: NDArray[np.uint8]) -> NDArray[np.generic]:
        """Logits of the next images."""
        start, self.done = self.done, self.done + len(pixels)
        return self.logits[start : self.done]


def report(preset: str | None = "paper", origin: Origin = SMALL) -> Table1Report:
    """Figures of four scripted files on 100 images, 50 of each class."""
    rng = np.random.default_rng(0)
    labels = (np.arange(100) % 2).astype(np.uint8)
    test = ArrayPatches(np.zeros((100, 31, 31, 3), np.uint8), labels)
    wrong = {"conventional": (20, 21), "equivariant": (10, 12)}

    def opened(bundle: Bundle) -> list[Subject]:
        subjects = []
        for precision, errors in zip(
            ("float", "int8"), wrong[bundle.path.stem], strict=True
        ):
            says = labels.copy()
            says[:errors] = 1 - says[:errors]
            logits = rng.random((100, 2)).astype(np.float32)
            logits[np.arange(100), says] += 2
            label = Label("tflite", "xnnpack", precision, 1, f"m.{precision}", 2048)
            subjects.append(Subject(label, Scripted(logits)))  # type: ignore[arg-type]
        return subjects

    manifest = {"certificates": {"m.int8": {"group": "C4"}}}
    bundles = {name: Bundle(Path(f"{name}.mobileq"), manifest) for name in NETWORKS}
    files, pairs = measure_files(
        bundles, opened, test, input_size=31, display=Display()
    )
    networks = tuple(
        NetworkFigures(name, False, "best.pt", "00", 4096, spec, 5, 7, {"epoch": 3})
        for name, spec in zip(NETWORKS, (SPEC.twin(), SPEC), strict=True)
    )
    return Table1Report(this_machine(), origin, preset, networks, files, pairs)


def test_figures_of_the_files() -> None:
    """Errors are counted, files compared image by image, certificates looked up."""
    found = report()
    assert [f.accuracy.value for f in found.files] == [0.8, 0.79, 0.9, 0.88]
    assert [f.agreement for f in found.files] == [None, 0.99, None, 0.98]
    assert [f.certificate for f in found.files] == [None, "C4", None, "C4"]
    counted = [(p.result.only_first, p.result.only_second) for p in found.pairs]
    assert counted == [(10, 0), (9, 0), (0, 1), (0, 2)]
    # A fair coin that falls ten times on the same side, either one.
    assert found.pairs[0].result.p_value == pytest.approx(2 / 2**10, rel=1e-9)
    assert all(f.auc.low < f.auc.value < f.auc.high for f in found.files)


def test_the_json_has_the_papers_figures_beside_ours() -> None:
    """Differences are those of its table; everything is plain and finite."""
    values = json.loads(json.dumps(report().to_dict(), allow_nan=False))
    assert (values["format"], values["version"]) == ("mobileq-table1", 1)
    paper = [file["paper_accuracy"] for file in values["files"]]
    assert paper == [0.8605, 0.851, 0.889, 0.8816]
    found = [pair["paper_difference"] for pair in values["comparisons"]]
    assert found == [0.0285, 0.0306, -0.0095, -0.0074]
    assert values["data"]["official_size"] is False
    assert values["networks"][1]["spec"]["group"] == "C4"
    assert values["notes"][0] == values["data"]["caveat"]


def test_the_tables_fit_a_terminal() -> None:
    """80 columns are enough: no number is cut or broken."""
    console = Console(width=80, record=True, file=io.StringIO())
    for table in report().tables():
        console.print(table)
    text = console.export_text()
    for cell in ("80.00", "71.12-86.66", "86.05", "+2.85", "99.00%", "conventional"):
        assert cell in text
    assert "…" not in text


@pytest.mark.parametrize(
    ("preset", "wanted"),
    [("small", "Trained by the preset 'small'"), ("paper", ""), (None, "")],
)
def test_other_settings_than_the_papers_are_named(
    preset: str | None, wanted: str
) -> None:
    """So are networks that are no twins, and checkpoints that were given."""
    text = "\n".join(report(preset).notes())
    assert wanted in text
    assert ("preset" in text) == bool(wanted)
    assert "no twins" not in text
    first, second = report(preset).networks
    wider = replace(second, spec=replace(SPEC, width=0.2), given=True)
    other = replace(report(preset), networks=(first, wider))
    text = "\n".join(other.notes())
    assert "no twins" in text
    assert "not trained here: equivariant (best.pt)" in text


def test_the_caveat_depends_on_the_data() -> None:
    """Other sizes are not the official files; equal ones were not hashed."""
    assert "is not the official PCam: train 48" in SMALL.caveat
    assert "not comparable" in SMALL.caveat
    official = Origin("here", dict(OFFICIAL_PATCHES))
    assert official.official_size
    assert "hashes were not checked" in official.caveat
    assert Origin("here", {"test": 32_768}).official_size
    made = Origin("synthetic", dict(OFFICIAL_PATCHES))
    assert not made.official_size
    assert "nothing about real tissue" in made.caveat
    for origin in (SMALL, official, made):
        assert report(origin=origin).notes()[0] == origin.caveat
        picture = table1_plot(report(origin=origin), "svg").decode()
        assert origin.short in picture


@pytest.mark.parametrize("kind", FORMATS)
def test_equal_reports_are_equal_pictures(kind: str) -> None:
    """No date, no version, no random names; other figures are another picture."""
    picture = table1_plot(report(), kind)
    assert picture.startswith(MAGIC[kind])
    assert picture == table1_plot(report(), kind)
    other = replace(report(), files=report().files[::-1])
    assert picture != table1_plot(other, kind)
    assert b"CreationDate" not in picture
    assert b"<dc:date>" not in picture


def test_the_picture_has_our_figures_and_the_papers() -> None:
    """A number for each of eight marks."""
    text = table1_plot(report(), "svg").decode()
    for accuracy in (*TABLE1.values(), 0.8, 0.79, 0.9, 0.88):
        assert f">{100 * accuracy:.2f}<" in text


def test_the_papers_preset_is_the_papers() -> None:
    """Section 5: epochs, group, input, strides and augmentation; nothing more."""
    paper = preset_of("paper")
    assert (paper.spec.group, paper.spec.width, paper.spec.input_size) == (
        "C12",
        1.0,
        95,
    )
    assert (paper.spec.reduced_strides, paper.config.epochs) == (2, 300)
    assert paper.config.symmetries
    assert (paper.config.stain_jitter, paper.config.label_smoothing) == (0, 0)
    twin = paper.network("conventional")
    assert (twin.group, twin.channel_multiple) == ("conventional", 12)
    with pytest.raises(InputError, match="--preset is 'large'; wanted paper or"):
        preset_of("large")
    assert all(preset.name == name for name, preset in PRESETS.items())


def test_networks_of_another_kind_are_refused() -> None:
    """A wrong group, wrong channels or classes, and two different inputs."""
    check_given("equivariant", SPEC, "a.pt")
    check_given("conventional", SPEC.twin(), "a.pt")
    for name, spec, wanted in (
        (
            "equivariant",
            SPEC.twin(),
            "a.pt: its group is conventional; wanted a .* with",
        ),
        ("conventional", SPEC, "a.pt: its group is C4; wanted a network without"),
        ("equivariant", replace(SPEC, num_classes=3), "to 3 classes; wanted from 3"),
        ("equivariant", replace(SPEC, in_channels=1), "from 1 channels to 2"),
    ):
        with pytest.raises(InputError, match=wanted):
            check_given(name, spec, "a.pt")
    other = replace(SPEC.twin(), input_size=47)
    with pytest.raises(InputError, match="takes 47 px and the equivariant one 31 px"):
        check_pair({"equivariant": SPEC, "conventional": other})
