"""``understudy serve`` under load, on a real MLflow server: no request fails at a change."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import psutil
import pytest
from tests.integration.conftest import free_port
from tests.theatre import servers_of

from understudy.contract import CHAMPION

if TYPE_CHECKING:
    from tests.theatre import Theatre

pytestmark = pytest.mark.integration
BODY = {"dataframe_split": {"columns": ["x"], "data": [[1.5]]}}


class Serving:
    """A running ``understudy serve``, and clients that never stop asking."""

    def __init__(self, theatre: Theatre, model: str, log: Path) -> None:
        self.theatre, self.model, self.log = theatre, model, log
        self.address = f"http://127.0.0.1:{free_port()}"
        command = [sys.executable, "-m", "understudy", "serve", model, "--env-manager=local"]
        command += [f"--port={self.address.rpartition(':')[2]}", "--poll=0.2"]
        variables = {
            "MLFLOW_TRACKING_URI": theatre.client.tracking_uri,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "TMPDIR": str(log.parent),
        }
        with log.open("wb") as out:
            self.process = subprocess.Popen(
                command,
                env={**os.environ, **variables},
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.answers: Counter[tuple[int, str]] = Counter()
        self.failures: list[str] = []
        self._over = threading.Event()
        self._clients = [threading.Thread(target=self._ask) for _ in range(4)]

    def champion(self, version: str) -> None:
        """Move the alias, and wait until the new version answers."""
        self.theatre.client.set_registered_model_alias(self.model, CHAMPION, version)
        self.eventually(lambda: self.get("/champion").get("version") == version)

    def get(self, path: str) -> dict[str, Any]:
        """Return what the front says, or nothing while it does not listen."""
        try:
            found: dict[str, Any] = httpx.get(self.address + path, trust_env=False).json()
        except httpx.TransportError:
            return {}
        return found

    def eventually(self, condition: Callable[[], bool], seconds: float = 240) -> None:
        """Wait for a condition."""
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, self.log.read_text()[-5000:]
            assert self.process.poll() is None, self.log.read_text()[-5000:]
            time.sleep(0.1)

    def load(self) -> None:
        """Let the clients begin."""
        for client in self._clients:
            client.start()

    def unload(self) -> None:
        """Let the clients end."""
        self._over.set()
        for client in self._clients:
            client.join()

    def servers(self) -> list[int]:
        """Return the processes that predict."""
        found = []
        for child in psutil.Process(self.process.pid).children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):  # it may just have ended
                line = " ".join(child.cmdline())
                if "serve_model.py" in line and "guardian.py" not in line:
                    found.append(child.pid)
        return found

    def _ask(self) -> None:
        """Ask again and again, on one connection."""
        with httpx.Client(base_url=self.address, timeout=120, trust_env=False) as client:
            while not self._over.is_set():
                try:
                    answer = client.post("/invocations", json=BODY)
                except httpx.TransportError as error:
                    self.failures.append(repr(error))
                    continue
                version = answer.headers.get("x-understudy-version", "")
                self.answers[answer.status_code, version] += 1
                if answer.json() != {"predictions": [{"x": 3.0}]}:
                    self.failures.append(answer.text)


@pytest.fixture(scope="module")
def serving(theatre: Theatre, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """Serve a model with three good versions, and a fourth without files."""
    client, model = theatre.client, f"served {uuid.uuid4().hex[:8]}"
    source = client.get_model_version(theatre.model, "1").source
    client.create_registered_model(model)
    for _ in range(3):
        client.create_model_version(model, source, model_id=source.rpartition("/")[2])
    run_id = theatre.run()
    client.create_model_version(model, f"runs:/{run_id}/nothing", run_id)
    made = Serving(theatre, model, tmp_path_factory.mktemp("serve") / "serve.log")
    try:
        yield made
    finally:
        if made.process.poll() is None:
            made.process.kill()
            made.process.wait()


def test_without_a_champion_it_says_so(serving: Serving) -> None:
    """Not up, and not silent; clients are told to come again."""
    serving.eventually(lambda: serving.get("/champion") != {})
    assert serving.get("/champion") == {"model": serving.model, "version": None}
    assert httpx.get(f"{serving.address}/ping", trust_env=False).status_code == 503
    answer = httpx.post(f"{serving.address}/invocations", json=BODY, trust_env=False)
    assert answer.status_code == 503
    assert answer.headers["retry-after"]
    serving.eventually(lambda: "has no champion" in serving.log.read_text())


def test_curl_gets_a_prediction(serving: Serving) -> None:
    """By MLflow's own protocol, from the version that is champion."""
    serving.champion("1")
    asked = ["curl", "--silent", "--fail", "--noproxy", "*", "--header"]
    asked += ["content-type: application/json", "--data"]
    asked += ['{"inputs": {"x": [1.5]}}', f"{serving.address}/invocations"]
    done = subprocess.run(asked, capture_output=True, text=True, check=True)
    assert done.stdout == '{"predictions": [{"x": 3.0}]}'
    assert httpx.get(f"{serving.address}/ping", trust_env=False).is_success
    assert httpx.get(f"{serving.address}/version", trust_env=False).text == "3.17.2"
    refused = httpx.post(f"{serving.address}/invocations", json={"rows": 1}, trust_env=False)
    assert refused.status_code == 400
    assert refused.json()["error_code"]


def test_no_request_fails_while_champions_change(serving: Serving) -> None:
    """Four clients ask without a pause while the alias moves, and a server is killed."""
    serving.load()
    serving.champion("2")
    serving.champion("3")
    serving.eventually(lambda: len(serving.servers()) == 1)
    (server,) = serving.servers()
    os.kill(server, signal.SIGKILL)
    serving.eventually(lambda: server not in serving.servers() and bool(serving.servers()))
    serving.champion("1")
    serving.unload()
    assert serving.failures == []
    assert {status for status, _ in serving.answers} == {200}
    assert {version for _, version in serving.answers} == {"1", "2", "3"}
    assert sum(serving.answers.values()) > 100


def test_a_champion_that_does_not_load_leaves_the_old_one(serving: Serving) -> None:
    """Loudly: in the log, and for whoever asks which version it is."""
    serving.theatre.client.set_registered_model_alias(serving.model, CHAMPION, "4")
    serving.eventually(lambda: "refused" in serving.get("/champion"))
    facts = serving.get("/champion")
    assert facts["version"] == "1"
    assert facts["refused"]["version"] == "4"
    assert "cannot be had" in facts["refused"]["reason"]
    assert "did not come up; version 1 goes on serving" in serving.log.read_text()
    assert httpx.post(f"{serving.address}/invocations", json=BODY, trust_env=False).is_success


def test_it_ends_with_all_that_it_started(serving: Serving) -> None:
    """On TERM, as from systemd or Docker."""
    servers = serving.servers()
    serving.process.terminate()
    assert serving.process.wait(60) == 0
    assert not any(psutil.pid_exists(pid) for pid in servers)
    assert servers_of(serving.theatre) == []
