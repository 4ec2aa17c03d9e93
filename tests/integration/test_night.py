"""What the runs of a pipeline's nights say of each other, on a real MLflow server."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from understudy import Gate, Metric, Project
from understudy import Pipeline as Declared
from understudy.airflow.night_context import outcome_of
from understudy.airflow.operators.report import record_no_night
from understudy.airflow.services import Services
from understudy.airflow.step import task_key
from understudy.contract import Outcome, Tag
from understudy.store.night import NightBook

if TYPE_CHECKING:
    from tests.fixtures.nights import Pipeline

pytestmark = pytest.mark.integration


def test_a_night_that_sees_less_than_the_one_before_says_so(pipeline: Pipeline) -> None:
    """Once, where a person looks; the one that follows has nothing to say."""
    book, said = NightBook(pipeline.client, pipeline.runs), []
    for day in (2, 2, 1, 2):
        night = pipeline.night(f"2026-01-0{day}T00:00:00+00:00")
        said.append(book.note_less_seen(night))
        tags = {**pipeline.tags(night), Tag.SKIPPED_BECAUSE: "nothing new"}
        outcome, reason = outcome_of(tags, {"download": "skipped"})
        assert outcome is Outcome.SKIPPED
        assert reason == "; ".join(filter(None, ["nothing new", said[-1]]))
    assert [bool(words) for words in said] == [False, False, True, False]
    assert said[2] == (
        "it saw data as of 2026-01-01T00:00:00+00:00, and 2026-01-02T00:00:00+00:00 before it"
        " of 2026-01-02T00:00:00+00:00"
    )


@pytest.fixture
def services(mlflow_uri: str, monkeypatch: pytest.MonkeyPatch) -> Services:
    """Return what the tasks of a night use, on the tests' server."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_uri)
    return Services.connect()


def task_of(dag_id: str, task: str) -> Any:  # noqa: ANN401 -- Airflow's context
    """Return the context of a task of a Dag run, as far as a night's run is named by it."""
    asked = datetime(2026, 1, 3, 4, 5, tzinfo=UTC)
    ti = SimpleNamespace(
        id=uuid.uuid4(), dag_id=dag_id, run_id="first", task_id=task, map_index=-1, try_number=1
    )
    dag_run = SimpleNamespace(
        run_type="manual", data_interval_end=None, logical_date=None, run_after=asked
    )
    return {"ti": ti, "dag_run": dag_run}


def test_a_night_that_never_began_is_on_record_once(services: Services) -> None:
    """``report``, run again, finds its run; ``pin``, cleared, goes on with it."""
    name = f"wine_{uuid.uuid4().hex[:8]}"
    declared = Declared(name, Project("https://example.com/models.git"), Gate(Metric("rmse")))
    for reason in ("Found no version 'v9'", "Found no version 'v10'"):
        record_no_night(task_of(name, "report"), services, declared, reason)
    experiment = services.runs.experiment(name)
    (run,) = services.runs.search(experiment, {Tag.PIPELINE: name})
    assert run.info.status == "FAILED"
    assert run.info.run_name == "FAILED: night 2026-01-03 04:05"
    assert run.data.tags[Tag.REASON] == "Found no version 'v10'"
    assert run.data.tags["error"] == "Found no version 'v10'"
    assert "did not move" in run.data.tags[Tag.DESCRIPTION]
    found = services.nights.latest(experiment, task_key(task_of(name, "pin")))
    assert found == run.info.run_id
    services.nights.reopen(found)
    run = services.runs.get(found)
    assert (run.info.status, run.info.run_name) == ("RUNNING", "night 2026-01-03 04:05")


def test_a_night_that_never_began_hides_no_earlier_one(
    pipeline: Pipeline, services: Services
) -> None:
    """What a night knows less of is compared with the last that saw anything."""
    book = NightBook(pipeline.client, pipeline.runs)
    pipeline.night("2026-01-02T00:00:00+00:00")
    tags = {Tag.PIPELINE.value: pipeline.experiment}
    failed = book.open(pipeline.experiment, uuid.uuid4().hex, "night", tags)
    services.nights.give_up(failed, "the Git host is away")
    assert "2026-01-02" in book.note_less_seen(pipeline.night("2026-01-01T00:00:00+00:00"))
