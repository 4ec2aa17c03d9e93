"""Answers Prometheus over HTTP, in its text format, version 0.0.4.

MLflow is looked at when asked, and not oftener than set.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final

from understudy.errors import UnderstudyError
from understudy.monitoring.figures import Figures

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
_Samples = Iterable[tuple[Sequence[str], float]]


def exposition(figures: Figures) -> str:
    """Return the document that Prometheus reads."""
    return "".join(f"{line}\n" for line in _lines(figures))


def _lines(figures: Figures) -> Iterator[str]:
    yield from _metric(
        "nights_total counter Nights that ended.", ("pipeline", "outcome"), _all(figures.nights)
    )
    yield from _metric(
        "verdicts_total counter Verdicts of gates.", ("pipeline", "verdict"), _all(figures.verdicts)
    )
    yield from _metric(
        "night_seconds_total counter Duration of nights.",
        ("pipeline",),
        _all(figures.night_seconds),
    )
    yield from _metric(
        "last_night_timestamp_seconds gauge When the last night ended.",
        ("pipeline",),
        _all(figures.last_night),
    )
    yield from _metric(
        "steps_total counter Steps that ended.",
        ("pipeline", "step", "status"),
        _all(figures.steps),
    )
    yield from _metric(
        "step_seconds_total counter Duration of steps.",
        ("pipeline", "step"),
        _all(figures.step_seconds),
    )
    champions = sorted(figures.champions.items())
    yield from _metric(
        "champion_since_timestamp_seconds gauge When the champion became champion.",
        ("model",),
        [((model,), one.since) for model, one in champions],
    )
    yield from _metric(
        "champion_version gauge Version number of the champion.",
        ("model",),
        [((model,), float(one.version)) for model, one in champions],
    )


def _all(values: Mapping[tuple[str, ...], float]) -> _Samples:
    return sorted(values.items())


def _metric(head: str, labels: Sequence[str], samples: _Samples) -> Iterator[str]:
    name, kind, text = head.split(" ", 2)
    yield f"# HELP understudy_{name} {text}"
    yield f"# TYPE understudy_{name} {kind}"
    for values, number in samples:
        pairs = zip(labels, values, strict=True)
        inside = ",".join(f'{label}="{_escaped(value)}"' for label, value in pairs)
        yield f"understudy_{name}{{{inside}}} {number!r}"


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


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
