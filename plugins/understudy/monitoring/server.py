"""Answers Prometheus over HTTP. A look at MLflow is taken when asked, and not oftener than set."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final

from understudy.errors import UnderstudyError
from understudy.monitoring.exposition import CONTENT_TYPE

_PATH: Final = "/metrics"


class Page:
    """The document, as old as it may be.

    Args:
        document: Makes it anew.
        age: Seconds for which one document is good.
    """

    def __init__(self, document: Callable[[], str], age: float) -> None:
        self._document, self._age = document, age
        self._lock = threading.Lock()
        self._made = float("-inf")
        self._text = ""

    def text(self) -> str:
        """Return the document; of several who ask at once, one waits for MLflow."""
        with self._lock:
            if time.monotonic() - self._made > self._age:
                self._text = self._document()
                self._made = time.monotonic()
            return self._text


def server(address: tuple[str, int], page: Page) -> ThreadingHTTPServer:
    """Return a server of ``/metrics``; a tracking server that is away is answered with 503."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path != _PATH:
                self._answer(404, f"Only {_PATH} is here.\n")
                return
            try:
                self._answer(200, page.text())
            except UnderstudyError as error:
                self._answer(503, f"{error}\n")

        def _answer(self, status: int, text: str) -> None:
            body = text.encode()
            self.send_response(status)
            self.send_header("Content-Type", CONTENT_TYPE)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: object) -> None:
            """Say nothing of each question."""

    return ThreadingHTTPServer(address, Handler)
