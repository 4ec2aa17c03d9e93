"""A health check fails for what is not well, and says why. A real server on loopback answers."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from understudy.containers.health import ailment, main

pytestmark = pytest.mark.unit

REPORT = {
    "metadatabase": {"status": "healthy"},
    "scheduler": {"status": "unhealthy", "latest_scheduler_heartbeat": None},
    "triggerer": {"status": None},
}


class _Answers(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        content = {"/health": json.dumps(REPORT), "/page": "<html>"}.get(self.path)
        self.send_response(200 if content else 403)
        self.end_headers()
        self.wfile.write((content or "").encode())

    def log_message(self, *arguments: object) -> None:
        """Say nothing: pytest shows the assertion."""


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """Yield the address of a server that answers as Airflow's does."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Answers) as http:
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{http.server_port}"
        http.shutdown()
        thread.join()


@pytest.mark.parametrize(("path", "component"), [("/page", ""), ("/health", "metadatabase")])
def test_what_is_well_has_no_ailment(server: str, path: str, component: str) -> None:
    """An answer is enough, or the component's own word."""
    assert not ailment(server + path, component)
    assert main([server + path, component]) == 0


@pytest.mark.parametrize(
    ("path", "component", "reason"),
    [
        ("/forbidden", "", "403"),
        ("/health", "scheduler", "calls scheduler unhealthy"),
        ("/health", "triggerer", "calls triggerer absent"),
        ("/health", "dag_processor", "calls dag_processor absent"),
        ("/page", "scheduler", "no health report"),
    ],
)
def test_what_is_not_well_is_named(server: str, path: str, component: str, reason: str) -> None:
    """Docker keeps the reason with the container's state."""
    assert reason in ailment(server + path, component)
    assert main([server + path, component]) == 1


def test_nobody_there_is_an_ailment() -> None:
    """Port 9 is discard's, which nothing serves."""
    assert "does not answer" in ailment("http://127.0.0.1:9/health")


def test_every_address_must_answer(server: str) -> None:
    """The component is looked for at the last one."""
    assert main([f"{server}/page", f"{server}/health", "metadatabase"]) == 0
    assert main([f"{server}/forbidden", f"{server}/health", "metadatabase"]) == 1
    assert main([f"{server}/page", f"{server}/health", "scheduler"]) == 1


@pytest.mark.parametrize(
    "arguments", [[], ["scheduler"], ["http://a", "b", "c"], ["b", "http://a"]]
)
def test_a_mistyped_check_fails(arguments: list[str]) -> None:
    """Rather than being healthy for ever."""
    assert main(arguments) == 1
