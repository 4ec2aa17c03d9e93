"""An MLflow server of a bench's own that can be killed, started again, and run out of disk."""

from __future__ import annotations

import os
import resource
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import psutil

_LIMIT = 600.0  # seconds for a start; the machine may be busy
_QUIET = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}


class TrackingServer:
    """One server on SQLite, on loopback, always on the same port."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = int(probe.getsockname()[1])
        self._process: subprocess.Popen[bytes] | None = None
        self.address = f"http://127.0.0.1:{self._port}"

    def start(self) -> None:
        """Start it; returns when it answers."""
        command = [sys.executable, "-m", "mlflow", "server", "--host=127.0.0.1", "--workers=1"]
        command += [
            f"--port={self._port}",
            f"--backend-store-uri=sqlite:///{self._folder}/mlflow.db",
        ]
        command += [f"--artifacts-destination={self._folder}/artifacts", "--serve-artifacts"]
        with (self._folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                command,
                env={**os.environ, **_QUIET},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        end = time.monotonic() + _LIMIT
        while not self._answers():
            if time.monotonic() > end:
                raise TimeoutError(self.address)
            time.sleep(0.2)

    def kill(self) -> None:
        """End it without a word, with all its workers."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def freeze(self) -> None:
        """Let it take connections and answer none, until it is killed."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGSTOP)

    def fill_disk(self) -> None:
        """Let no file of the server grow any more, as on a full disk."""
        self._limit(max(path.stat().st_size for path in self._folder.glob("mlflow.db*")))

    def free_disk(self) -> None:
        """Let files grow again."""
        self._limit(resource.RLIM_INFINITY)

    def _limit(self, size: int) -> None:
        if self._process is None:
            return
        root = psutil.Process(self._process.pid)
        for process in (root, *root.children(recursive=True)):
            _, hard = resource.prlimit(process.pid, resource.RLIMIT_FSIZE)
            resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (size, hard))

    def _answers(self) -> bool:
        try:
            return httpx.get(f"{self.address}/health", trust_env=False).is_success
        except httpx.TransportError:
            return False
