"""`mobileq doctor`: packages as pip sees them, imports as Python does them."""

from __future__ import annotations

import importlib.metadata as metadata
import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conftest import Cli
from mobileq.bench.machine import FLAGS, this_machine
from mobileq.errors import NotInstalledError
from mobileq.runtimes.doctor import Finding, State, examine
from support.fake_adb import make_adb


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory of packages, and nothing else that pip would know."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.setattr(sys, "path", [str(folder), *_without_packages()])
    monkeypatch.setenv("PYTHONPATH", str(folder))
    monkeypatch.setenv("PATH", str(tmp_path))
    for name in ("ADB", "ANDROID_SERIAL", "MOBILEQ_ARM64_ROOT"):
        monkeypatch.delenv(name, raising=False)
    return folder


def _without_packages() -> list[str]:
    """Where modules are found, but no package's metadata that matters here."""
    return [path for path in sys.path if "site-packages" not in path]


def install(
    site: Path, name: str, version: str, requires: tuple[str, ...] = (), code: str = ""
) -> None:
    """A package as pip leaves it, with a module of its name."""
    info = site / f"{name}-{version}.dist-info"
    info.mkdir()
    lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
    lines += [f"Requires-Dist: {one}" for one in requires]
    (info / "METADATA").write_text("\n".join(lines) + "\n")
    (site / f"{name}.py").write_text(code)


def found(**wanted: bool) -> dict[str, Finding]:
    """Findings by name."""
    return {one.name: one for one in examine(this_machine(), **wanted)}


def test_packages(site: Path) -> None:
    """Fine, missing, too old, and broken: each with the line that mends it."""
    requires = ("fine>=1", "absent>=2.5", "old>=3", "wreck", 'extra>=1; extra == "dev"')
    install(site, "mobileq", "1.0", requires)
    install(site, "fine", "1.2")
    install(site, "old", "2.9")
    install(site, "wreck", "4.0", code="raise ImportError('libfoo.so.1 is missing')")
    looked = found()
    assert looked["fine"] == Finding("fine", State.OK, "1.2")
    assert looked["absent"].state is State.MISSING
    assert looked["absent"].remedy == "pip install 'absent>=2.5'"
    assert looked["old"].state is State.OLD
    assert looked["old"].remedy == "pip install 'old>=3'"
    assert looked["wreck"].state is State.BROKEN
    assert "libfoo.so.1 is missing" in looked["wreck"].found
    assert "extra" not in looked
    assert found(imports=False)["wreck"].state is State.OK


def test_packages_of_extras(site: Path) -> None:
    """Absent rather than missing; bounds on a common package count with the rest."""
    requires = (
        "common>=1",
        'common<2; extra == "train"',
        'heavy>=3; extra == "train"',
        'shared>=1; extra == "bench"',
        'shared>=1; extra == "train"',
        'linter; extra == "dev"',
        "elsewhere>=1; sys_platform == 'amiga'",
        "elsewhere>=1; sys_platform == 'amiga' and extra == 'train'",
    )
    install(site, "mobileq", "1.0", requires)
    install(site, "common", "2.1")
    looked = found()
    assert looked["common"].state is State.OK
    assert looked["heavy"].state is State.ABSENT
    assert looked["heavy"].remedy == "pip install 'mobileq[train]'"
    both = "pip install 'mobileq[bench]' or pip install 'mobileq[train]'"
    assert looked["shared"].remedy == both
    assert not looked.keys() & {"linter", "elsewhere"}
    install(site, "heavy", "3.0")
    install(site, "shared", "1.0")
    assert found()["common"].state is State.OLD


def test_an_import_that_kills_its_process(site: Path) -> None:
    """It is a finding, and this process goes on."""
    install(site, "mobileq", "1.0", ("killer",))
    install(site, "killer", "1.0", code="import os; os.abort()")
    assert found()["killer"].state is State.BROKEN


def test_packages_that_do_harm(site: Path) -> None:
    """Those that escnn or we do not bear are named, and do not count as broken."""
    install(site, "mobileq", "1.0")
    install(site, "pymanopt", "2.2")
    finding = found()["pymanopt"]
    assert finding.state is State.HARMFUL
    assert finding.remedy == "pip uninstall pymanopt"
    assert not finding.state.bad


def test_mobileq_that_was_not_installed(site: Path) -> None:
    """Nothing says what it needs, which is an error of its own."""
    with pytest.raises(NotInstalledError, match="pip install mobileq"):
        found()


def test_programs(site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """adb with its phones; what is absent says what it would be for."""
    install(site, "mobileq", "1.0")
    looked = found()
    for name, what in (("adb", "phones"), ("ssh", "boards")):
        assert looked[name].state is State.ABSENT
        assert what in looked[name].remedy
    assert "mobileq arm64" in looked["emulated arm64"].remedy
    monkeypatch.setenv("ADB", str(make_adb(tmp_path / "my adb", "A1\toffline\n")))
    assert found()["adb"].state is State.OK
    assert "A1 (offline)" in found()["adb"].found


@given(st.sets(st.sampled_from(FLAGS)), st.sampled_from(["x86_64", "aarch64"]))
def test_kernels(flags: set[str], architecture: str) -> None:
    """Every processor has a line, and only x86 without VNNI is told of saturation."""
    from mobileq.runtimes.doctor import _kernels

    system = f"Linux {architecture}"
    machine = replace(this_machine(), flags=tuple(sorted(flags)), system=system)
    (finding,) = _kernels(machine)
    exact = {"avx512_vnni", "avx_vnni", "amx_int8", "i8mm", "asimddp"} & flags
    assert ("exactly" in finding.found) == bool(exact)
    if architecture == "aarch64":
        assert "saturate" not in finding.found


@pytest.mark.skipif(
    not any(metadata.distributions(name="mobileq")),
    reason="mobileq is on the path, but was not installed by pip",
)
def test_the_command(cli: Cli) -> None:
    """A table or JSON; everything that the lock installs is fine."""
    done = cli(["doctor", "--quick"])
    assert done.returncode == 0, done.stdout
    assert "Nothing to mend." in done.stdout
    assert "numpy" in done.stdout
    done = cli(["doctor", "--quick", "--json"])
    plain = json.loads(done.stdout)
    assert plain["healthy"] is True
    states = {one["name"]: one["state"] for one in plain["findings"]}
    assert states["onnxruntime"] == "ok"
    assert plain["machine"]["cores"] >= 1


def test_the_command_when_something_is_missing(
    tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit code 1, and the line that mends it."""
    site = tmp_path / "site"
    site.mkdir()
    install(site, "mobileq", "1.0", ("nonesuch-package>=7",))
    monkeypatch.setenv("PYTHONPATH", str(site))
    done = cli(["doctor"])
    assert done.returncode == 1
    assert done.stdout.rstrip().endswith("To mend: nonesuch-package.")
    assert "pip install 'nonesuch-package>=7'" in done.stdout
    done = cli(["doctor", "--json"])
    assert done.returncode == 1
    assert json.loads(done.stdout)["healthy"] is False
