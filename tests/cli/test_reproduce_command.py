"""`mobileq reproduce` as a user types it."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from mobileq.checkpoint import Checkpoint, save_checkpoint
from mobileq.cli import app
from mobileq.errors import VerificationError
from mobileq.models.build import build_model
from mobileq.models.spec import ModelSpec
from mobileq.reproduce import table1
from support.tissue_files import write_tissue

SMALL = [
    *("--sizes", "8,all", "--seeds", "0,1", "--group", "C2", "--width", "0.05"),
    *("--input-size", "15", "--reduced-strides", "2", "--epochs", "1"),
    *("--batch-size", "8", "--threads", "1"),
]
SPEC = ModelSpec(group="C2", width=0.05, input_size=15)

Mobileq = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def tissue(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six files of synthetic tissue."""
    return write_tissue(tmp_path_factory.mktemp("tissue"))


@pytest.fixture
def mobileq(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> Iterator[Mobileq]:
    """Run `mobileq reproduce` inside this process, in the test's directory.

    Returns exit code, standard output and standard error.
    """
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    threads = torch.get_num_threads()

    def run(*options: str | Path) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["mobileq", "reproduce", *map(str, options)])
        try:
            app.main()
            code = 0
        except SystemExit as stop:
            code = int(stop.code or 0)
        return (code, *capsys.readouterr())

    yield run
    torch.set_num_threads(threads)


def save(path: str, spec: ModelSpec) -> None:
    """Write a checkpoint with random weights."""
    save_checkpoint(Path(path), Checkpoint(spec, build_model(spec).state_dict()))


@pytest.mark.slow
def test_table1_goes_on_after_a_failure(
    mobileq: Mobileq, tissue: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trained networks are not trained again; the files are measured, and drawn."""
    command = ["table1", "--data", tissue, "--preset", "smoke", "--runtime", "onnx"]

    def fails(*args: object, **options: object) -> None:
        raise VerificationError("the ladder breaks")

    with monkeypatch.context() as patch:
        patch.setattr(table1, "export_checkpoint", fails)
        code, out, err = mobileq(*command)
    assert (code, err) == (1, "mobileq: the ladder breaks\n")
    assert out.count("training loss") == 16
    before = Path("runs/table1/equivariant/best.pt").read_bytes()
    code, _, err = mobileq(*command)
    assert (code, err.count("\n")) == (2, 1)
    assert "runs/table1/conventional: a run is here already; wanted --resume" in err
    code, out, err = mobileq(*command, "--resume")
    assert (code, err) == (0, "")
    assert "training loss" not in out
    assert Path("runs/table1/equivariant/best.pt").read_bytes() == before
    values = json.loads(Path("runs/table1/table1.json").read_text())
    assert [(f["network"], f["label"]["file"]) for f in values["files"]] == [
        ("conventional", "model.float.onnx"),
        ("conventional", "model.int8.onnx"),
        ("equivariant", "model.float.onnx"),
        ("equivariant", "model.int8.onnx"),
    ]
    assert [f["certificate"] for f in values["files"]] == [None, "C1", None, "C4"]
    assert values["data"]["patches"] == {"train": 96, "valid": 48, "test": 64}
    assert values["networks"][1]["training"]["config"]["epochs"] == 8
    assert "not the official PCam: train 96, valid 48, test 64 patches" in out
    assert Path("runs/table1/table1.svg").read_text().startswith("<?xml")


@pytest.mark.slow
def test_shipped_networks_can_be_given(
    mobileq: Mobileq, pcam_dir: Path, tmp_path: Path
) -> None:
    """Real patches, nothing trained; only the test split is needed."""
    code, out, err = mobileq(
        *("table1", "--data", pcam_dir, "--threads", "1"),
        *("--equivariant", "pcam-equivariant"),
        *("--conventional", "pcam-conventional"),
        *("--runs-dir", "here", "--out", "o.json", "--plot", "o.png"),
    )
    assert (code, err) == (0, "")
    assert "not trained here: conventional (pcam-conventional)" in out
    values = json.loads((tmp_path / "o.json").read_text())
    assert values["preset"] is None
    assert values["data"]["patches"] == {"test": 64}
    assert [f["label"]["runtime"] for f in values["files"]] == ["tflite"] * 4
    assert all(f["count"] == 64 for f in values["files"])
    assert all(network["given"] for network in values["networks"])
    assert sorted(path.name for path in (tmp_path / "here").iterdir()) == [
        "conventional.mobileq",
        "equivariant.mobileq",
    ]
    assert (tmp_path / "o.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_data_efficiency(mobileq: Mobileq, tissue: Path) -> None:
    """Every run once; with --resume none again, with another width a refusal."""
    command = ["data-efficiency", "--data", tissue, *SMALL]
    code, out, err = mobileq(*command)
    assert (code, err) == (0, "")
    assert out.count("training loss") == 8
    assert "[8/8] equivariant, 96 patches, seed 1: test accuracy" in out
    folder = Path("runs/data-efficiency")
    first = (folder / "data-efficiency.json").read_text()
    values = json.loads(first)
    assert values["plan"]["sizes"] == [8, 96]
    assert values["plan"]["steps"] == 12
    assert len(values["runs"]) == 8
    assert "Every run takes 12 steps of 8 patches" in out
    code, _, err = mobileq(*command)
    assert (code, "data-efficiency.json: exists already" in err) == (2, True)
    code, out, _ = mobileq(*command, "--resume", "--overwrite")
    assert (code, out.count("training loss")) == (0, 0)
    assert out.count("(was there)") == 8
    assert (folder / "data-efficiency.json").read_text() == first
    more = [*command, "--resume", "--overwrite", "--width", "0.1"]
    code, _, err = mobileq(*more)
    assert code == 2
    assert "width is 0.05 in the finished run and 0.1 in this command" in err


def test_interrupting_says_how_to_go_on(
    mobileq: Mobileq, tissue: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit code 130, one line; the same command with --resume ends it."""
    from mobileq.reproduce import data_efficiency

    def pressed(*args: object, **options: object) -> None:
        raise KeyboardInterrupt

    command = [
        "data-efficiency",
        "--data",
        tissue,
        *SMALL,
        "--sizes",
        "8",
        "--seeds",
        "0",
    ]
    with monkeypatch.context() as patch:
        patch.setattr(data_efficiency, "predict", pressed)
        code, _, err = mobileq(*command)
    assert code == 130
    assert err == "interrupted; give the same command with --resume to continue it\n"
    code, out, _ = mobileq(*command, "--resume")
    assert (code, out.count("training loss")) == (0, 1)


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        (["table1", "--preset", "large"], "--preset is 'large'; wanted paper or small"),
        (
            ["table1", "--equivariant", "plain.pt"],
            "plain.pt: its group is conventional",
        ),
        (["table1", "--conventional", "turning.pt"], "turning.pt: its group is C2"),
        (["table1", "--equivariant", "gone.pt"], "gone.pt: no such file"),
        (
            ["table1", "--equivariant", "turning.pt", "--conventional", "large.pt"],
            "the conventional network takes 17 px and the equivariant one 15 px",
        ),
        (["table1", "--plot", "a.jpg"], "--plot is a.jpg; wanted a name that ends in"),
        (["table1", "--out", "turning.pt"], "turning.pt: exists already"),
        (["table1", "--out", "/proc/no/a.json"], "/proc/no/a.json: cannot be written"),
        (["table1", "--out", "plain.pt/a.json"], "plain.pt/a.json: cannot be written"),
        (["table1", "--device", "tpu"], "device is 'tpu'; wanted auto, cpu, cuda"),
        (["table1", "--data", "nowhere"], "nowhere: no such directory"),
        (["data-efficiency", "--sizes", "9,1000"], "asks for 1,000 of 96 training"),
        (["data-efficiency", "--sizes", "9,few"], "--sizes is '9,few'; wanted whole"),
        (["data-efficiency", "--seeds", "all"], "--seeds is 'all'; wanted whole"),
        (["data-efficiency", "--group", "conventional"], "--group is 'conventional'"),
        (["data-efficiency", "--epochs", "0"], "epochs is 0; wanted 1 to 100000"),
        (["data-efficiency", "--input-size", "97"], "images of 96x96 px; wanted at"),
    ],
)
def test_bad_input_is_one_line_before_any_work(
    options: list[str], wanted: str, mobileq: Mobileq, tissue: Path
) -> None:
    """Exit code 2, nothing on standard output, nothing written."""
    save("turning.pt", SPEC)
    save("plain.pt", SPEC.twin())
    save("large.pt", ModelSpec(group="conventional", width=0.05, input_size=17))
    before = sorted(Path().rglob("*"))
    short = SMALL if options[0] == "data-efficiency" else []
    code, out, err = mobileq(options[0], "--data", tissue, *short, *options[1:])
    assert (code, out) == (2, "")
    assert wanted in err
    assert err.startswith("mobileq: ")
    assert err.count("\n") == 1
    assert sorted(Path().rglob("*")) == before


def test_an_existing_bundle_is_kept(mobileq: Mobileq, tissue: Path) -> None:
    """Unless --overwrite says otherwise, and never what is no bundle."""
    save("turning.pt", SPEC)
    save("plain.pt", SPEC.twin())
    taken = Path("runs/table1/equivariant.mobileq")
    taken.mkdir(parents=True)
    (taken / "precious").touch()
    given = ["--equivariant", "turning.pt", "--conventional", "plain.pt"]
    for more, wanted in (
        ([], "exists already; wanted a new name"),
        (["--overwrite"], "is not a bundle"),
    ):
        code, _, err = mobileq("table1", "--data", tissue, *given, *more)
        assert (code, wanted in err) == (2, True)
    assert (taken / "precious").exists()
