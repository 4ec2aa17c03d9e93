"""Fixtures of the tabular project's tests: a loopback data server and frames of rows."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

ROOT = Path(__file__).resolve().parents[2]
PROJECT = ROOT / "mlproject" / "tabular"
# The package lives beside its MLproject, which MLflow makes the working folder of a step.
sys.path.insert(0, str(PROJECT))


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


class _Handler(BaseHTTPRequestHandler):
    answers: dict[str, Answer]

    def do_GET(self) -> None:
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

    def log_message(self, *_arguments: object) -> None:
        """Say nothing."""


@pytest.fixture
def data_server() -> Iterator[DataServer]:
    """Return a running server; it ends with the test."""
    answers: dict[str, Answer] = {}
    handler = type("Handler", (_Handler,), {"answers": answers})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield DataServer(f"http://127.0.0.1:{server.server_port}", answers)
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(autouse=True)
def no_mirror(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no mirror of the machine's own into a test."""
    monkeypatch.delenv("UNDERSTUDY_DATA_MIRROR", raising=False)


@pytest.fixture(scope="session")
def test_data() -> Path:
    """Return the folder of real data, or skip."""
    folder = Path(os.environ.get("UNDERSTUDY_TEST_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"the real data is not here: {folder} (set UNDERSTUDY_TEST_DATA)")
    return folder


@pytest.fixture
def csv_file(tmp_path: Path) -> Callable[[str], Path]:
    """Return a function that writes a CSV file and returns its path."""

    def write(text: str, name: str = "rows.csv") -> Path:
        path = tmp_path / name
        path.write_bytes(text.encode())
        return path

    return write


@pytest.fixture
def frame() -> pd.DataFrame:
    """Return forty small rows: an id, a number, a text, a target."""
    rows = range(40)
    return pd.DataFrame(
        {
            "id": list(rows),
            "size": [row * 0.5 for row in rows],
            "colour": [["red", "blue"][row % 2] for row in rows],
            "price": [3.0 * row + row % 3 for row in rows],
        }
    )
