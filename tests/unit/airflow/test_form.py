"""Parameters of a night: templates of the pipeline file are filled in, the form's texts never."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk import DAG, BaseOperator, Param
from airflow.sdk.log import mask_secret

from understudy import Gate, Metric, Project, Steps, pipeline
from understudy.airflow.form import chosen, form
from understudy.errors import DeclarationError, ParameterError
from understudy.spec.pipeline import Pipeline

TEMPLATE = "out-{{ ds_nodash }}"
RAW = "runs:/{{ steps.download.run_id }}/raw.csv"
PRIVATE = "{{ var.value.password }}"


def declared(parameters: Mapping[str, Any], **fields: Any) -> Pipeline:
    """Return a pipeline with these parameters."""
    project = Project("https://example.com/models.git")
    return Pipeline(
        "wine", project=project, gate=Gate(Metric("rmse")), parameters=parameters, **fields
    )


def pinned(
    parameters: Mapping[str, Any], conf: Mapping[str, Any] | None = None, **fields: Any
) -> dict[str, Any]:
    """Return what a night pins, of Airflow's own templating with some of its names."""
    spec = declared(parameters, **fields)
    params = {name: param.value for name, param in form(spec).items()} | dict(conf or {})
    moment = datetime(2026, 1, 2, tzinfo=UTC)
    context: Any = {
        "params": params,
        "ds_nodash": "20260102",
        "var": {"value": {"password": "hunter22"}},
        "dag_run": SimpleNamespace(
            run_type="manual", conf=conf, logical_date=moment, run_after=moment,
            data_interval_end=moment,
        ),
    }  # fmt: skip
    with DAG("wine", schedule=None):
        operator = BaseOperator(task_id="pin")
    context["ti"] = SimpleNamespace()
    return chosen(context, spec, operator.render_template)


def test_the_file_s_templates_are_filled_in() -> None:
    """Airflow's, and what steps leave later, which stays in pieces."""
    night = pinned({"alpha": 0.5, "outdir": TEMPLATE, "train.outdir": "models", "data_file": RAW})
    assert night["parameters"] == {
        "alpha": 0.5,
        "outdir": "out-20260102",
        "train.outdir": "models",
        "data_file": RAW,
    }
    assert night["handed"] == {"data_file": ["runs:/", ["download", "run_id", ""], "/raw.csv"]}


@pytest.mark.parametrize("text", [PRIVATE, "{% raw %}", RAW, "{{ 7 * 7 }}", TEMPLATE + " "])
def test_no_value_of_the_form_is_ever_a_template(text: str) -> None:
    """Whoever may trigger the Dag must not read its connections and variables by it."""
    night = pinned({"outdir": TEMPLATE, "name": "x"}, {"outdir": text, "name": text})
    assert night["parameters"] == {"outdir": text, "name": text}
    assert night["handed"] == {}


def test_what_the_form_says_does_not_become_one_by_a_template_that_repeats_it() -> None:
    """A template's result is text."""
    night = pinned({"title": "of {{ params.name }}", "name": "x"}, {"name": PRIVATE})
    assert night["parameters"]["title"] == f"of {PRIVATE}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{{ dss }}", "'dss' is undefined.*Next: correct it in the pipeline file"),
        ("{{ ds_nodash", "unexpected end of template"),
        ("{{ steps.dwnload.run_id }}", "no attribute 'dwnload'.*'download', 'preprocess', 'train'"),
        ("{{ steps.train.metric.rmse }}", "no attribute 'metric'.*metrics.<name>"),
        ("{{ steps.validate.run_id }}", "no attribute 'validate'"),
        ("{{ steps.train.metrics.rmse | float }}", "known only once the step has ended"),
        ("{{ steps.train.run_id | upper }}", "known only once the step has ended"),
        ("{% if steps.train.metrics.rmse > 1 %}a{% endif %}", "known only once the step"),
    ],
)
def test_what_cannot_be_filled_in_fails_before_anything_runs(text: str, message: str) -> None:
    """With the parameter's name and what there is."""
    with pytest.raises(ParameterError, match=message):
        pinned({"outdir": text})


def test_a_secret_is_refused() -> None:
    """Parameters are stored and shown."""
    mask_secret("hunter22")
    with pytest.raises(ParameterError, match="something that Airflow masks") as caught:
        pinned({"key": PRIVATE})
    assert "hunter22" not in str(caught.value)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"train.data": "x"}, "parameters has 'train.data'"),
        ({"validate.x": 1}, "steps has no 'validate'"),
    ],
)
def test_a_step_s_own_values_are_checked_in_the_file(
    parameters: dict[str, Any], message: str
) -> None:
    """Names that the night fills in, and steps that there are not."""
    with pytest.raises(DeclarationError, match=message):
        declared(parameters, steps=Steps(validate=None))


def test_the_form_shows_templates_and_whose_a_value_is() -> None:
    """As the file has them, with a word on what becomes of them."""
    dag = pipeline(
        "wine",
        project=Project("https://example.com/models.git"),
        gate=Gate(Metric("rmse")),
        parameters={"outdir": TEMPLATE, "train.outdir": Param("x", type="string")},
    )
    assert dag.params["outdir"] == TEMPLATE
    assert "handed over as it is" in str(dag.params.get_param("outdir").description)
    assert dag.params["train.outdir"] == "x"
