"""A Dag file that is edited while a night runs does not change that night."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowException
from tests.fixtures.nights import TaskInstance

from understudy import Gate, Metric, Pipeline, Project, Rehearsal, Search, Steps
from understudy.airflow import inputs
from understudy.airflow.builder import build
from understudy.airflow.night_context import night_of
from understudy.errors import DecisionError
from understudy.spec.guards import Budgets
from understudy.store.night import Night

TEMPLATE = "{{ var.value.models }}#tabular"
PINNED = Pipeline(
    "wine",
    Project("https://example.com/models.git#tabular", connection="models"),
    Gate(Metric("rmse"), budgets=Budgets()),
    steps=Steps("fetch", "etl", "fit", "score", "csv", "split", "forest", inputs={"data": "rows"}),
    search=Search(workers=3, entry_point="tune"),
    reuse={"train": False},
    env_manager="conda",
    environment=["UNDERSTUDY_TEST_TOKEN"],
    label_delay=timedelta(days=14),
)
EDITED = Pipeline(
    "wine",
    Project("https://example.com/others.git#images", connection="others"),
    Gate(Metric("mae")),
    model="other",
    steps=Steps("down", "pre", "learn", "judge"),
    search=Search(workers=1, entry_point="seek", metric="r2"),
    reuse={"download": True},
    rehearsal=Rehearsal(rows=1),
    env_manager="local",
    environment=["NOBODY_HAS_SET_THIS"],
    label_delay=timedelta(days=1),
)
LEFT = {"download": "a1", "preprocess": "b2", "train": "c3", "search_0": "d4"}


@pytest.fixture
def night(pinned_night: Callable[..., Night]) -> Night:
    """Return a night of the pipeline as it was."""
    where = {"repository": "https://example.com/models.git", "subdirectory": "tabular"}
    return replace(pinned_night("n", "1", **where), spec=PINNED.for_nights)


@pytest.fixture
def context(night: Night) -> dict[str, Any]:
    """Return what a task of that night is given."""
    return {"ti": TaskInstance({"pin": night.to_dict(), **LEFT}, "wine")}


def task(name: str, **more: Any) -> Any:  # noqa: ANN401 -- one of several operators
    """Return a task of the Dag as the file has it now."""
    found = build(EDITED).get_task(name)
    return found.unmap({**more}) if more else found


@pytest.mark.parametrize(
    ("name", "more", "entry_point"),
    [
        ("download", {}, "fetch"),
        ("preprocess", {}, "etl"),
        ("search", {"worker": 0}, "tune"),
        ("train", {}, "fit"),
        ("validate", {"role": "challenger"}, "score"),
        ("promote", {}, "score"),
        ("matured", {}, "score"),
    ],
)
def test_each_task_runs_what_was_pinned_where_and_how_that_was(
    context: dict[str, Any],
    name: str,
    more: dict[str, Any],
    entry_point: str,
) -> None:
    """Entry point, repository, connection, environment manager, variables."""
    step = task(name, **more)
    step.night(context)
    assert step.entry_point == entry_point
    assert (step.project, step.git_conn_id) == (PINNED.project.uri, "models")
    assert (step.env_manager, step.environment) == ("conda", ("UNDERSTUDY_TEST_TOKEN",))
    assert step.placement is None


def test_a_job_is_looked_for_where_it_was_begun(
    context: dict[str, Any], night: Night, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its task goes on in another process, for which the file was read again."""
    cluster = {"backend": "kubernetes", "backend_config": {"namespace": "ml"}, "environment": []}
    there = replace(night, spec=replace(night.spec, **cluster))
    context["ti"].returned = {"pin": there.to_dict()}
    step = task("train")
    # As far as it comes without a server.
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with pytest.raises(AirflowException, match="No tracking server is named"):
        step.resume(context, {})
    assert step.placement.namespace == "ml"


def test_steps_hand_on_what_was_pinned(context: dict[str, Any]) -> None:
    """Artifacts and their names, whether a step may be reused, what a search is for."""
    train, worker = task("train"), task("search", worker=0)
    night = train.night(context)
    given = {"as_of": night.as_of, "raw": "runs:/a1/csv", "data": "runs:/b2/split"}
    assert task("preprocess").inputs(context, night) == given
    assert night.spec.steps.renamed(given)["rows"] == "runs:/b2/split"
    assert train.may_reuse(night.spec, ["rows"]) is False
    assert task("download").may_reuse(night.spec, []) is False
    assert worker.entry_point_of(night.spec) == "tune"
    assert night.spec.gate.primary.name == "rmse"


def test_the_gate_judges_by_what_was_pinned(
    context: dict[str, Any],
    night: Night,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Rules, the rows' artifact, and the variables with which models are measured."""
    monkeypatch.setenv("UNDERSTUDY_TEST_TOKEN", "t0ken")
    monkeypatch.setattr(inputs, "git_access", lambda connection: connection)
    found = night_of(context, EDITED)
    assert found.spec.gate.to_dict() == PINNED.gate.to_dict()
    brought = inputs._inputs(context, None, found, None, None)  # type: ignore[arg-type]
    assert brought.rows == "runs:/b2/split"
    assert brought.execution.environment == {"UNDERSTUDY_TEST_TOKEN": "t0ken"}
    assert brought.execution.git_access == "models"
    assert found.to_dict() == night.to_dict()


def test_a_template_gives_its_credentials_to_the_pinned_repository_only(night: Night) -> None:
    """Rendered when the task runs, it may name another one by then."""
    step = task("download")
    for rendered, used in {
        "https://me:s3cret@example.com/models.git#images": (
            "https://me:s3cret@example.com/models.git#tabular"
        ),
        "https://me:s3cret@example.com/others.git": "https://example.com/models.git#tabular",
        "/srv/models": "https://example.com/models.git#tabular",
    }.items():
        step.project = rendered
        step.at_pinned(night)
        assert step.project == used


@pytest.mark.parametrize(
    ("name", "more"), [("preprocess", {}), ("search", {"worker": 0}), ("rehearse", {})]
)
def test_a_task_that_the_night_has_not_does_nothing(
    context: dict[str, Any],
    night: Night,
    name: str,
    more: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The file has gained it since; it succeeds, so that the night goes on."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")  # where nobody answers
    spec = replace(night.spec, search=None, rehearsal=None, steps=Steps(preprocess=None))
    context["ti"].returned = {"pin": replace(night, spec=spec).to_dict()}
    assert not task(name, **more).execute(context)
    # A training without a search is a training all the same.
    assert task("train").inputs(context, task("train").night(context)) == {"as_of": night.as_of}


def test_what_was_to_be_rehearsed_is_not_promoted_without(
    context: dict[str, Any],
    night: Night,
) -> None:
    """The file has lost its task `rehearse` since."""
    from understudy.airflow.challenger import promotion

    with pytest.raises(DecisionError, match="no rehearsal of it has passed"):
        promotion(context, None, night, "4")  # type: ignore[arg-type] -- not asked
