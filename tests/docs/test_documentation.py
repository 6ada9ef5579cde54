"""What the documentation says is so: commands, code, output, links, figures."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import typer
from typer.exceptions import TyperException

from conftest import ROOT, SOURCE_ROOTS
from mobileq.cli.app import app

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
RUN = [PAGES[0], ROOT / "docs" / "index.md", ROOT / "docs" / "install.md"]
RUN += sorted((ROOT / "docs" / "howto").glob("*.md"))
"""Pages whose blocks are run, besides the tutorial, whose files some of them use."""

TUTORIAL = ROOT / "docs" / "tutorial.md"
FENCE = re.compile(
    r"^(?P<indent> *)```(?P<language>\w*)(?: title=\"(?P<title>[^\"]+)\")?\n"
    r"(?P<body>.*?)^(?P=indent)```$",
    re.MULTILINE | re.DOTALL,
)
LINK = re.compile(r"(?<!`)\[[^\]]*\]\((?!https?:|mailto:|#)([^)#\s]+)(?:#[^)]*)?\)")
NUMBER = re.compile(r"[-+]?\d[\d,.]*(?:e[-+]?\d+)?%?")
LIMIT = 900


@dataclass(frozen=True)
class Block:
    """A fenced block.

    Attributes:
        language: Behind the fence; empty without one.
        title: Name of the file that it is.
        body: Text without indentation.
        line: Where it begins.
    """

    language: str
    title: str | None
    body: str
    line: int


def blocks(page: Path) -> Iterator[Block]:
    """The fenced blocks of a page."""
    text = page.read_text(encoding="utf-8")
    for found in FENCE.finditer(text):
        indent = found["indent"]
        lines = [line.removeprefix(indent) for line in found["body"].splitlines()]
        yield Block(
            found["language"],
            found["title"],
            "\n".join(lines) + "\n",
            text.count("\n", 0, found.start()) + 1,
        )


def mobileq_lines() -> Iterator[tuple[str, str]]:
    """Every command line of mobileq in a block, with the place."""
    for page in PAGES:
        for block in blocks(page):
            text = block.body.replace("\\\n", " ")
            for line in text.splitlines():
                line = line.strip().removeprefix("$ ")
                if line.startswith("mobileq "):
                    place = page.relative_to(ROOT).as_posix()
                    yield f"{place}:{block.line}", line


@pytest.mark.parametrize(
    ("place", "line"), mobileq_lines(), ids=lambda text: text[:60].replace(" ", "_")
)
def test_every_command_line_can_be_parsed(place: str, line: str) -> None:
    """Commands and options that a page names exist, with values of their types."""
    complaint = complaint_about(line)
    assert complaint is None, f"{place}: {line}: {complaint}"


@pytest.mark.parametrize(
    "line",
    ["mobileq exprot x", "mobileq export x --int9", "mobileq bench x --images many"],
)
def test_wrong_command_lines_are_found(line: str) -> None:
    """The test before this one can fail."""
    assert complaint_about(line) is not None


def complaint_about(line: str) -> str | None:
    """What the parser says against a command line that is not run; None if nothing."""
    words = shlex.split(line.partition(">")[0] if " > " in line else line, True)[1:]
    command = typer.main.get_command(app)
    try:
        context = command.make_context("mobileq", words)
        while getattr(command, "commands", None) and context._protected_args:
            name, command, rest = command.resolve_command(  # type: ignore[attr-defined]
                context, [*context._protected_args, *context.args]
            )
            context = command.make_context(name, rest, parent=context)
    except typer.Exit:
        return None
    except TyperException as error:
        return str(error.format_message())
    return None


def test_there_are_command_lines() -> None:
    """The test before this one has something to do, on many pages."""
    places = {place.partition(":")[0] for place, _ in mobileq_lines()}
    assert len(places) >= 15


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).name)
def test_links_lead_somewhere(page: Path) -> None:
    """Every relative link and picture is of a file of the repository."""
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    broken = [
        target
        for target in LINK.findall(text)
        if not (page.parent / target).resolve().exists()
    ]
    assert broken == []


def test_every_page_is_in_the_navigation() -> None:
    """A page that no one can find is not documentation."""
    listed = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    pages = {path.relative_to(ROOT / "docs").as_posix() for path in PAGES[1:]}
    decisions = {page for page in pages if page.startswith("decisions/")}
    assert {page for page in pages - decisions if page not in listed} == set()


@pytest.fixture(scope="module")
def tutorial(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory in which the tutorial was followed."""
    folder = tmp_path_factory.mktemp("tutorial")
    follow(TUTORIAL, folder)
    return folder


@pytest.mark.slow
def test_the_tutorial(tutorial: Path) -> None:
    """Every block in turn; what it prints is what the page shows, numbers aside."""
    assert (tutorial / "tissue.mobileq" / "model.int8.tflite").is_file()
    assert (tutorial / "measured" / "report.html").is_file()


@pytest.mark.slow
@pytest.mark.parametrize("page", RUN, ids=lambda page: page.stem)
def test_a_page(page: Path, tutorial: Path, tmp_path: Path) -> None:
    """Every block in turn, beside the files of the tutorial."""
    for name in ("nets.py", "weights.pt"):
        (tmp_path / name).write_bytes((tutorial / name).read_bytes())
    follow(page, tmp_path)


@pytest.mark.slow
def test_the_figures_are_those_of_the_script(tmp_path: Path) -> None:
    """`make figures` draws pictures with the same words, numbers aside."""
    script = ROOT / "tools" / "figures.py"
    done = execute([sys.executable, str(script), str(tmp_path)], tmp_path)
    assert done.returncode == 0, done.stderr
    drawn = {path.stem: path for path in tmp_path.glob("*.svg")}
    assert set(drawn) == {"circle", "orbits", "ranges", "turned"}
    for name in drawn:
        kept = ROOT / "docs" / "figures" / f"{name}.svg"
        # Times are in none of them, but kernels may differ in the last digits.
        assert shape(drawn[name]) == shape(kept)


def shape(picture: Path) -> str:
    """The words of a picture, without its numbers."""
    text = picture.read_text(encoding="utf-8")
    return NUMBER.sub("#", " ".join(re.findall(r"<text[^>]*>([^<]*)</text>", text)))


def follow(page: Path, folder: Path) -> None:
    """Do what a page says, in a directory, and compare what is printed."""
    for block in blocks(page):
        where = f"{page.relative_to(ROOT)}:{block.line}"
        if block.language == "python":
            name = block.title or "block.py"
            (folder / name).write_text(block.body, encoding="utf-8")
            if block.title is None:
                done = execute([sys.executable, name], folder)
                assert done.returncode == 0, f"{where}: {done.stderr}"
        elif block.language == "console":
            for command, shown in commands(block.body):
                done = execute(["bash", "-c", command], folder)
                assert done.returncode == 0, f"{where}: {command}: {done.stderr}"
                compare(shown, done.stdout, f"{where}: {command}")


def commands(body: str) -> Iterator[tuple[str, list[str]]]:
    """Command lines behind `$`, each with the lines that it prints."""
    command, shown = "", list[str]()
    for line in body.splitlines():
        if line.startswith("$ "):
            if command:
                yield command, shown
            command, shown = line[2:], []
        else:
            shown.append(line)
    if command:
        yield command, shown


def compare(shown: list[str], printed: str, where: str) -> None:
    """Every line that is shown was printed, in this order; numbers may differ.

    A line `...` stands for any lines; without one between them, what is shown follows
    at once.
    """
    wanted = [plain(line) for line in shown if plain(line)]
    found = [plain(line) for line in printed.splitlines() if plain(line)]
    place, free = 0, False
    for line in wanted:
        if line == "...":
            free = True
            continue
        rest = found[place:] if free else found[place : place + 1]
        assert line in rest, f"{where}: {line!r} is not what was printed: {found}"
        place += rest.index(line) + 1
        free = False


def plain(line: str) -> str:
    """A line without numbers and the widths that depend on them."""
    words = NUMBER.sub("#", line).replace("─", "").split()
    noisy = ("The machine was noisy", "Measured on")
    return "" if line.startswith(noisy) else " ".join(words)


def execute(command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """Run something as a user of this environment would."""
    bin_folder = folder / ".bin"
    if not bin_folder.exists():
        bin_folder.mkdir()
        for name, arguments in (("python", ""), ("mobileq", "-m mobileq.cli.app")):
            script = bin_folder / name
            script.write_text(f'#!/bin/sh\nexec "{sys.executable}" {arguments} "$@"\n')
            script.chmod(0o755)
    paths = os.pathsep.join(map(str, SOURCE_ROOTS))
    # Other tests cover the same lines; counted here, the pages take twice as long.
    usual = {key: text for key, text in os.environ.items() if key[:3] != "COV"}
    return subprocess.run(
        command,
        cwd=folder,
        env={
            **usual,
            "PATH": f"{bin_folder}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": paths,
            "COLUMNS": "80",
            "NO_COLOR": "1",
        },
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )
