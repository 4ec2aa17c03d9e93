"""Stands in for a Databricks workspace, as far as one-time job runs need it.

Faithful where it matters to us: a bearer token is asked for; bodies are read through the official
SDK's own models, so that a field that it does not know is refused; an idempotency token that was
seen gives the run that it made; a file is run as it was uploaded, with its arguments, on a "driver"
with variables of its own; output belongs to the task's run and not to the run around it; a run that
took too long is TIMEDOUT, one that was cancelled is CANCELED; an unknown run is a 400, as it is
there. Not there: clusters, policies, queues, libraries.
"""

from __future__ import annotations

import contextlib
import inspect
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from email.message import Message
from email.parser import BytesParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit

from databricks.sdk.service import compute, jobs

TOKEN = "dapi-t0k3n-of-the-workspace"  # noqa: S105 - of a server on loopback
USER = "trainer@acme.example"
FIELDS = frozenset(inspect.signature(jobs.JobsAPI.submit).parameters) - {"self"}
MODELS: dict[str, Any] = {
    "tasks": jobs.SubmitTask,
    "new_cluster": compute.ClusterSpec,
    "spark_python_task": jobs.SparkPythonTask,
    "libraries": compute.Library,
}


@dataclass
class JobRun:
    """One run with its one task, and the process that stands for its cluster."""

    run_id: int
    body: dict[str, Any]
    process: subprocess.Popen[bytes] | None
    log: Path
    began: float
    cancelled: bool = False
    timed_out: bool = False

    @property
    def task_run_id(self) -> int:
        """The id of the task's own run."""
        return self.run_id + 1

    def advance(self) -> None:
        """Let time end it."""
        limit = self.body.get("timeout_seconds")
        if limit and time.monotonic() - self.began > limit and self.alive():
            self.timed_out = True
            self.kill()

    def alive(self) -> bool:
        """Return whether the cluster is busy."""
        return self.process is not None and self.process.poll() is None

    def kill(self) -> None:
        """End the cluster."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def state(self) -> dict[str, Any]:
        """Return the state as the API has it."""
        self.advance()
        if self.process is None:
            said = "Waiting for cluster"
            return {"life_cycle_state": "PENDING", "state_message": said}
        if self.alive():
            return {"life_cycle_state": "RUNNING", "state_message": "In run"}
        result = "FAILED" if self.process.returncode else "SUCCESS"
        if self.cancelled or self.timed_out:
            result = "TIMEDOUT" if self.timed_out else "CANCELED"
        said = "Workload failed, see run output for details" if result == "FAILED" else ""
        return {"life_cycle_state": "TERMINATED", "result_state": result, "state_message": said}

    def to_dict(self) -> dict[str, Any]:
        """Return the run as the API has it."""
        name, state = self.body["run_name"], self.state()
        task = {"run_id": self.task_run_id, "task_key": self.body["tasks"][0]["task_key"]}
        return {
            "run_id": self.run_id, "run_name": name, "state": state,
            "tasks": [{**task, "state": state}],
        }  # fmt: skip


@dataclass
class Workspace:
    """The state of the workspace.

    Attributes:
        folder: Where uploaded files and logs are.
        address: Where it listens.
        runs: All runs by id.
        requests: Method and path of every request.
        lose_answers: So many submissions to come are done, and not answered.
        refuse_with: Status that every request gets; 0 for none.
        no_cluster: Whether clusters do not come up.
    """

    folder: Path
    address: str = ""
    runs: dict[int, JobRun] = field(default_factory=dict)
    tokens: dict[str, int] = field(default_factory=dict)
    requests: list[tuple[str, str]] = field(default_factory=list)
    lose_answers: int = 0
    refuse_with: int = 0
    no_cluster: bool = False
    lock: threading.RLock = field(default_factory=threading.RLock)

    def submit(self, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """Have a run."""
        if wrong := [name for name in body if name not in FIELDS] or list(_unknown_in(body)):
            return _error(400, "INVALID_PARAMETER_VALUE", f"unknown: {wrong}")
        token = body.get("idempotency_token", "")
        if len(token) > 64:
            return _error(400, "INVALID_PARAMETER_VALUE", "idempotency_token is too long")
        if token in self.tokens:
            return 200, {"run_id": self.tokens[token]}
        run_id = 1000 + 2 * len(self.runs)
        log = self.folder / f"{run_id}.log"
        process = None if self.no_cluster else self._driver(body["tasks"][0], log)
        self.runs[run_id] = JobRun(run_id, body, process, log, time.monotonic())
        self.tokens[token] = run_id
        return 200, {"run_id": run_id}

    def upload(self, path: str, content: bytes) -> tuple[int, dict[str, Any]]:
        """Keep a file of the workspace."""
        place = self.folder / path.lstrip("/")
        if not place.parent.is_dir():
            return _error(404, "RESOURCE_DOES_NOT_EXIST", f"no folder {place.parent.name}")
        place.write_bytes(content)
        return 200, {}

    def _driver(self, task: dict[str, Any], log: Path) -> subprocess.Popen[bytes]:
        program = task["spark_python_task"]
        file = self.folder / program["python_file"].removeprefix("/Workspace/")
        variables = task["new_cluster"].get("spark_env_vars", {})
        inside = {"PATH": os.defpath, "HOME": str(self.folder), **variables}
        with log.open("wb") as output:
            return subprocess.Popen(
                [sys.executable, str(file), *program["parameters"]],
                env=inside,
                cwd=self.folder,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )


def _unknown_in(body: dict[str, Any]) -> Iterator[str]:
    """Yield the fields that the SDK's models of tasks, clusters and libraries do not have."""
    for name, held in body.items():
        model = MODELS.get(name)
        for one in held if isinstance(held, list) else [held]:
            if model is not None:
                yield from (key for key in one if key not in model.__dataclass_fields__)
                yield from _unknown_in(one)


def _error(status: int, code: str, message: str) -> tuple[int, dict[str, Any]]:
    return status, {"error_code": code, "message": message}


class Handler(BaseHTTPRequestHandler):
    """Answers one request."""

    state: ClassVar[Workspace]
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Read."""
        self._answer()

    def do_POST(self) -> None:
        """Change."""
        self._answer()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base's name
        """Say nothing."""

    def _answer(self) -> None:
        self.content = self.rfile.read(int(self.headers.get("content-length") or 0))
        self.parts = urlsplit(self.path)
        self.query = {name: one[0] for name, one in parse_qs(self.parts.query).items()}
        with self.state.lock:
            self.state.requests.append((self.command, self.parts.path))
            status, answer = self._allowed() or self._route()()
            if self.state.lose_answers and self.parts.path.endswith("/submit"):
                self.state.lose_answers -= 1
                self.close_connection = True
                return
        data = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _allowed(self) -> tuple[int, dict[str, Any]] | None:
        if self.parts.path.startswith("/.well-known/"):
            return _error(404, "ENDPOINT_NOT_FOUND", self.parts.path)
        if self.headers.get("authorization") != f"Bearer {TOKEN}":
            return _error(403, "PERMISSION_DENIED", "Invalid access token")
        if self.state.refuse_with:
            return _error(self.state.refuse_with, "REFUSED", "by the test")
        return None

    def _route(self) -> Callable[[], tuple[int, dict[str, Any]]]:
        path = re.sub(r"^/api/2\.\d/", "", self.parts.path)
        return {
            "preview/scim/v2/Me": lambda: (200, {"userName": USER}),
            "workspace/mkdirs": self._mkdirs,
            "workspace/import": self._import,
            "jobs/runs/submit": lambda: self.state.submit(json.loads(self.content)),
            "jobs/runs/get": self._get,
            "jobs/runs/get-output": self._output,
            "jobs/runs/cancel": self._cancel,
            "jobs/runs/list": self._list,
        }.get(path, lambda: _error(404, "ENDPOINT_NOT_FOUND", path))

    def _mkdirs(self) -> tuple[int, dict[str, Any]]:
        path = json.loads(self.content)["path"]
        (self.state.folder / path.lstrip("/")).mkdir(parents=True, exist_ok=True)
        return 200, {}

    def _import(self) -> tuple[int, dict[str, Any]]:
        head = f"content-type: {self.headers['content-type']}\r\n\r\n".encode()
        message = BytesParser().parsebytes(head + self.content)
        parts = {_part_name(part): part.get_payload(decode=True) for part in message.walk()}
        path, content = parts["path"], parts["content"]
        assert isinstance(path, bytes)
        assert isinstance(content, bytes)
        return self.state.upload(path.decode(), content)

    def _get(self) -> tuple[int, dict[str, Any]]:
        run = self.state.runs.get(int(self.query["run_id"]))
        return (200, run.to_dict()) if run else self._no_run()

    def _no_run(self) -> tuple[int, dict[str, Any]]:
        said = f"Run {self.query['run_id']} does not exist."
        return _error(400, "INVALID_PARAMETER_VALUE", said)

    def _output(self) -> tuple[int, dict[str, Any]]:
        number = int(self.query["run_id"])
        for run in self.state.runs.values():
            if run.run_id == number:
                said = "Retrieving the output of runs with multiple tasks is not supported"
                return _error(400, "INVALID_PARAMETER_VALUE", said)
            if run.task_run_id == number:
                return 200, {"logs": run.log.read_text() if run.log.exists() else ""}
        return self._no_run()

    def _cancel(self) -> tuple[int, dict[str, Any]]:
        run = self.state.runs[json.loads(self.content)["run_id"]]
        run.cancelled = run.alive() or run.process is None
        run.kill()
        return 200, {}

    def _list(self) -> tuple[int, dict[str, Any]]:
        active = [run for run in self.state.runs.values() if "result_state" not in run.state()]
        return 200, {"runs": [run.to_dict() for run in active], "has_more": False}


def _part_name(part: Message) -> str:
    return str(part.get_param("name", header="content-disposition") or "")


@contextlib.contextmanager
def workspace(folder: Path) -> Iterator[Workspace]:
    """Serve a workspace on loopback; end what still runs in it afterwards."""
    state = Workspace(folder)
    handler = type("Bound", (Handler,), {"state": state})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    state.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
        for run in state.runs.values():
            run.kill()
