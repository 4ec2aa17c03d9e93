"""A running ``understudy serve`` with clients that never stop asking, for tests and benches."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import psutil
from tests.loopback import free_port

from understudy.contract import CHAMPION

if TYPE_CHECKING:
    from tests.theatre import Theatre

BODY = {"dataframe_split": {"columns": ["x"], "data": [[1.5]]}}


class Serving:
    """A running ``understudy serve``, and clients that never stop asking."""

    def __init__(
        self, theatre: Theatre, model: str, log: Path, clients: int = 4, workers: int = 1
    ) -> None:
        self.theatre, self.model, self.log = theatre, model, log
        self.address = f"http://127.0.0.1:{free_port()}"
        command = [sys.executable, "-m", "understudy", "serve", model, "--env-manager=local"]
        command += [
            f"--port={self.address.rpartition(':')[2]}",
            "--poll=0.2",
            f"--workers={workers}",
        ]
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
        self.seconds: list[float] = []
        self._over = threading.Event()
        self._clients = [threading.Thread(target=self._ask) for _ in range(clients)]

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
                began = time.perf_counter()
                try:
                    answer = client.post("/invocations", json=BODY)
                except httpx.TransportError as error:
                    self.failures.append(repr(error))
                    continue
                self.seconds.append(time.perf_counter() - began)
                version = answer.headers.get("x-understudy-version", "")
                self.answers[answer.status_code, version] += 1
                if answer.json() != {"predictions": [{"x": 3.0}]}:
                    self.failures.append(answer.text)
