"""A step whose program runs other entry points with mlflow.run(): where their runs are and end."""

from __future__ import annotations

import os
import shutil
import signal
import threading
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from understudy.errors import StepFailedError, StepStoppedError, StepUnfitError
from understudy.runner.runner import Settings, StepRequest, StepRunner
from understudy.store import tracking
from understudy.store.tracking import RunStore

if TYPE_CHECKING:
    from mlflow.entities import Run
    from tests.fixtures.git import Repository

pytestmark = [
    pytest.mark.integration,
    pytest.mark.long("each starts MLflow several times, one within the other"),
]

NESTED = Path(__file__).parents[1] / "projects" / "nested"
PARENT = "mlflow.parentRunId"
ENTRY_POINT = "mlflow.project.entryPoint"


class Steps:
    """Runs ``main`` of tests/projects/nested, in an experiment of its own.

    Attributes:
        lines: What the last step said, and what was said of it.
    """

    def __init__(self, uri: str, settings: Settings, url: str) -> None:
        self.client, self.url = tracking.client(uri), url
        self.store = RunStore(self.client)
        self.runner = StepRunner(self.store, self.client, settings)
        self.experiment = self.store.experiment(f"nested {uuid.uuid4().hex[:8]}")
        self.lines: list[str] = []
        self.step = ""

    def main(self, habit: str) -> None:
        """Run the step."""
        request = StepRequest(
            project=self.url,
            version="",
            entry_point="main",
            parameters={"habit": habit},
            experiment_id=self.experiment,
            key=uuid.uuid4().hex,
            name="main",
            env_manager="local",
        )
        self.runner.run(request, self.hear, self.begun)

    def begun(self, run_id: str) -> None:
        """Note the step's run."""
        self.step = run_id

    def hear(self, line: str) -> None:
        """Take a line; one that says that the nested run works ends the step or its program."""
        self.lines.append(line)
        if line == "loading":
            pids = [int(one) for one in self.lines if one.isdecimal()]
            if pids:
                os.kill(pids[0], signal.SIGKILL)
            else:
                threading.Thread(target=self.runner.stop).start()

    def below(self, experiment: str = "") -> list[Run]:
        """Return the runs below the step's."""
        where = [experiment or self.experiment]
        return list(self.client.search_runs(where, f"tags.`{PARENT}` = '{self.step}'"))

    def running(self) -> list[Run]:
        """Return the runs of these projects that nobody has ended."""
        # The server is shared with other tests, also with those that run at the same time.
        own = [self.experiment, self.store.experiment("nested elsewhere")]
        return list(self.client.search_runs(own, "attributes.status = 'RUNNING'"))


@pytest.fixture
def steps(mlflow_uri: str, tmp_path: Path, repository: Repository) -> Steps:
    """Return somebody with a repository of such a project."""
    shutil.copytree(NESTED, repository.folder, dirs_exist_ok=True)
    repository.commit()
    return Steps(mlflow_uri, Settings(tmp_path / "cache", tmp_path / "s"), repository.url)


@pytest.mark.parametrize("habit", ["within", "bare"])
def test_runs_of_entry_points_hang_below_the_step(steps: Steps, habit: str) -> None:
    """Also where the program has no run of its own, of which MLflow would make them children."""
    steps.main(habit)
    below = steps.below()
    assert sorted(run.data.tags[ENTRY_POINT] for run in below) == ["load", "train"]
    assert {run.info.status for run in below} == {"FINISHED"}
    assert steps.client.get_run(steps.step).info.status == "FINISHED"
    assert not any("logged nothing" in line for line in steps.lines)  # they logged for the step


def test_a_nested_run_that_fails_is_the_step_s_failure(steps: Steps) -> None:
    """The step says what its nested run died of, first; both say FAILED."""
    with pytest.raises(StepFailedError, match="exit code 1: ValueError: no rows") as error:
        steps.main("fails")
    (nested,) = steps.below()
    assert f"in the nested run {nested.info.run_id}" in str(error.value)
    assert nested.info.status == steps.client.get_run(steps.step).info.status == "FAILED"


@pytest.mark.parametrize("habit", ["stays", "elsewhere"])
def test_a_step_that_is_ended_in_the_middle_ends_its_nested_runs(steps: Steps, habit: str) -> None:
    """Whichever experiment they are in; the processes are gone with the step's."""
    other = steps.store.experiment("nested elsewhere")
    with pytest.raises(StepStoppedError):
        steps.main(habit)
    (nested,) = steps.below(other if habit == "elsewhere" else "")
    assert nested.info.status == steps.client.get_run(steps.step).info.status == "KILLED"
    assert not steps.running()


def test_a_program_that_is_killed_ends_its_nested_runs(steps: Steps) -> None:
    """As the kernel does for memory: its nested run's process goes on by itself, and is ended."""
    with pytest.raises(StepFailedError, match="SIGKILL"):
        steps.main("killed")
    (nested,) = steps.below()
    assert nested.info.status == steps.client.get_run(steps.step).info.status == "FAILED"
    assert not steps.running()


def test_an_environment_that_cannot_be_made_says_whose_it_is(
    steps: Steps, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MLflow looks for conda by itself; its run ends with the step, and the message says more."""
    monkeypatch.setenv("MLFLOW_CONDA_HOME", "/nowhere")
    with pytest.raises(StepUnfitError, match=r"MLflow wants conda.*env_manager='local'"):
        steps.main("own")
    assert not steps.running()
