"""Answers Prometheus over HTTP, in its text format, version 0.0.4.

MLflow is looked at when asked, and not oftener than set.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final

from understudy.errors import UnderstudyError
from understudy.monitoring.figures import Figures

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
_LABELS: Final = {
    "nights_total": ("pipeline", "outcome"),
    "verdicts_total": ("pipeline", "verdict"),
    "night_seconds_total": ("pipeline",),
    "last_night_timestamp_seconds": ("pipeline",),
    "steps_total": ("pipeline", "step", "status"),
    "step_seconds_total": ("pipeline", "step"),
    "champion_since_timestamp_seconds": ("model",),
    "champion_version": ("model",),
}
"""Names of the labels of each metric, in the order of the keys of `Figures`."""


def exposition(figures: Figures) -> str:
    """Return the document that Prometheus reads."""
    figures_by_head: dict[str, Mapping[tuple[str, ...], float]] = {
        "nights_total counter Nights that ended.": figures.nights,
        "verdicts_total counter Verdicts of gates.": figures.verdicts,
        "night_seconds_total counter Duration of nights.": figures.night_seconds,
        "last_night_timestamp_seconds gauge When the last night ended.": figures.last_night,
        "steps_total counter Steps that ended.": figures.steps,
        "step_seconds_total counter Duration of steps.": figures.step_seconds,
        "champion_since_timestamp_seconds gauge When the champion became champion.": {
            (model,): one.since for model, one in figures.champions.items()
        },
        "champion_version gauge Version number of the champion.": {
            (model,): float(one.version) for model, one in figures.champions.items()
        },
    }
    lines = (
        line
        for head, values in figures_by_head.items()
        for line in _metric(head, _LABELS[head.split(" ", 1)[0]], values)
    )
    return "".join(f"{line}\n" for line in lines)


def _metric(
    head: str, labels: Sequence[str], samples: Mapping[tuple[str, ...], float]
) -> Iterator[str]:
    name, kind, text = head.split(" ", 2)
    yield f"# HELP understudy_{name} {text}"
    yield f"# TYPE understudy_{name} {kind}"
    # Sorted, so that two readings can be compared by eye; Prometheus does not mind.
    for values, number in sorted(samples.items()):
        # Prometheus' text format escapes these three characters in the value of a label, the
        # backslash first: the others bring one.
        escaped = (
            value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n") for value in values
        )
        inside = ",".join(
            f'{label}="{value}"' for label, value in zip(labels, escaped, strict=True)
        )
        yield f"understudy_{name}{{{inside}}} {number!r}"


_PATH: Final = "/metrics"


class Page:
    """The document, as old as it may be.

    Args:
        document: Makes it anew.
        age: Seconds for which one document is good.
    """

    def __init__(self, document: Callable[[], str], age: float) -> None:
        self._document, self._age = document, age
        # Each request has a thread of its own; without the lock every one of them would search
        # MLflow, and two would count the same runs.
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
