"""HTTP servers on loopback for tests and benchmarks: they answer while the block lasts."""

from __future__ import annotations

import http.client
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit


class QuietHandler(BaseHTTPRequestHandler):
    """Writes no line per request."""

    def log_message(self, *_arguments: object) -> None:
        """Say nothing."""


def free_port() -> int:
    """Return a port that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def answering(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    """Let a handler answer; yield the server's address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def serving(content: Mapping[str, bytes]) -> Iterator[str]:
    """Serve these bytes by path; yield the server's address."""

    class Files(QuietHandler):
        def do_GET(self) -> None:
            body = content.get(self.path)
            self.send_response(404 if body is None else 200)
            self.send_header("content-length", str(len(body or b"")))
            self.end_headers()
            self.wfile.write(body or b"")

    with answering(Files) as address:
        yield address


@contextmanager
def lossy(target: str, loses: Callable[[str], bool]) -> Iterator[str]:
    """Forward to ``target``, but drop the answers of paths that ``loses`` picks."""
    where = urlsplit(target)

    class Forward(QuietHandler):
        def _forward(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            onward = http.client.HTTPConnection(where.hostname or "", where.port)
            onward.request(self.command, self.path, body, dict(self.headers))
            answer = onward.getresponse()
            content = answer.read()
            onward.close()
            if loses(self.path):
                self.connection.close()
                return
            self.send_response(answer.status)
            self.send_header("content-type", answer.headers["content-type"])
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PATCH = do_PUT = do_DELETE = _forward  # noqa: N815

    with answering(Forward) as address:
        yield address


def first_time(part: str) -> Callable[[str], bool]:
    """Return a picker of the first path that contains ``part``."""
    seen: list[str] = []

    def pick(path: str) -> bool:
        if part in path and not seen:
            seen.append(path)
            return True
        return False

    return pick
