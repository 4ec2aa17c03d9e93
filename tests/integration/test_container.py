"""Steps in containers: on a real engine where one answers, on a stand-in for its client elsewhere.

The engine's image is ``python:3.11-slim`` or what UNDERSTUDY_TEST_IMAGE names; it is not pulled.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from understudy.contract import Tag
from understudy.errors import EnvironmentBuildError, ProjectError, StepFailedError, StepStoppedError
from understudy.runner.runner import Settings, StepRequest, StepRunner
from understudy.store import tracking
from understudy.store.tracking import RunStore

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.tracking import MlflowClient
    from tests.fixtures.git import Repository

pytestmark = [
    pytest.mark.long("a stand-in of Docker, whose containers are killed and run out of time"),
    pytest.mark.integration,
    # MLflow's own SQLite store, opened in this process, uses what SQLAlchemy 2.1 deprecates.
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy"),
]

NAP = f"{os.getpid()}.125"
"""Seconds for ``sleep`` that no other process uses: by it containers are found."""
IMAGE = os.environ.get("UNDERSTUDY_TEST_IMAGE", "python:3.11-slim")
MLPROJECT = f"""
name: contained
docker_env:
  image: IMAGE
  environment: [[GREETING, "good morning"], SECRET]
entry_points:
  show:
    parameters: {{word: string, data: {{type: path, default: ""}}}}
    command: "python show.py {{word}} {{data}}"
  fail:
    command: "echo it is bad >&2; exit 65"
  sleep:
    command: "echo started; sleep {NAP}"
  deaf:
    command: "trap '' TERM; echo started; sleep {NAP}"
"""
SHOW = """
import json, os, pathlib, sys, urllib.request
print("word", sys.argv[1])
print("data", sorted(path.name for path in pathlib.Path(sys.argv[2]).iterdir()))
print("variables", " ".join(sorted(os.environ)))
print("values", os.environ["GREETING"], os.environ["SECRET"])
print("place", pathlib.Path.cwd(), pathlib.Path("../beside.txt").read_text())
pathlib.Path(os.environ["TMPDIR"], "x").touch()
pathlib.Path(os.environ["HOME"], "y").touch()
for path in (".", sys.argv[2], "/mlflow/projects/code"):
    try:
        pathlib.Path(path, "intruder").touch()
        print("WROTE", path)
    except OSError:
        pass
body = {"run_id": os.environ["MLFLOW_RUN_ID"], "key": "rmse", "value": 1.5, "timestamp": 1}
address = os.environ["MLFLOW_TRACKING_URI"] + "/api/2.0/mlflow/runs/log-metric"
headers = {"content-type": "application/json"}
urllib.request.urlopen(urllib.request.Request(address, json.dumps(body).encode(), headers))
"""


def engine_answers() -> bool:
    """Whether a real engine has the image."""
    command = ["docker", "image", "inspect", IMAGE]
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


@dataclass
class Ward:
    """Runs contained steps of one project, and sees what is left of them."""

    client: MlflowClient
    settings: Settings
    url: str
    real: bool

    def __post_init__(self) -> None:
        self.runs, self.lines = RunStore(self.client), list[str]()
        self.experiment_id = self.runs.experiment("contained")

    def request(self, entry_point: str, **fields: Any) -> StepRequest:
        """Return a request with defaults."""
        return StepRequest(
            **{
                "project": self.url,
                "version": "",
                "entry_point": entry_point,
                "parameters": {},
                "experiment_id": self.experiment_id,
                "key": uuid.uuid4().hex,
                "name": entry_point,
                "environment": {"SECRET": "s3cret-value"},
                **fields,
            }
        )

    def runner(self) -> StepRunner:
        """Return a fresh runner."""
        return StepRunner(self.runs, self.client, self.settings)

    def run(self, entry_point: str, **fields: Any) -> Run:
        """Run a step; return its MLflow run."""
        result = self.runner().run(self.request(entry_point, **fields), self.lines.append)
        return self.client.get_run(result.run_id)

    def said(self, word: str) -> str:
        """Return what follows a word in the output of the child."""
        return next(line for line in self.lines if line.startswith(word)).partition(" ")[2]

    def sleepers(self) -> list[psutil.Process]:
        """Return the processes of these tests that sleep, in containers too."""
        found = psutil.process_iter(["cmdline"])
        return [p for p in found if (p.info["cmdline"] or [])[:2] == ["sleep", NAP]]


@pytest.fixture(params=["real", "stand-in"])
def ward(
    eventually: Callable[..., bool],
    request: pytest.FixtureRequest,
    mlflow_uri: str,
    tmp_path: Path,
    repository: Repository,
) -> Iterator[Ward]:
    """Return a ward; afterwards no container of it is left."""
    real = request.param == "real"
    if real and not engine_answers():
        pytest.skip(f"no Docker engine here that has {IMAGE}")
    if not real:
        request.getfixturevalue("docker_stand_in")
    image = IMAGE if real else "standin"
    repository.commit(
        beside_DOT_txt="beside",
        sub__MLproject=MLPROJECT.replace("IMAGE", image),
        sub__show_DOT_py=SHOW,
    )
    settings = Settings(tmp_path / "cache", tmp_path / "s", grace=1.0)
    made = Ward(tracking.client(mlflow_uri), settings, f"{repository.url}#sub", real)
    yield made
    assert eventually(lambda: not made.sleepers()), "a container outlived its step"


def test_a_step_in_a_container(ward: Ward, tmp_path: Path) -> None:
    """Same parameters, same run; it may write to its own copy of the code, and sees little else."""
    (tmp_path / "input").mkdir()
    (tmp_path / "input" / "rows.csv").touch()
    parameters = {"word": "it's $HOME", "data": str(tmp_path / "input")}
    run = ward.run("show", parameters=parameters, env_manager="uv")
    assert run.info.status == "FINISHED"
    assert run.data.metrics == {"rmse": 1.5}
    assert run.data.tags["mlflow.project.env"] == "docker"
    assert len(run.data.tags[Tag.ENVIRONMENT.value]) == 32
    assert ward.said("word") == "it's $HOME"
    assert ward.said("data") == "['rows.csv']"
    assert ward.said("values") == "good morning ***"
    assert ward.said("place").endswith("/sub beside")
    assert "PYTHONPATH" not in ward.said("variables").split()
    own = ["WROTE .", "WROTE /mlflow/projects/code"]
    if ward.real:
        assert [line for line in ward.lines if line.startswith("WROTE")] == own
    path = ward.client.download_artifacts(run.info.run_id, "environment/requirements.txt")
    assert "# Docker image " in Path(path).read_text()
    assert "# Id sha256:" in Path(path).read_text()


def test_an_exit_code_passes_through(ward: Ward) -> None:
    """65 says that a retry cannot help, from inside too."""
    with pytest.raises(StepFailedError, match="it is bad") as caught:
        ward.run("fail")
    assert (caught.value.exit_code, caught.value.can_retry) == (65, False)


@pytest.mark.parametrize("entry_point", ["sleep", "deaf"])
def test_a_time_out_ends_the_container(ward: Ward, entry_point: str) -> None:
    """Also one that does not listen to TERM."""
    with pytest.raises(StepStoppedError) as caught:
        ward.run(entry_point, timeout=4.0)
    assert ward.client.get_run(caught.value.run_id).info.status == "KILLED"
    assert not ward.sleepers()


def test_no_value_stands_on_a_command_line(eventually: Callable[..., bool], ward: Ward) -> None:
    """Neither of the client nor of what runs inside; stop ends it within its time."""
    runner, request = ward.runner(), ward.request("deaf")

    def work() -> None:
        with pytest.raises(StepStoppedError):
            runner.run(request, ward.lines.append)

    thread = threading.Thread(target=work)
    thread.start()
    assert eventually(lambda: bool(ward.sleepers()), 20)
    words = [word for p in psutil.process_iter(["cmdline"]) for word in p.info["cmdline"] or []]
    assert "--env=SECRET" in words
    assert not [word for word in words if "s3cret-value" in word or "good morning" in word]
    runner.stop()
    assert not ward.sleepers()
    thread.join(10)


def test_a_folder_comes_with_what_its_links_lead_to(
    eventually: Callable[..., bool], ward: Ward, repository: Repository
) -> None:
    """And without the rest of its working copy."""
    (repository.folder / "beside").mkdir()
    (repository.folder / "sub" / "beside").symlink_to("../beside")
    runner = ward.runner()
    request = ward.request("sleep", project=str(repository.folder / "sub"))

    def work() -> None:
        with pytest.raises(StepStoppedError):
            runner.run(request, ward.lines.append)

    thread = threading.Thread(target=work)
    thread.start()
    assert eventually(lambda: bool(ward.sleepers()), 20)
    words = [word for p in psutil.process_iter(["cmdline"]) for word in p.info["cmdline"] or []]
    top = repository.folder.resolve()
    mount = "--mount=type=bind,source={0},target={0},readonly"
    assert {mount.format(top / "sub"), mount.format(top / "beside")} <= set(words)
    assert mount.format(top) not in words
    runner.stop()
    thread.join(10)


WORKER = """
import sys
from pathlib import Path
from understudy.store import tracking
from understudy.runner.runner import Settings, StepRequest, StepRunner
from understudy.store.tracking import RunStore
uri, cache, scratch, url, experiment_id = sys.argv[1:]
client = tracking.client(uri)
request = StepRequest(
    url, "", "deaf", {}, experiment_id, "killed", "x", environment={"SECRET": "s3cret-value"}
)
settings = Settings(Path(cache), Path(scratch), grace=1.0)
StepRunner(RunStore(client), client, settings).run(request, print)
"""


def worker(eventually: Callable[..., bool], ward: Ward) -> subprocess.Popen[bytes]:
    """Start a worker whose step sleeps in a container."""
    process = subprocess.Popen(
        [
            *(sys.executable, "-c", WORKER, ward.client.tracking_uri, str(ward.settings.cache)),
            *(str(ward.settings.scratch), ward.url, ward.experiment_id),
        ],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        start_new_session=True,
    )
    assert eventually(lambda: bool(ward.sleepers()), 30)
    return process


def test_kill_9_of_the_worker_ends_the_container(
    eventually: Callable[..., bool], ward: Ward
) -> None:
    """Its supervisor sees to that."""
    process = worker(eventually, ward)
    process.kill()
    process.wait()
    assert eventually(lambda: not ward.sleepers(), 10)


def test_a_container_that_nobody_could_end_is_swept(
    eventually: Callable[..., bool], ward: Ward
) -> None:
    """Worker, supervisor and client killed at once: the next step finds the container."""
    process = worker(eventually, ward)
    family = psutil.Process(process.pid).children(recursive=True)
    inside = {pid for sleeper in ward.sleepers() for pid in (sleeper.pid, sleeper.ppid())}
    for one in reversed(family):
        if one.pid not in inside:
            one.kill()
    process.kill()
    process.wait()
    assert ward.sleepers()
    with pytest.raises(StepFailedError):
        ward.run("fail")
    assert "Removed 1 container(s) of steps that died" in ward.lines
    assert eventually(lambda: not ward.sleepers())


def test_what_the_project_wants_and_nobody_gave(ward: Ward) -> None:
    """The message names it and says where it is given."""
    with pytest.raises(ProjectError, match=r"wants the variables SECRET.*environment="):
        ward.run("sleep", environment={})


def test_an_image_that_cannot_be_had(ward: Ward, repository: Repository) -> None:
    """Before there is a run."""
    repository.commit(sub__MLproject=MLPROJECT.replace("IMAGE", "absent.invalid/none:1"))
    with pytest.raises(EnvironmentBuildError, match=r"docker: exit code 1"):
        ward.run("sleep")


def test_without_docker_the_message_names_what_is_here(
    ward: Ward, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A retry cannot help."""
    (tmp_path / "few").mkdir()
    for name in ("git", "bash"):
        (tmp_path / "few" / name).symlink_to(Path("/usr/bin", name))
    monkeypatch.setenv("PATH", str(tmp_path / "few"))
    with pytest.raises(EnvironmentBuildError, match=r"no docker.*Allowed: .*uv, virtualenv, local"):
        ward.run("sleep")
