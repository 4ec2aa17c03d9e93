"""``mlflow run -b understudy`` as a person types it, and a private repository over HTTP."""

from __future__ import annotations

import os
import signal
import subprocess
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from mlflow.tracking import MlflowClient

from understudy.errors import ProjectError
from understudy.runner.git.checkout import CheckoutStore
from understudy.runner.process.process import ProcessRunner
from understudy.runner.settings import Settings
from understudy.spec.git_address import parse

if TYPE_CHECKING:
    from tests.fixtures.git import Repository
    from tests.fixtures.git_hosts import HttpHost

pytestmark = pytest.mark.integration

MLPROJECT = """
name: shown
entry_points:
  main:
    parameters: {word: string}
    command: "echo said {word}"
  fail:
    command: "echo broken; exit 3"
  sleep:
    command: "echo started; sleep 60"
"""
PYTHON = Path(__file__).parents[2] / ".state" / "venvs" / "airflow" / "bin" / "python"
"""That of the environment in which the package is installed, beside the lean command line."""
LOCAL = ("--backend-config", '{"env_manager": "local"}')
AGAIN = ("--backend-config", '{"env_manager": "uv", "reuse": true}')


@dataclass(frozen=True)
class Terminal:
    """Where a person types ``mlflow run``, and the server that it speaks to."""

    folder: Path
    url: str
    client: MlflowClient
    experiment: str

    def run(self, *arguments: str) -> subprocess.Popen[str]:
        """Start ``mlflow run`` on a repository with a project."""
        # What tests before this one told MLflow in this process is not for the command.
        outside = {name: v for name, v in os.environ.items() if not name.startswith("MLFLOW_")}
        environment = {
            **outside,
            "MLFLOW_TRACKING_URI": self.client.tracking_uri,
            "MLFLOW_EXPERIMENT_NAME": self.experiment,
            "UNDERSTUDY_CACHE": str(self.folder / "cache"),
            "TMPDIR": str(self.folder),
        }
        return subprocess.Popen(
            (PYTHON, "-m", "mlflow", "run", self.url, "-b", "understudy", *LOCAL, *arguments),
            cwd=self.folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def statuses(self) -> list[str]:
        """Return the statuses of the runs that were made."""
        found = self.client.get_experiment_by_name(self.experiment)
        assert found is not None
        return sorted(run.info.status for run in self.client.search_runs([found.experiment_id]))


@pytest.fixture
def terminal(repository: Repository, tmp_path: Path, mlflow_uri: str) -> Terminal:
    """Return a terminal in a folder of its own."""
    repository.commit(MLproject=MLPROJECT)
    return Terminal(tmp_path, repository.url, MlflowClient(mlflow_uri), f"b {uuid.uuid4().hex}")


def test_output_and_exit_codes(terminal: Terminal) -> None:
    """Streamed to the terminal; nonzero on failure and on bad input, which leaves no run."""
    outputs, codes = [], []
    for arguments in (("-P", "word=a b"), ("-e", "fail"), ("-P", "wrod=x")):
        process = terminal.run(*arguments)
        outputs.append(process.communicate(timeout=120)[0])
        codes.append(process.returncode)
    assert codes == [0, 1, 1]
    assert "said a b" in outputs[0]
    found = terminal.client.get_experiment_by_name(terminal.experiment)
    assert found is not None
    for output, status in zip(outputs, ("FINISHED", "FAILED"), strict=False):
        (run,) = terminal.client.search_runs([found.experiment_id], f"status = '{status}'")
        page = f"/#/experiments/{found.experiment_id}/runs/{run.info.run_id}"
        assert f"MLflow run {run.info.run_id} {status} http" in output
        assert page in output
    assert "MLflow run" not in outputs[2]
    assert "ended with exit code 3: broken" in outputs[1]
    assert "did you mean 'word'?" in outputs[2]
    assert terminal.statuses() == ["FAILED", "FINISHED"]


def test_a_finished_step_is_reused_where_that_is_asked_for(terminal: Terminal) -> None:
    """The last option of a name counts; the second run says where the result is."""
    said = [terminal.run("-P", "word=x", *AGAIN).communicate(timeout=120)[0] for _ in range(2)]
    assert ["said x" in one.splitlines() for one in said] == [True, False]
    assert "Reused: nothing runs." in said[1]
    assert terminal.statuses() == ["FINISHED", "FINISHED"]


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Let Ctrl-C reach what a test starts, also where a shell started the tests with ``&``."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_control_c_and_terminate(terminal: Terminal, number: int) -> None:
    """The run says KILLED, and the exit code is not 0."""
    with terminal.run("-e", "sleep") as process:
        assert process.stdout is not None
        assert any("started" in line for line in process.stdout)
        process.send_signal(number)
        process.communicate(timeout=60)
    assert process.returncode != 0
    assert terminal.statuses() == ["KILLED"]


@pytest.fixture
def private_host(
    repository: Repository, http_host: Callable[..., AbstractContextManager[HttpHost]]
) -> Iterator[str]:
    """Serve the repository's parent over HTTP with a password; yields host and port."""
    with http_host(repository.folder.parent, "ada:s3cret-w0rd") as host:
        yield host.url.removeprefix("http://")


def test_a_private_repository_over_http(
    private_host: str, repository: Repository, tmp_path: Path
) -> None:
    """The password opens it and is in no file and no message; a wrong one is refused."""
    commit = repository.commit(a="1")
    store = CheckoutStore(Settings(tmp_path / "cache", tmp_path / "s"), ProcessRunner())
    address = parse(f"http://ada:s3cret-w0rd@{private_host}/repository/.git")
    assert store.resolve(address, "main") == commit
    assert store.resolve(address, commit[:10]) == commit
    with store.lease(address, commit) as checkout:
        assert (checkout.folder / "a").read_text() == "1"
    found = subprocess.run(
        ["grep", "-r", "s3cret", tmp_path / "cache"], check=False, capture_output=True
    )
    assert found.stdout == b""
    wrong = parse(f"http://ada:wr0ng-w0rd@{private_host}/repository/.git")
    with pytest.raises(ProjectError, match=r"refuses access|no readable") as caught:
        store.resolve(wrong, "main")
    assert "wr0ng" not in str(caught.value)
