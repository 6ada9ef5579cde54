"""A web server on this machine that misbehaves as it is told."""

from __future__ import annotations

import re
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Answer:
    """How one request is answered; by default as it should be.

    Attributes:
        status: sent instead of 200 or 206, with a short text as its body.
        cut: the connection ends after so many bytes of the body.
        ignore_range: send everything, whatever was asked for.
        ignore_if_range: send the range even of another version of the file.
        length_error: added to the Content-Length.
        shift: the range begins so many bytes later than asked, and says so.
        total_error: added to the file's size in the Content-Range.
        body: sent instead of the file.
        headers: sent in addition.
        pause: seconds of silence after `cut` bytes, before the connection ends.
    """

    status: int = 0
    cut: int | None = None
    ignore_range: bool = False
    ignore_if_range: bool = False
    length_error: int = 0
    shift: int = 0
    total_error: int = 0
    body: bytes | None = None
    headers: tuple[tuple[str, str], ...] = ()
    pause: float = 0.0


@dataclass
class Request:
    """One request as it came: file, Range, all headers; bytes of the body it was given.

    `served` is set before they are sent.
    """

    name: str
    range: str
    headers: dict[str, str]
    served: int = 0


@dataclass
class Server:
    """State of the server.

    Attributes:
        url: address of the folder.
        files: contents by name.
        tags: ETags by name.
        answers: of the next requests for archives of images, in order; once there are
            none left, all is well.
        requests: all that came.
        gate: closed, a body stops after `gate_bytes` until it opens.
    """

    url: str
    files: dict[str, bytes] = field(repr=False)
    tags: dict[str, str] = field(default_factory=dict)
    answers: deque[Answer] = field(default_factory=deque)
    requests: list[Request] = field(default_factory=list)
    gate: threading.Event = field(default_factory=threading.Event)
    gate_bytes: int | None = None

    def of(self, name: str) -> list[Request]:
        """Return the requests for one file."""
        return [request for request in self.requests if request.name == name]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    state: Server
    request_seen: Request

    def log_message(self, format: str, *args: Any) -> None:
        """Stay silent."""

    def do_GET(self) -> None:
        """Answer as the state says."""
        name = self.path.partition("?")[0].rpartition("/")[2]
        queue = self.state.answers
        answer = queue.popleft() if queue and name.endswith("_x.h5.gz") else Answer()
        self.close_connection = True
        asked, headers = self.headers.get("Range", ""), dict(self.headers.items())
        self.request_seen = Request(name, asked, headers)
        self.state.requests.append(self.request_seen)
        with suppress(BrokenPipeError, ConnectionResetError):
            self._send(name, answer)

    def _send(self, name: str, answer: Answer) -> None:
        content = self.state.files.get(name)
        if answer.status or content is None:
            return self._short(answer.status or 404, answer, b"something is wrong\n")
        if answer.body is not None:
            return self._short(200, answer, answer.body)
        start = 0 if answer.ignore_range else self._start(name, answer)
        if start >= len(content) > 0 and start:
            return self._short(416, answer, b"")
        first = start + answer.shift
        body = content[first:]
        self.send_response(206 if start else 200)
        if start:
            total = len(content) + answer.total_error
            span = f"bytes {first}-{len(content) - 1}/{total}"
            self.send_header("Content-Range", span)
        if tag := self.state.tags.get(name):
            self.send_header("ETag", tag)
        self._body(body, answer)
        return None

    def _start(self, name: str, answer: Answer) -> int:
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        condition = self.headers.get("If-Range")
        changed = condition is not None and condition != self.state.tags.get(name)
        if asked is None or (changed and not answer.ignore_if_range):
            return 0
        return int(asked[1])

    def _short(self, status: int, answer: Answer, body: bytes) -> None:
        self.send_response(status)
        self._body(body, answer)

    def _body(self, body: bytes, answer: Answer) -> None:
        for key, value in answer.headers:
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(body) + answer.length_error))
        self.send_header("Connection", "close")
        self.end_headers()
        body = body if answer.cut is None else body[: answer.cut]
        self.request_seen.served = len(body)
        gate = self.state.gate_bytes
        if gate is not None and not self.state.gate.is_set():
            self.wfile.write(body[:gate])
            self.state.gate.wait(30)
            self.wfile.write(body[gate:])
        else:
            self.wfile.write(body)
        if answer.pause:
            self.state.gate.wait(answer.pause)


@contextmanager
def serve(files: dict[str, bytes], port: int = 0) -> Iterator[Server]:
    """Serve `files` in a thread until the block ends; port 0 is any free one."""
    state = Server("", files)
    handler = type("Handler", (_Handler,), {"state": state})
    server = ThreadingHTTPServer(("127.0.0.1", port), handler)
    state.url = f"http://127.0.0.1:{server.server_address[1]}/folder"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield state
    finally:
        state.gate.set()
        server.shutdown()
        server.server_close()
        thread.join()
