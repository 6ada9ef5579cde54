"""`mobileq export` certifies what it writes, and can be told to write nothing else."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import torch
from torch import nn

from conftest import Cli
from mobileq.bundle import open_bundle
from mobileq.certify import certify_files, certify_path
from mobileq.checkpoint import Checkpoint, save_checkpoint
from mobileq.collapse.collapse import collapse
from mobileq.deploy import deploy, export, export_checkpoint
from mobileq.errors import VerificationError
from mobileq.models.build import build_model
from mobileq.models.spec import ModelSpec
from support.networks import normalized, random_pixels, randomize_norms

INTEGER = ("model.int8.onnx", "model.int8.tflite")


def _network(group: str) -> tuple[ModelSpec, nn.Module]:
    """A small network with the statistics of noise."""
    spec = ModelSpec(group=group, width=0.05, input_size=17)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = build_model(spec)
        randomize_norms(network, normalized(random_pixels(16, (3, 17, 17), 0)))
    return spec, network


def _checkpoint(path: Path, group: str) -> Path:
    """Such a network as a file."""
    spec, network = _network(group)
    save_checkpoint(path, Checkpoint(spec, network.state_dict(), {}))
    return path


def test_certificates_are_in_the_manifest(tmp_path: Path) -> None:
    """One for each integer file, of that file, and none for float ones."""
    out = tmp_path / "x.mobileq"
    source = _checkpoint(tmp_path / "d4.pt", "D4")
    bundle = export_checkpoint(source, out, require_certificate=True)
    found = open_bundle(out).manifest["certificates"]
    assert tuple(sorted(found)) == INTEGER
    for name, certificate in found.items():
        assert certificate["group"] == "D4"
        assert certificate["sha256"] == hashlib.sha256(bundle.read(name)).hexdigest()
        assert certificate == certify_path(out)[str(out / name)].to_dict()


def test_without_integer_files_there_is_no_certificate(tmp_path: Path) -> None:
    """A float export says so in the manifest, and cannot be required to have one."""
    source = _checkpoint(tmp_path / "c4.pt", "C4")
    bundle = export_checkpoint(source, tmp_path / "x.mobileq", int8=False)
    assert bundle.manifest["certificates"] == {}
    with pytest.raises(VerificationError, match="there is no integer file"):
        export_checkpoint(
            source, tmp_path / "y.mobileq", int8=False, require_certificate=True
        )


@pytest.mark.slow
def test_a_network_without_symmetry_is_refused(tmp_path: Path, cli: Cli) -> None:
    """Where a certificate is required: exit code 1, the reason, nothing written."""
    source = _checkpoint(tmp_path / "plain.pt", "conventional")
    done = cli(["export", source, "--int8", "--require-certificate", "--out", "x"])
    assert done.returncode == 1
    assert "no certificate can be given: C1 has no rotation" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "x").exists()


def test_a_certificate_needs_integers(tmp_path: Path, cli: Cli) -> None:
    """--require-certificate without --int8 is a contradiction: exit code 2."""
    source = _checkpoint(tmp_path / "c4.pt", "C4")
    done = cli(["export", source, "--require-certificate"])
    assert done.returncode == 2
    assert "wanted --int8" in done.stderr


@pytest.mark.slow
def test_a_file_that_is_not_symmetric_stops_the_export(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A certificate that falls short of the claim is fatal if required, else noted."""
    # The files of another network: what a wrong writer would cause.
    other = deploy(collapse(_network("conventional")[1], (3, 17, 17)))
    found = certify_files(other.files)
    monkeypatch.setattr(export, "certify_files", lambda files: found)
    source = _checkpoint(tmp_path / "c4.pt", "C4")
    with pytest.raises(VerificationError, match=r"only C1 is proven .*weight"):
        export_checkpoint(source, tmp_path / "x.mobileq", require_certificate=True)
    assert not (tmp_path / "x.mobileq").exists()
    bundle = export_checkpoint(source, tmp_path / "x.mobileq")
    for certificate in bundle.manifest["certificates"].values():
        assert certificate["group"] == "C1"
        assert certificate["breaks"]
