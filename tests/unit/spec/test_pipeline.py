"""A pipeline file is checked in full when it is read."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from understudy.errors import DeclarationError, UnderstudyError
from understudy.gate import Gate, Learned, Metric
from understudy.spec.declared import from_json, to_json
from understudy.spec.pipeline import NightSpec, Pipeline, Project, Refit, Steps

GATE = Gate(Metric("rmse"))
PROJECT = Project("https://example.com/models.git#mlproject/tabular", version="main")


def declared(**fields: Any) -> Pipeline:
    """Return a pipeline that is right but for the given fields."""
    return Pipeline("wine", **{"project": PROJECT, "gate": GATE, **fields})


def test_defaults_follow_the_name() -> None:
    """The shortest declaration is enough."""
    pipeline = declared()
    assert (pipeline.model, pipeline.experiment, pipeline.promote) == ("wine", "wine", "auto")
    assert pipeline.steps.names == ("download", "preprocess", "train", "validate")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"shedule": "@daily"}, r"unknown field 'shedule' \(did you mean 'schedule'\?\)"),
        ({"gate": None}, "'gate' is None"),
        ({"project": "https://example.com/x.git"}, "'project' is 'https"),
        ({"promote": "auot"}, r"promote is 'auot' \(did you mean 'auto'\?\)"),
        (
            {"env_manager": "poetry"},
            "env_manager is 'poetry'.*'conda', 'docker', 'local', 'uv', 'virtualenv'",
        ),
        ({"start": datetime(2026, 1, 1)}, "start is .* without a time zone"),  # noqa: DTZ001
        ({"catchup": True}, "catchup without start"),
        (
            {"start": datetime(2026, 2, 1, tzinfo=UTC), "end": datetime(2026, 1, 1, tzinfo=UTC)},
            "end is before start",
        ),
        ({"parameters": {"version": "x"}}, "parameters has 'version'"),
        (
            {"parameters": {"source": "https://host/x?token=abc"}},
            r"parameters\['source'\] holds token=\.\.\.",
        ),
        ({"parameters": {"model_uri": "x"}}, "parameters has 'model_uri'"),
        (
            {"parameters": {"csv": "x"}, "steps": Steps(inputs={"raw": "csv"})},
            "parameters has 'csv'",
        ),
        ({"label_delay": timedelta(0)}, "label_delay is 0:00:00"),
        ({"label_delay": 14}, "'label_delay' is 14"),
        ({"label_delay": 10**5000}, "'label_delay' is int that cannot be written: "),
        ({"parameters": {"train.x": 10**5000}}, "limit .4300 digits."),
        ({"schedule": 10**400}, "schedule is of type int. Allowed: a cron expression"),
        ({"schedule": timedelta(0)}, "schedule is 0:00:00"),
        ({"parameters": {"db_password": "hunter22"}}, "parameters.'db_password'. .*password=..."),
        ({"parameters": {"uris": ["https://ada:s3cret@host"]}}, "holds a password"),
        ({"label_delay": timedelta.max}, "'label_delay' is .*: input should be less than"),
        ({"alert_after_age": timedelta(days=36_526)}, "'alert_after_age' is .*: input should be"),
        ({"approval_timeout": timedelta.max}, "'approval_timeout' is .*: input should be"),
        ({"step_timeout": timedelta(days=-1)}, "'step_timeout' is .*: input should be greater"),
        (
            {"gate": Gate(Metric("rmse"), learn=Learned())},
            "the gate learns, and nothing says when labels are known",
        ),
        (
            {"label_delay": timedelta(days=14), "steps": Steps.single()},
            "label_delay without a validate step",
        ),
        (
            {"refit": Refit(), "steps": Steps(validate=None)},
            "refit without a validate step",
        ),
        ({"refit": True}, "'refit' is True"),
        ({"refit": Refit(), "parameters": {"refit": "no"}}, "parameters has 'refit'"),
        ({"refit": Refit(), "parameters": {"train.refit": "no"}}, "parameters has 'train.refit'"),
        ({"retries": -1}, "'retries' is -1"),
        ({"retries": "2"}, "'retries' is '2'"),
        ({"model": "a/b"}, "model is 'a/b'"),
        ({"reuse": {"trian": True}}, r"reuse has 'trian' \(did you mean 'train'\?\)"),
        ({"queues": {"trian": "heavy"}}, r"queues has 'trian' \(did you mean 'train'\?\)"),
        ({"reuse": {"train": "no"}}, r"reuse\['train'\]\" is 'no'"),
    ],
)
def test_wrong_fields_are_refused(fields: dict[str, Any], message: str) -> None:
    """Each message says what was found, what is allowed, and what to do."""
    with pytest.raises(DeclarationError, match=message) as caught:
        declared(**fields)
    assert "Allowed: " in str(caught.value)
    assert "Next: " in str(caught.value)


def test_a_refit_is_another_recipe_and_its_word_may_have_another_name() -> None:
    """So a night without data that are new is not skipped when it is declared, and is pinned."""
    plain, refitting = declared(), declared(refit=Refit(max_change=0.5))
    assert refitting.recipe == [*plain.recipe, "refit"]
    pinned = from_json(NightSpec, to_json(NightSpec, refitting.for_nights))
    assert pinned.refit == Refit(max_change=0.5)
    assert declared(parameters={"refit": "best"}).parameters == {"refit": "best"}
    renamed = Steps(inputs={"refit": "every_row"})
    assert renamed.renamed({"refit": "yes"}) == {"every_row": "yes"}
    assert "every_row" not in renamed.reserved
    with pytest.raises(DeclarationError, match="'max_change' is -1"):
        Refit(max_change=-1)


@pytest.mark.parametrize(
    "manager", ["uv", "virtualenv", "conda", "docker", "local", "local:/opt/ml/bin/python"]
)
def test_every_environment_manager_is_accepted(manager: str) -> None:
    """Whether it is on the worker is seen there."""
    assert declared(env_manager=manager).env_manager == manager


def test_parameters_that_no_night_fills_in_are_free() -> None:
    """A project of one entry point may have a parameter ``data``."""
    assert declared(steps=Steps.single(), parameters={"data": "x"}).parameters == {"data": "x"}


def test_a_pipeline_without_rules_is_refused() -> None:
    """Nothing is promoted without a rule."""
    with pytest.raises(DeclarationError, match="'gate' is missing"):
        Pipeline("wine", project=PROJECT)  # type: ignore[call-arg]


@pytest.mark.parametrize("name", ["", "a b", "x" * 201, "ä", "a/b"])
def test_names_that_airflow_refuses_are_refused_here(name: str) -> None:
    """The message names the field."""
    with pytest.raises(DeclarationError, match="name is"):
        Pipeline(name, project=PROJECT, gate=GATE)


def test_a_template_is_resolved_when_the_night_runs() -> None:
    """Airflow's variables may name the repository."""
    assert Project("{{ var.value.models }}#tabular").uri.startswith("{{")


@pytest.mark.parametrize(
    "uri", ["ext::sh -c id", "--upload-pack=id", "https://example.com/x.git#../up", ""]
)
def test_dangerous_project_uris_are_refused(uri: str) -> None:
    """What Git would execute never reaches Git."""
    with pytest.raises(UnderstudyError) as caught:
        Project(uri)
    assert "Next: " in str(caught.value)


def test_the_representation_is_the_same_in_every_process() -> None:
    """Airflow stores it with a mapped task: an address would make endless Dag versions."""
    assert "0x" not in repr(declared(parameters={"a": object()}, schedule=object()))


@pytest.mark.parametrize(
    "uri",
    [
        "https://ann:s3cret@example.com/models.git",
        "https://s3cret-token@example.com/models.git#sub",
        "https://{{ var.value.user }}:s3cret@example.com/models.git",
        "https://ann:s3cret@{{ var.value.host }}/models.git",
    ],
)
def test_credentials_in_a_uri_are_refused_and_not_repeated(uri: str) -> None:
    """Airflow would show them in its UI; the message does not."""
    with pytest.raises(DeclarationError, match="a user and a password") as caught:
        Project(uri)
    assert "s3cret" not in str(caught.value)


def test_a_template_may_render_to_credentials() -> None:
    """What it renders to is masked when the task runs."""
    assert Project("https://ann:{{ var.value.token }}@example.com/m.git").version == ""


def test_a_connection_needs_an_address_that_it_can_open() -> None:
    """Found while the file is parsed, where the address is no template."""
    assert Project("git@example.com:m.git", connection="git_models").connection == "git_models"
    assert Project("{{ var.value.models }}", connection="git_models").version == ""
    for uri in ("git://example.com/models.git", "file:///srv/models"):
        with pytest.raises(DeclarationError, match="takes no credentials"):
            Project(uri, connection="git_models")
