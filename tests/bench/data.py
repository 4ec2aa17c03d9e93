"""Serves the real wine-quality files on loopback, under the path of their public address."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from understudy.local.errors import StackError

PUBLIC = "/ml/machine-learning-databases/wine-quality"
FILES = ("winequality-red.csv", "winequality-white.csv")


def read(folder: Path) -> dict[str, bytes]:
    """Return the files by the path that they are served under.

    Raises:
        StackError: one of them is not there.
    """
    places = {f"{PUBLIC}/{name}": folder / "wine-quality" / name for name in FILES}
    lacking = [str(place) for place in places.values() if not place.is_file()]
    if lacking:
        raise StackError(
            f"The real data are not here: {', '.join(lacking)}",
            allowed=f"a folder with wine-quality/{FILES[0]} and wine-quality/{FILES[1]}",
            action="name it: make bench BENCH_ARGS='--data FOLDER'",
        )
    return {path: place.read_bytes() for path, place in places.items()}


@contextmanager
def serving(content: dict[str, bytes]) -> Iterator[str]:
    """Serve these bytes by path; yield the server's address."""

    class Files(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = content.get(self.path)
            self.send_response(404 if body is None else 200)
            self.send_header("content-length", str(len(body or b"")))
            self.end_headers()
            self.wfile.write(body or b"")

        def log_message(self, *_: Any) -> None:
            """Stay quiet."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Files)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
