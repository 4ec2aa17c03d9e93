"""What Prometheus is told of nights, steps and champions, and the server that it asks.

The counters begin at zero with the process, as Prometheus expects of them; what happened before is
in MLflow. A pipeline's are there, at zero, as soon as it has a night: Prometheus sees no increase
in a counter that begins with one. A look costs three searches, and two more calls for a new
champion. Text and protocol are prometheus-client's.
"""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from socketserver import ThreadingMixIn
from typing import TYPE_CHECKING, Final
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    disable_created_metrics,
    make_wsgi_app,
)

from understudy.contract import CHAMPION, Kind, Outcome, Tag
from understudy.errors import UnderstudyError
from understudy.registry.history_log import HistoryLog
from understudy.store.tracking import RunStore, tracking_errors

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment

    from mlflow.entities import Run
    from mlflow.tracking import MlflowClient

_PAGE: Final = 1000
# A run's end may be stored after a later one's: each look reaches back that far, and what it has
# counted already is known by its id.
_OVERLAP_MS: Final = 60_000
_KINDS: Final = (Kind.NIGHT.value, Kind.STEP.value)


class Observer:
    """Counts what ended since the last look, and looks at every champion. Reads MLflow only.

    Args:
        client: Of the tracking server.
        begin_ms: What ended before this time (milliseconds since 1970) is not counted.

    Attributes:
        registry: All that is exported; times are in seconds since 1970, durations in seconds.

    Raises:
        TrackingUnavailableError: from ``look``, when the server does not answer.
    """

    def __init__(self, client: MlflowClient, begin_ms: int) -> None:
        self._client, self._log = client, HistoryLog(client, RunStore(client))
        self._begin_ms = self._newest_ms = begin_ms
        self._counted: dict[str, int] = {}
        self._known: set[str] = set()
        self._last_ms: dict[str, int] = {}
        # Version and since when, by registered model.
        self._champions: dict[str, tuple[str, float]] = {}
        # Otherwise each counter has a twin with the time at which it began.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        counter = functools.partial(Counter, namespace="understudy", registry=self.registry)
        gauge = functools.partial(Gauge, namespace="understudy", registry=self.registry)
        pipeline, model = ("pipeline",), ("model",)
        self._nights = counter("nights", "Nights that ended.", (*pipeline, "outcome"))
        self._verdicts = counter("verdicts", "Verdicts of gates.", (*pipeline, "verdict"))
        self._night_seconds = counter("night_seconds", "Duration of nights.", pipeline)
        self._last_night = gauge(
            "last_night_timestamp_seconds", "When the last night ended.", pipeline
        )
        self._steps = counter("steps", "Steps that ended.", (*pipeline, "step", "status"))
        self._step_seconds = counter("step_seconds", "Duration of steps.", (*pipeline, "step"))
        self._since = gauge(
            "champion_since_timestamp_seconds", "When the champion became champion.", model
        )
        self._version = gauge("champion_version", "Version number of the champion.", model)

    def look(self) -> None:
        """Bring the registry up to date."""
        with tracking_errors():
            experiments = [one.experiment_id for one in self._client.search_experiments()]
            self._meet([one for one in experiments if one not in self._known])
            for run in self._ended(experiments):
                self._count(run)
            self._champions = dict(self._look_at_champions())
        for gauge in (self._since, self._version):
            gauge.clear()
        for model, (version, since) in self._champions.items():
            self._since.labels(model).set(since)
            self._version.labels(model).set(float(version))

    def _meet(self, experiments: list[str]) -> None:
        """Begin the counters of pipelines that were not known."""
        if not experiments:
            return
        condition = f"tags.`{Tag.KIND}` = '{Kind.NIGHT}'"
        latest = self._client.search_runs(
            experiments, condition, max_results=_PAGE, order_by=["attributes.start_time DESC"]
        )
        for run in latest:
            self._known.add(str(run.info.experiment_id))
            pipeline = run.data.tags.get(Tag.PIPELINE.value, "")
            # To name the labels makes the counter, at zero.
            for outcome in Outcome:
                self._nights.labels(pipeline, outcome.value)
            self._ended_at(pipeline, run.info.end_time)

    def _ended_at(self, pipeline: str, end_ms: int | None) -> None:
        if end_ms and end_ms > self._last_ms.get(pipeline, 0):
            self._last_ms[pipeline] = end_ms
            self._last_night.labels(pipeline).set(end_ms / 1000)

    def _ended(self, experiments: list[str]) -> Iterator[Run]:
        """Yield each run of ours that ended since the last look, once."""
        since = max(self._begin_ms, self._newest_ms - _OVERLAP_MS)
        condition = f"attributes.end_time >= {since}"
        token: str | None = None
        while experiments:
            page = self._client.search_runs(
                experiments, condition, max_results=_PAGE, page_token=token
            )
            for run in page:
                run_id, end = str(run.info.run_id), int(run.info.end_time or 0)
                is_ours = run.data.tags.get(Tag.KIND.value) in _KINDS
                if is_ours and run_id not in self._counted and end:
                    self._counted[run_id] = end
                    # A machine whose clock is ahead must not hide all that ends after it.
                    self._newest_ms = max(self._newest_ms, min(end, int(time.time() * 1000)))
                    yield run
            token = page.token
            if not token:
                break
        # Ids are forgotten when no look reaches back to their runs any more: memory stays bounded.
        horizon = self._newest_ms - 2 * _OVERLAP_MS
        self._counted = {run: end for run, end in self._counted.items() if end >= horizon}

    def _count(self, run: Run) -> None:
        tags = run.data.tags
        pipeline = tags.get(Tag.PIPELINE.value, "")
        seconds = (run.info.end_time - run.info.start_time) / 1000
        if tags[Tag.KIND.value] == Kind.STEP:
            entry_point = tags.get(Tag.ENTRY_POINT.value, "")
            self._steps.labels(pipeline, entry_point, run.info.status).inc()
            self._step_seconds.labels(pipeline, entry_point).inc(seconds)
            return
        # A night that was swept up has no outcome: MLflow's status (KILLED) is all that is known.
        outcome = tags.get(Tag.OUTCOME.value, run.info.status)
        self._nights.labels(pipeline, outcome).inc()
        self._night_seconds.labels(pipeline).inc(seconds)
        self._ended_at(pipeline, run.info.end_time)
        if verdict := tags.get(Tag.VERDICT.value):
            self._verdicts.labels(pipeline, verdict).inc()

    def _look_at_champions(self) -> Iterator[tuple[str, tuple[str, float]]]:
        token: str | None = None
        while True:
            page = self._client.search_registered_models(max_results=_PAGE, page_token=token)
            for model in page:
                version = model.aliases.get(CHAMPION)
                if version is not None:
                    yield model.name, (str(version), self._champion_since(model.name, str(version)))
            token = page.token
            if not token:
                return

    def _champion_since(self, model: str, version: str) -> float:
        """Return the time of the history, or of registration where the alias was set in MLflow."""
        # A version's time as champion does not change while it is one: two calls less a look.
        known = self._champions.get(model)
        if known is not None and known[0] == version:
            return known[1]
        moves = self._log.tail(model).history.moves
        if moves and moves[-1].move.after == version:
            return datetime.fromisoformat(moves[-1].move.at).timestamp()
        return float(self._client.get_model_version(model, version).creation_timestamp) / 1000


class _Server(ThreadingMixIn, WSGIServer):
    """A slow reader keeps no other waiting."""

    daemon_threads = True


class _Handler(WSGIRequestHandler):
    """Says nothing of each question."""

    def log_message(self, *arguments: object) -> None:
        """Write nothing."""


def server(
    address: tuple[str, int], registry: CollectorRegistry, look: Callable[[], None], age: float
) -> WSGIServer:
    """Return a server of ``/metrics``; a tracking server that is away is answered with 503.

    Args:
        address: Host and port.
        registry: What is served.
        look: Brings it up to date, when somebody asks.
        age: Seconds for which one look is good.
    """
    metrics, looked = make_wsgi_app(registry), float("-inf")
    # Each request has a thread of its own; without the lock every one of them would search MLflow,
    # and two would count the same runs.
    lock = threading.Lock()

    def answer(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        nonlocal looked
        with lock:
            try:
                if time.monotonic() - looked > age:
                    look()
                    looked = time.monotonic()
            except UnderstudyError as error:
                kind = [("Content-Type", "text/plain; charset=utf-8")]
                start_response("503 Service Unavailable", kind)
                return [f"{error}\n".encode()]
            body: Iterable[bytes] = metrics(environ, start_response)
            return body

    return make_server(*address, answer, server_class=_Server, handler_class=_Handler)
