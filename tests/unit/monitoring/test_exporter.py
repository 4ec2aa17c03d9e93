"""Prometheus can read what it is told, also while the tracking server is away."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPConnection

import pytest
from mlflow.tracking import MlflowClient
from prometheus_client import CollectorRegistry, Gauge

from understudy.errors import TrackingUnavailableError
from understudy.monitoring.exporter import Observer, server

pytestmark = pytest.mark.unit


@contextmanager
def asked(
    registry: CollectorRegistry, look: Callable[[], None], age: float
) -> Iterator[Callable[[], tuple[int, str]]]:
    """Serve a registry; give what asks for it."""
    with server(("127.0.0.1", 0), registry, look, age) as http:
        thread = threading.Thread(target=http.serve_forever, args=(0.05,))
        thread.start()

        def ask() -> tuple[int, str]:
            connection = HTTPConnection("127.0.0.1", http.server_port, timeout=30)
            connection.request("GET", "/metrics")
            answer = connection.getresponse()
            status, text = answer.status, answer.read().decode()
            connection.close()
            return status, text

        try:
            yield ask
        finally:
            http.shutdown()
            thread.join()


def test_each_metric_has_a_type_though_it_has_no_sample() -> None:
    """So that a dashboard of a new stack shows no error; and none has a twin of its beginning."""
    observer = Observer(MlflowClient("http://127.0.0.1:1"), 0)
    with asked(observer.registry, lambda: None, 60) as ask:
        status, text = ask()
    assert status == 200
    assert text.count("# TYPE understudy_") == text.count("# HELP understudy_") == 8
    assert "# TYPE understudy_nights_total counter" in text
    assert "_created" not in text


def test_one_look_is_good_for_a_while_and_none_that_failed() -> None:
    """Two who ask at once make one look; a server that is away is a 503 with its reason."""
    registry, looks, away = CollectorRegistry(), list[int](), [True]
    gauge = Gauge("looks", "How many.", registry=registry)

    def look() -> None:
        if away[0]:
            raise TrackingUnavailableError("No answer", allowed="one", action="start it")
        looks.append(1)
        gauge.set(len(looks))

    with asked(registry, look, 60) as ask:
        status, text = ask()
        assert (status, text) == (503, "No answer. Allowed: one. Next: start it.\n")
        away[0] = False
        answers = {ask() for _ in range(3)}
    assert len(looks) == 1
    ((status, text),) = answers
    assert status == 200
    assert "looks 1.0" in text
