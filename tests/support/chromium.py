"""A page in a real browser: what it complains about, and what it asks for."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

CHROMIUM = os.environ.get("MOBILEQ_CHROMIUM") or shutil.which("chromium")
in_chromium = pytest.mark.skipif(
    CHROMIUM is None,
    reason="no chromium on PATH, and MOBILEQ_CHROMIUM does not name one",
)
NO_PAGE = "not an origin"
"""What the browser's log has as initiator of its own requests."""

QUIET = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--enable-logging=stderr", "--disable-dev-shm-usage",
)  # fmt: skip


def chromium(tmp_path: Path, target: Path | str, *flags: str) -> tuple[str, str]:
    """Open a file in a fresh browser.

    Args:
        tmp_path: Where its profile goes.
        target: The file, or an address on this machine.
        flags: What to do with it.

    Returns:
        What it wrote to stdout and stderr.
    """
    assert CHROMIUM is not None
    address = target if isinstance(target, str) else target.as_uri()
    done = subprocess.run(
        [CHROMIUM, *QUIET, f"--user-data-dir={tmp_path / 'profile'}", *flags,
         address],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr


def written(tmp_path: Path, content: bytes) -> Path:
    """The page as a file."""
    path = tmp_path / "report.html"
    path.write_bytes(content)
    return path


def console(stderr: str) -> list[str]:
    """What the page made the browser complain about."""
    return [line for line in stderr.splitlines() if "CONSOLE" in line]


@contextmanager
def served(content: bytes) -> Iterator[tuple[str, list[str]]]:
    """A server on this machine that gives the same page at every address.

    Args:
        content: The page.

    Yields:
        Its address, and what was asked for, as it comes.
    """
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Nothing: the test looks at `asked`."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        server.server_close()


def asked_for(tmp_path: Path, content: bytes) -> tuple[list[str], list[str], str]:
    """What a page asks for when it is opened.

    Args:
        tmp_path: For the browser's profile and its log of the network.
        content: The page.

    Returns:
        Paths that were asked of its own server; addresses that the page, and not the
        browser itself, asked for; what the browser wrote to stderr.
    """
    log = tmp_path / "net.json"
    with served(content) as (address, paths):
        _, errors = chromium(
            tmp_path, f"{address}/report.html", f"--log-net-log={log}", "--dump-dom"
        )
    text = log.read_text(encoding="utf-8", errors="replace")
    # The browser's own requests (its clock, its account) have no page as initiator.
    own = [
        params["url"]
        for params in (event.get("params", {}) for event in json.loads(text)["events"])
        if "url" in params and params.get("initiator", NO_PAGE) != NO_PAGE
    ]
    return paths, own, errors
