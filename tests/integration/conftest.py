"""Real servers for integration tests: each is started once, on loopback, and ended afterwards."""

from __future__ import annotations

import io
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import uuid
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from mlflow.tracking import MlflowClient
from tests.fixtures.loopback import free_port, serving
from tests.fixtures.nights import Pipeline, gathered_here
from tests.fixtures.rehearsal import RehearsalSetup as Theatre
from tests.fixtures.rehearsal import set_up as opened

from understudy.judging.gathering import Gatherer
from understudy.local import record
from understudy.local.place import Place
from understudy.local.stack import Stack
from understudy.tracking import RunStore

START_LIMIT = 120  # seconds
ROOT = Path(__file__).parents[2]
REAL_DATA = Path(os.environ.get("UNDERSTUDY_TEST_DATA", ROOT.parent / "shared" / "data"))
WINE = "/ml/machine-learning-databases/wine-quality"
BIKE = "/static/public/275/bike+sharing+dataset.zip"


@pytest.fixture(scope="session")
def mlflow_uri(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return the address of a real MLflow server with a database and proxied artifacts."""
    with mlflow_server(tmp_path_factory.mktemp("mlflow")) as address:
        yield address


@contextmanager
def mlflow_server(folder: Path, *options: str, **variables: str) -> Iterator[str]:
    """Run a real MLflow server that keeps everything in a folder; yield its address."""
    port = free_port()
    command = [sys.executable, "-m", "mlflow", "server", "--host=127.0.0.1", f"--port={port}"]
    command += [f"--backend-store-uri=sqlite:///{folder / 'mlflow.db'}", "--workers=1"]
    command += [f"--artifacts-destination={folder / 'artifacts'}", "--serve-artifacts", *options]
    quiet = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    with (folder / "server.log").open("wb") as log:
        server = subprocess.Popen(
            command,
            env={**os.environ, **quiet, **variables},
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        _await(f"http://127.0.0.1:{port}/health", server, folder / "server.log")
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(30)


def _await(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(START_LIMIT * 5):
        if server.poll() is not None:
            pytest.fail(f"the server ended with {server.returncode}: {log.read_text()[-2000:]}")
        try:
            if httpx.get(url, trust_env=False).is_success:
                return
        except httpx.TransportError:
            time.sleep(0.2)
    pytest.fail(f"{url} did not answer within {START_LIMIT} s: {log.read_text()[-2000:]}")


@pytest.fixture(scope="session")
def theatre(mlflow_uri: str, tmp_path_factory: pytest.TempPathFactory) -> Theatre:
    """Return a place to rehearse a real model in."""
    return opened(mlflow_uri, tmp_path_factory.mktemp("theatre"))


@pytest.fixture
def own_python(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the environment manager "local" mean the Python of this test."""
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")


@pytest.fixture(scope="session")
def data_server() -> Iterator[str]:
    """Serve the real data on loopback under the paths of their public addresses."""
    files = {
        f"{WINE}/winequality-{c}.csv": f"wine-quality/winequality-{c}.csv" for c in ("red", "white")
    }
    lacking = [
        name
        for name in (*files.values(), "bike-sharing/hour.csv")
        if not (REAL_DATA / name).exists()
    ]
    if lacking:
        pytest.skip(f"the real data are not here: {lacking} below {REAL_DATA}")
    content = {path: (REAL_DATA / name).read_bytes() for path, name in files.items()}
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as opened:
        opened.write(REAL_DATA / "bike-sharing" / "hour.csv", "hour.csv")
    content[BIKE] = archive.getvalue()
    with serving(content) as address:
        yield address


@dataclass(frozen=True)
class Repository:
    """A Git repository that a real Git server serves.

    Attributes:
        folder: Its working tree.
        url: Where the server has it.
    """

    folder: Path
    url: str

    def commit(self, message: str) -> str:
        """Commit everything; return the full commit id."""
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", f"--message={message}")
        return self.git("rev-parse", "HEAD")

    def git(self, *arguments: str) -> str:
        """Run git in the working tree; return what it prints."""
        identity = ["-c", "user.name=Test", "-c", "user.email=test@example.com"]
        command = ["git", "-C", str(self.folder), *identity, *arguments]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        return done.stdout.strip()


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Repository]:
    """Serve a repository with the project ``number`` in ``project``, and ``habits`` in its own."""
    base, port = tmp_path_factory.mktemp("git"), free_port()
    served = Repository(base / "models", f"git://127.0.0.1:{port}/models")
    shutil.copytree(ROOT / "tests" / "projects" / "number", served.folder / "project")
    for project in ("habits", "linger"):
        shutil.copytree(ROOT / "tests" / "projects" / project, served.folder / project)
    served.git("init", "--quiet", "--initial-branch=main")
    served.commit("first")
    command = ["git", "daemon", f"--base-path={base}", "--export-all", "--reuseaddr"]
    command += ["--listen=127.0.0.1", f"--port={port}"]
    daemon = subprocess.Popen(command, start_new_session=True)
    try:
        _await_port(port)
        yield served
    finally:
        os.killpg(daemon.pid, signal.SIGTERM)
        daemon.wait(10)


def _await_port(port: int) -> None:
    for _ in range(100):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    pytest.fail(f"nothing listens on port {port}")


@dataclass(frozen=True)
class Installation:
    """A running Airflow and MLflow, and what a test asks of them."""

    stack: Stack
    client: MlflowClient
    data: str

    def up(self) -> None:
        """Start what is missing of the stack."""
        _up(self.stack, self.data)

    def kill(self, component: str) -> None:
        """End a component of the stack without a word."""
        known = record.read(self.stack.place.record)
        assert known is not None
        os.killpg(known.processes[component].pid, signal.SIGKILL)

    def call(self, method: str, path: str, **body: Any) -> Any:  # noqa: ANN401 -- JSON
        """Call Airflow's REST interface; return what it answers."""
        api = self.stack.api()
        try:
            headers = api._authorization()
            answer = api._http.request(
                method, f"/api/v2/{path}", json=body or None, headers=headers
            )
        finally:
            api.close()
        assert answer.is_success, answer.text
        return answer.json() if answer.content else None

    def trigger(self, dag_id: str, run_id: str, **conf: Any) -> str:
        """Trigger a Dag as its form does, and let the scheduler have it; return the run's id."""
        self.unpause(dag_id)
        self.call("POST", f"dags/{dag_id}/dagRuns", dag_run_id=run_id, logical_date=None, conf=conf)
        return run_id

    def unpause(self, dag_id: str) -> None:
        """Let the scheduler have a Dag."""
        self.call("PATCH", f"dags/{dag_id}", is_paused=False)

    def run(self, dag_id: str, run_id: str) -> dict[str, Any]:
        """Return a Dag run."""
        found: dict[str, Any] = self.call("GET", f"dags/{dag_id}/dagRuns/{run_id}")
        return found

    def dag_runs(self, dag_id: str) -> list[dict[str, Any]]:
        """Return the runs of a Dag."""
        found: list[dict[str, Any]] = self.call("GET", f"dags/{dag_id}/dagRuns")["dag_runs"]
        return found

    def tasks(self, dag_id: str, run_id: str) -> dict[str, str]:
        """Return the state of each task of a Dag run; of a mapped one by its name and title."""
        path = f"dags/{dag_id}/dagRuns/{run_id}/taskInstances?limit=100"
        return {
            one["task_id"]
            if one["map_index"] < 0
            else f"{one['task_id']}[{one['map_index']}]": one["state"]
            for one in self.call("GET", path)["task_instances"]
        }

    def log(self, dag_id: str, run_id: str, task_id: str, map_index: int = -1) -> str:
        """Return the log of a task's last try."""
        path = f"dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}"
        instance = self.call("GET", path if map_index < 0 else f"{path}/{map_index}")
        api = self.stack.api()
        try:
            return "\n".join(api.task_log(instance))
        finally:
            api.close()

    def wait(self, dag_id: str, run_id: str, limit: float = 300) -> str:
        """Wait for a Dag run's end; return its state."""
        end = time.monotonic() + limit
        while time.monotonic() < end:
            # The scheduler makes a scheduled run only when its time has come.
            known = {run["dag_run_id"]: run["state"] for run in self.dag_runs(dag_id)}
            if known.get(run_id) in {"success", "failed"}:
                return str(known[run_id])
            time.sleep(0.5)
        pytest.fail(f"{dag_id} {run_id}: {self.tasks(dag_id, run_id)}")

    def wait_for_task(self, dag_id: str, run_id: str, task_id: str, states: set[str]) -> None:
        """Wait until a task is in one of some states."""
        end = time.monotonic() + 180
        while time.monotonic() < end:
            if self.tasks(dag_id, run_id).get(task_id) in states:
                return
            time.sleep(0.2)
        pytest.fail(f"{task_id} is not {states}: {self.tasks(dag_id, run_id)}")

    def wait_for_try(self, dag_id: str, run_id: str, task_id: str, number: int) -> None:
        """Wait until a task's try of that number has succeeded."""
        path = f"dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}"
        end = time.monotonic() + 180
        while time.monotonic() < end:
            task = self.call("GET", path)
            if (task["try_number"], task["state"]) == (number, "success"):
                return
            time.sleep(0.5)
        pytest.fail(f"{task_id}: {task}")

    def runs(self, experiment: str, filter_string: str = "") -> list[Any]:
        """Return MLflow runs of an experiment, the earliest first."""
        found = self.client.get_experiment_by_name(experiment)
        assert found is not None, experiment
        order = ["attributes.start_time ASC"]
        return list(self.client.search_runs([found.experiment_id], filter_string, order_by=order))

    def nights(self, experiment: str) -> list[dict[str, str]]:
        """Return the tags of the nights of a pipeline, the earliest first."""
        return [
            dict(run.data.tags) for run in self.runs(experiment, "tags.`understudy.kind` = 'night'")
        ]


@pytest.fixture(scope="session")
def dags_folder(tmp_path_factory: pytest.TempPathFactory, models: Repository) -> Path:
    """Return a folder with the Dag files of the tests and of the product."""
    folder = tmp_path_factory.mktemp("dags")
    for source in (ROOT / "tests" / "dags").glob("*.py"):
        text = source.read_text().replace("git://127.0.0.1/models", models.url)
        text = text.replace("/srv/models", str(folder.with_name("served")))
        (folder / source.name).write_text(text)
    shutil.copy(ROOT / "dags" / "bike_sharing.py", folder)
    return folder


@pytest.fixture(scope="session")
def installation(
    tmp_path_factory: pytest.TempPathFactory, dags_folder: Path, data_server: str
) -> Iterator[Installation]:
    """Start the whole local stack with the tests' Dags; end it afterwards."""
    stack = Stack(Place(tmp_path_factory.mktemp("stack"), ROOT, dags_folder))
    try:
        _up(stack, data_server)
        yield Installation(stack, MlflowClient(stack.addresses().mlflow), data_server)
    finally:
        _local("down", stack.place)


def _up(stack: Stack, data: str) -> None:
    """Start what is missing; its tasks give up on a server that is away after a few seconds."""
    patience = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2"}
    _local("up", stack.place, UNDERSTUDY_DATA_MIRROR=data, **patience)


def _local(command: str, place: Place, **variables: str) -> None:
    """Start or end a stack as make does."""
    python = place.environment("airflow") / "python"
    options = [f"--state={place.state}", f"--dags={place.dags}"]
    done = subprocess.run(
        [python, "-m", "understudy.local", command, *options],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture
def pipeline(mlflow_uri: str, monkeypatch: pytest.MonkeyPatch) -> Pipeline:
    """Return a pipeline of the test's own."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_uri)
    client = MlflowClient(mlflow_uri)
    runs = RunStore(client)
    return Pipeline(client, runs, runs.experiment(f"judging {uuid.uuid4().hex}"))


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the gate's process answer within this one."""
    monkeypatch.setattr(Gatherer, "gather", gathered_here)
