"""What `make docs` does to pages: the reference of commands, links to the repository.

Called by mkdocs (`hooks` in mkdocs.yml). MOBILEQ names the command whose help is shown.
"""

from __future__ import annotations

import html
import os
import re
import subprocess
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
OUTSIDE = re.compile(r"\[([^\]]+)\]\((?:\.\./)+((?!\.)[^)#\s]+)\)")
WIDTH = "80"


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Fill the reference, and turn links to files outside docs/ into their names."""
    if page.file.src_uri == "reference/cli.md":
        return f"# Commands\n\n{reference()}"
    return OUTSIDE.sub(lambda found: _named(found, page.file.src_uri), markdown)


def _named(found: re.Match[str], page: str) -> str:
    """A link to a file of the repository: its name, if it exists.

    Raises:
        FileNotFoundError: there is no such file.
    """
    text, target = found.groups()
    if (ROOT / "docs" / Path(page).parent / _up(found[0]) / target).exists():
        inside = (ROOT / "docs" / Path(page).parent / _up(found[0]) / target).resolve()
        if inside.is_relative_to(ROOT / "docs"):
            return found[0]
        name = inside.relative_to(ROOT).as_posix()
        return f"`{name}`" if text in name else f"{text} (`{name}`)"
    raise FileNotFoundError(f"{page}: {target} is not in the repository")


def _up(link: str) -> str:
    """The leading `../` of a link."""
    return "../" * link.count("../")


def reference() -> str:
    """Help of every command, as it is printed."""
    top = _help()
    names = re.findall(r"^│ ([a-z0-9-]+) ", top.partition("Commands")[2], re.MULTILINE)
    parts = [_block(top)]
    for name in names:
        text = _help(name)
        parts.append(f"## mobileq {name}\n\n{_block(text)}")
        _, found, inner = text.partition("─ Commands ─")
        if found:
            for below in re.findall(r"^│ ([a-z0-9-]+) ", inner, re.MULTILINE):
                shown = _block(_help(name, below))
                parts.append(f"### mobileq {name} {below}\n\n{shown}")
    return "\n\n".join(parts)


def _help(*command: str) -> str:
    """What `mobileq COMMAND --help` prints."""
    done = subprocess.run(
        [os.environ["MOBILEQ"], *command, "--help"],
        env={**os.environ, "COLUMNS": WIDTH, "TERMINAL_WIDTH": WIDTH, "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip("\n")


def _block(text: str) -> str:
    """Text as it stands."""
    lines = "\n".join(line.rstrip() for line in text.splitlines())
    return f'<div class="highlight"><pre><code>{html.escape(lines)}</code></pre></div>'
