"""What someone meets who tries the command for the first time, in any terminal."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from conftest import SOURCE_ROOTS, Cli
from support.signals import hear_interrupts

COMMANDS = [
    "train",
    "export",
    "collapse",
    "certify",
    "verify",
    "bench",
    "arm64",
    "compare",
    "report",
    "equivariance",
    "inspect",
    "doctor",
    "models",
]
NETWORK = "pcam-equivariant"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped network, exported."""
    out = tmp_path_factory.mktemp("first") / "first.mobileq"
    command = [sys.executable, "-m", "mobileq.cli.app", "export", NETWORK, "--int8"]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, SOURCE_ROOTS))}
    subprocess.run([*command, f"--out={out}", "--quiet"], env=env, check=True)
    return out


def test_without_arguments(cli: Cli) -> None:
    """The commands are listed, with exit code 2, since nothing was asked for."""
    done = cli([])
    assert done.returncode == 2
    assert all(f" {name} " in done.stdout + done.stderr for name in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_wrong_arguments(command: str, cli: Cli) -> None:
    """An option that there is not: one line, exit code 2, nothing else happens."""
    done = cli([command, "--no-such-option"])
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith("mobileq: ")
    assert "--no-such-option" in line


def test_a_command_that_there_is_not(cli: Cli) -> None:
    """What is nearest to it is proposed."""
    done = cli(["exprot", NETWORK])
    assert (done.returncode, done.stdout) == (2, "")
    assert "export" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments",
    [
        ["export", NETWORK, "--int8", "--out=made.mobileq"],
        ["collapse", NETWORK],
        ["certify", "BUNDLE"],
        ["verify", "BUNDLE"],
        ["inspect", "BUNDLE"],
        ["models"],
        ["doctor", "--quick"],
        ["bench", "BUNDLE", "--runtime=tflite", "--images=4", "--seconds=0.05"],
        ["compare", "BUNDLE", "BUNDLE", "--rounds=3", "--seconds=0.05"],
        ["equivariance", "BUNDLE", "--images=2", "--step=90"],
    ],
    ids=lambda arguments: arguments[0],
)
def test_json_of_every_command_that_reports(
    arguments: list[str], bundle: Path, cli: Cli, tmp_path: Path
) -> None:
    """Standard output is JSON and nothing else; in a terminal of ASCII, too."""
    given = [str(bundle) if one == "BUNDLE" else one for one in arguments]
    done = cli([*given, "--json"], env={"PYTHONIOENCODING": "ascii", "LC_ALL": "C"})
    assert done.returncode == 0, done.stderr
    assert isinstance(json.loads(done.stdout), (dict, list))
    assert "\x1b" not in done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252"])
@pytest.mark.parametrize(
    "arguments",
    [["certify", "BUNDLE"], ["inspect", "BUNDLE"], ["models"]],
    ids=lambda arguments: arguments[0],
)
def test_terminals_that_are_not_utf8(
    arguments: list[str], encoding: str, bundle: Path, cli: Cli
) -> None:
    """Characters that a terminal lacks are replaced; nothing fails because of them."""
    given = [str(bundle) if one == "BUNDLE" else one for one in arguments]
    done = cli(given, env={"PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"})
    assert done.returncode == 0, done.stderr
    assert "UnicodeEncodeError" not in done.stderr
    assert done.stdout


def test_names_that_a_terminal_cannot_show(cli: Cli) -> None:
    """The complaint about a file with such a name is a line all the same."""
    done = cli(["inspect", "Gänse-鵞.mobileq"], env={"PYTHONIOENCODING": "ascii"})
    assert done.returncode == 2
    assert done.stderr.startswith("mobileq: ")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("reader", ["true", "head -c 1"])
def test_a_reader_that_goes_away(reader: str, bundle: Path) -> None:
    """`mobileq inspect BUNDLE | head` ends without a traceback."""
    paths = os.pathsep.join(map(str, SOURCE_ROOTS))
    line = f'"$0" -m mobileq.cli.app inspect "$1" | {reader}'
    done = subprocess.run(
        ["sh", "-c", line, sys.executable, str(bundle)],
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert "Traceback" not in done.stderr
    assert "BrokenPipe" not in done.stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(shell: str, cli: Cli) -> None:
    """There is a script for each shell, which asks the command itself."""
    shown = cli([], env={"_MOBILEQ_COMPLETE": f"source_{shell}"})
    assert shown.returncode == 0, shown.stderr
    assert f"complete_{shell}" in shown.stdout


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        ("mobileq exp", {"export"}),
        ("mobileq export --req", {"--require-certificate"}),
        ("mobileq data p", {"pcam"}),
    ],
)
def test_completion(words: str, wanted: set[str], cli: Cli) -> None:
    """Commands and options are completed as bash asks for it."""
    last = str(len(words.split()) - 1)
    asked = {"COMP_WORDS": words, "COMP_CWORD": last}
    shown = cli([], env={"_MOBILEQ_COMPLETE": "complete_bash", **asked})
    assert set(shown.stdout.split()) == wanted


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments",
    [
        ["export", NETWORK, "--int8"],
        ["collapse", NETWORK],
        ["verify", "BUNDLE"],
        ["bench", "BUNDLE", "--runtime=tflite", "--seconds=60"],
        ["compare", "BUNDLE", "BUNDLE", "--seconds=60"],
        ["equivariance", NETWORK, "--images=500", "--step=1"],
        ["train", "--out=model.pt", "--epochs=50"],
    ],
    ids=lambda arguments: arguments[0],
)
@pytest.mark.parametrize("after", [0.6, 3.0])
def test_ctrl_c(
    arguments: list[str], after: float, bundle: Path, tmp_path: Path
) -> None:
    """Exit code 130 soon, no traceback, and nothing half made lies about.

    The command is interrupted after so many seconds of its own processor time, which is
    past its imports however busy the machine is; or after some time, while it waits for
    processes of its own.
    """
    given = [str(bundle) if one == "BUNDLE" else one for one in arguments]
    paths = os.pathsep.join(map(str, SOURCE_ROOTS))
    process = subprocess.Popen(
        [sys.executable, "-m", "mobileq.cli.app", *given],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": paths},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=hear_interrupts,
    )
    begun = time.monotonic()
    while processor_seconds(process.pid) < after and time.monotonic() - begun < 15:
        time.sleep(0.02)
    # As a terminal does: to everything that runs in the foreground.
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert "Traceback" not in err, err
    # Pressed within `exec` of a string, as dataclasses are made, Python ends itself by
    # the signal, although it was handled; to a shell both are 130.
    assert process.returncode in (130, -signal.SIGINT), err
    left = {path.name for path in tmp_path.iterdir()} - {"runs"}
    assert left == set()


def test_ctrl_c_that_a_library_swallows(tmp_path: Path) -> None:
    """An import that is interrupted raises ImportError; it is Ctrl-C all the same."""
    code = (
        "import sys, os, signal, importlib.abc\n"
        f"sys.path[:0] = {[str(root) for root in SOURCE_ROOTS]!r}\n"
        "class Interrupted(importlib.abc.MetaPathFinder):\n"
        "    def find_spec(self, name, path, target=None):\n"
        "        if name == 'scipy':\n"
        "            try:\n"
        "                os.kill(os.getpid(), signal.SIGINT)\n"
        "            except KeyboardInterrupt:\n"
        "                raise ImportError('scipy failed to import') from None\n"
        "sys.meta_path.insert(0, Interrupted())\n"
        "from mobileq.cli.app import main\n"
        f"sys.argv = ['mobileq', 'export', {NETWORK!r}]\n"
        "main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        preexec_fn=hear_interrupts,
    )
    assert (done.returncode, done.stderr) == (130, "")


def processor_seconds(pid: int) -> float:
    """Processor time of a process that has not been waited for."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
