"""A data server on loopback that can break off, refuse to resume, and answer with errors."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tests.loopback import QuietHandler


@dataclass
class Answer:
    """What the server says to one path.

    Attributes:
        body: the whole file.
        status: of an answer without body.
        kind: Content-Type.
        cuts: for each request in turn, after how many bytes the connection breaks.
        resumable: whether Range is honoured.
        seen: the Range header of each request, '' for none.
    """

    body: bytes = b""
    status: int = 200
    kind: str = "text/csv"
    cuts: list[int] = field(default_factory=list)
    resumable: bool = True
    seen: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class DataServer:
    """A real HTTP server on loopback; `answers` maps a path to what it says."""

    url: str
    answers: dict[str, Answer]

    def serve(self, path: str, body: bytes = b"", **how: Any) -> str:
        """Serve a body and return its URL."""
        self.answers[path] = Answer(body, **how)
        return self.url + path


class Handler(QuietHandler):
    """Answers GET from a table; a server makes a subclass with its own."""

    answers: dict[str, Answer]

    def do_GET(self) -> None:  # noqa: N802 -- the name http.server calls
        """Answer as the table says."""
        answer = self.answers.get(self.path.partition("?")[0], Answer(status=404))
        asked = self.headers.get("Range", "")
        answer.seen.append(asked)
        if answer.status != 200:
            self.send_error(answer.status)
            return
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and answer.resumable else 0
        self.send_response(206 if start else 200)
        self.send_header("Content-Type", answer.kind)
        self.send_header("ETag", '"fixed"')
        self.send_header("Content-Length", str(len(answer.body) - start))
        self.end_headers()
        end = answer.cuts.pop(0) if answer.cuts else len(answer.body)
        self.wfile.write(answer.body[start:end])
