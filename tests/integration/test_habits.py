"""Programs that choose their own experiment, server or spelling, run as steps on a real server."""

from __future__ import annotations

import shutil
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from understudy.errors import StepFailedError, StepUnfitError
from understudy.runner.runner import Settings, StepRequest, StepRunner
from understudy.store import tracking
from understudy.store.tracking import RunStore

if TYPE_CHECKING:
    from mlflow.entities import Run
    from tests.fixtures.git import Repository

pytestmark = pytest.mark.integration

HABITS = Path(__file__).parents[1] / "projects" / "habits"


class Person:
    """Runs the habits of tests/projects/habits/odd.py as steps, in one experiment.

    Attributes:
        lines: What the last step said, and what was said of it.
    """

    def __init__(self, uri: str, settings: Settings, url: str) -> None:
        self.client, self.settings, self.url = tracking.client(uri), settings, url
        self.store = RunStore(self.client)
        self.experiment = self.store.experiment(f"odd {uuid.uuid4().hex[:8]}")
        self.lines: list[str] = []

    def does(self, entry_point: str, **parameters: Any) -> str:
        """Run a step; return its MLflow run."""
        request = StepRequest(
            project=self.url,
            version="",
            entry_point=entry_point,
            parameters=parameters,
            experiment_id=self.experiment,
            key=uuid.uuid4().hex,
            name=entry_point,
            env_manager="local",
        )
        self.lines.clear()
        return (
            StepRunner(self.store, self.client, self.settings)
            .run(request, self.lines.append)
            .run_id
        )

    def runs(self) -> list[Run]:
        """Return the runs of the experiment, the newest first."""
        return list(self.client.search_runs([self.experiment]))


@pytest.fixture
def person(
    mlflow_uri: str, tmp_path: Path, repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> Person:
    """Return somebody with a repository of such programs."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    shutil.copytree(HABITS, repository.folder, dirs_exist_ok=True)
    repository.commit()
    return Person(mlflow_uri, Settings(tmp_path / "cache", tmp_path / "s"), repository.url)


EXPERIMENT = "chooses an experiment .* Next: take set_experiment out"
SERVER = "chooses a tracking server .* Next: take set_tracking_uri out"
REFUSED = {
    "experiment": (["experiment", "mine"], EXPERIMENT),
    "store": (["server_and_experiment", "sqlite:///{}/a.db"], SERVER),
    "numbers": (["twice", "0.00001", "1e-05"], "twice, as '0.00001' and as '1e-05'.*log it once"),
}
"""Habits with their words; what else MLflow says is in tests/unit/runner/process/test_habits.py."""


@pytest.mark.parametrize("kind", REFUSED)
def test_what_no_run_of_ours_allows_says_what_to_change(
    person: Person, tmp_path: Path, kind: str
) -> None:
    """In one sentence and at once: the next try would do the same."""
    (habit, *words), message = REFUSED[kind]
    given = dict(zip(("word", "other"), (one.format(tmp_path) for one in words), strict=False))
    with pytest.raises(StepUnfitError, match=message) as error:
        person.does("odd_twice" if "other" in given else "odd_with", habit=habit, **given)
    assert not error.value.can_retry
    assert str(error.value).count("Allowed: ") == str(error.value).count("Next: ") == 1
    assert [run.info.status for run in person.runs()] == ["FAILED"]


def test_a_parameter_of_the_step_may_be_spelled_as_the_program_likes(person: Person) -> None:
    """What it logs stands; its run is no worse for what we would have written."""
    logged = person.client.get_run(person.does("odd_rate", rate="0.00001"))
    assert (logged.data.params["rate"], logged.info.status) == ("1e-05", "FINISHED")


def test_runs_that_a_program_begins_are_the_step_s(person: Person) -> None:
    """The first is its own; those after it stand below it, and not beside it."""
    run_id = person.does("odd", habit="runs")
    parents = [run.data.tags.get("mlflow.parentRunId") for run in person.runs()]
    assert sorted(map(str, parents)) == sorted([run_id, run_id, "None"])
    assert not any("logged nothing" in line for line in person.lines)


@pytest.mark.parametrize("code", ["0", "3"])
def test_runs_that_a_program_leaves_are_ended_with_it(person: Person, code: str) -> None:
    """However deep, and as it ended."""
    if code == "0":
        person.does("odd_with", habit="left", word=code)
    else:
        with pytest.raises(StepFailedError, match="exit code 3"):
            person.does("odd_with", habit="left", word=code)
    statuses = [run.info.status for run in person.runs()]
    assert statuses == ["FINISHED" if code == "0" else "FAILED"] * 3


def test_a_step_that_logged_nothing_says_so(person: Person) -> None:
    """It ended well all the same; where it has logged instead is named, if that can be seen."""
    run_id = person.does("odd", habit="elsewhere")
    (said,) = [line for line in person.lines if "ended well and logged nothing" in line]
    logged = person.client.get_run(run_id)
    assert logged.data.tags["mlflow.note.content"] == said
    assert logged.info.status == "FINISHED"
    (other,) = [run.info.run_id for run in person.runs() if run.info.run_id != run_id]
    assert f"These began meanwhile and say RUNNING: {other}. " in said
