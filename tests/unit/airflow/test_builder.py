"""A declaration becomes the Dag that the design draws, with the form that people fill in."""

from __future__ import annotations

import re
import sys
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import DAG, AssetAll, Param, TriggerRule, task

from understudy import (
    AfterPromotion,
    Budgets,
    Gate,
    Guards,
    Limit,
    Metric,
    Pipeline,
    Project,
    Refit,
    Search,
    Steps,
    champion_asset,
    pipeline,
    raw_data_asset,
)
from understudy.airflow.after_promotion import after_promotion_dag
from understudy.airflow.form import as_of_time
from understudy.errors import DeclarationError, ParameterError

URL = "https://example.com/models.git#tabular"
FLOW = [
    *("pin", "download", "preprocess", "train", "validate"),
    *("gate", "approve", "rehearse", "promote", "report"),
]


def built(**fields: Any) -> DAG:
    """Return the Dag of a small pipeline that is right but for the given fields."""
    right = {
        "project": Project(URL, version="v1"),
        "gate": Gate(Metric("rmse")),
        "schedule": "@daily",
        "start": datetime(2026, 1, 1, tzinfo=UTC),
    }
    return pipeline("wine", **{**right, **fields})


def test_the_tasks_follow_each_other() -> None:
    """One line from pin to report."""
    dag = built()
    assert [task.task_id for task in dag.topological_sort()] == FLOW
    for before, after in pairwise(FLOW):
        assert dag.get_task(before).downstream_task_ids == {after}


def test_a_search_comes_before_the_training() -> None:
    """So many workers as declared; one that succeeds is enough."""
    dag = built(search=Search(workers=3))
    assert [task.task_id for task in dag.topological_sort()] == [*FLOW[:3], "search", *FLOW[3:]]
    assert dag.get_task("search").downstream_task_ids == {"train"}
    assert dag.get_task("search").expand_input.value == {"worker": [0, 1, 2]}
    assert dag.get_task("train").trigger_rule == TriggerRule.ALL_DONE_MIN_ONE_SUCCESS


def test_a_refit_comes_between_the_approval_and_the_rehearsal() -> None:
    """It trains where trainings do; without it no task, and no word of one."""
    dag = built(refit=Refit(), queues={"train": "heavy"})
    assert [task.task_id for task in dag.topological_sort()] == [*FLOW[:7], "refit", *FLOW[7:]]
    assert dag.get_task("refit").queue == "heavy"
    assert "`refit`" in str(dag.doc_md)
    assert "`refit`" not in str(built().doc_md)


@pytest.mark.parametrize(
    ("steps", "missing"),
    [
        (Steps.single("main"), {"download", "preprocess", "validate"}),
        (Steps(preprocess=None), {"preprocess"}),
        (Steps(download=None, validate=None), {"download", "validate"}),
    ],
)
def test_steps_that_a_project_does_not_have(steps: Steps, missing: set[str]) -> None:
    """The line closes over them, and the documentation does not speak of them."""
    dag = built(steps=steps)
    flow = [name for name in FLOW if name not in missing]
    assert [task.task_id for task in dag.topological_sort()] == flow
    for before, after in pairwise(flow):
        assert dag.get_task(before).downstream_task_ids == {after}
    told = re.findall(r"^\* `(\w+)`: ", dag.doc_md, re.MULTILINE)
    assert told == flow
    assert ("each on rows of its own" in dag.doc_md) == ("validate" in missing)


def test_a_pipeline_without_a_rehearsal() -> None:
    """Neither the line nor the documentation has the task."""
    dag = built(rehearsal=None)
    flow = [name for name in FLOW if name != "rehearse"]
    assert [task.task_id for task in dag.topological_sort()] == flow
    assert "rehearse" not in dag.doc_md


@pytest.mark.parametrize(("asked", "tries"), [(0, 1), (3, 3)])
def test_a_lost_answer_is_asked_for_again(asked: int, tries: int) -> None:
    """Airflow fails a try that was answered too quickly, and that must not fail the night."""
    dag = built(retries=asked)
    assert dag.get_task("approve").retries == tries
    assert dag.get_task("promote").retries == asked


def test_where_targets_come_late_past_nights_are_seen_after_the_promotion() -> None:
    """Whatever became of it; neither the promotion nor the night depends on it."""
    dag = built(label_delay=timedelta(days=14), retries=3)
    flow = [*FLOW[:-1], "matured", "report"]
    assert [task.task_id for task in dag.topological_sort()] == flow
    matured = dag.get_task("matured")
    assert (matured.trigger_rule, matured.retries) == ("all_done", 0)
    assert (matured.upstream_task_ids, matured.step) == ({"promote"}, "validate")
    assert "* `matured`: " in dag.doc_md
    assert "matured" not in built().doc_md


AFTER = AfterPromotion("publish", {"folder": "/srv/models/{{ params.x }}"})


def declared(**fields: Any) -> Pipeline:
    """Return a declaration with something after its promotions."""
    right = {"project": Project(URL, version="v1"), "gate": Gate(Metric("rmse"))}
    return Pipeline("wine", **{**right, "after_promotion": AFTER, **fields})


def test_what_follows_a_promotion_is_a_dag_of_its_own() -> None:
    """One at a time, whenever the champion changes, without waiting for anybody to unpause it."""
    dag = after_promotion_dag(declared(model="grapes", retries=5))
    assert dag is not None
    assert (dag.dag_id, dag.max_active_runs) == ("wine_publish", 1)
    assert dag.is_paused_upon_creation is False
    assert dag.timetable.asset_condition == champion_asset("grapes")
    (task,) = dag.tasks
    assert (task.entry_point, task.version, task.retries) == ("publish", "v1", 5)
    assert task.parameters == AFTER.parameters
    assert "`wine_publish`" in built(after_promotion=AFTER).doc_md
    assert "`publish`" in dag.doc_md
    assert after_promotion_dag(declared(after_promotion=None)) is None


@pytest.mark.parametrize(
    ("after", "message"),
    [
        (AfterPromotion("publish", {"model_uri": "x"}), "has 'model_uri'"),
        (AfterPromotion("publish it"), "names its Dag 'wine_publish it'"),
        (AfterPromotion("publish", {"to": "https://a:s3cret@h/x"}), "'to'] holds a pass"),
        ("publish", "'after_promotion' is 'publish'"),
    ],
)
def test_a_wrong_declaration_of_what_follows(after: Any, message: str) -> None:  # noqa: ANN401
    """Refused while the file is parsed, without repeating a secret."""
    with pytest.raises(DeclarationError, match=re.escape(message)) as refused:
        declared(after_promotion=after)
    assert "s3cret" not in str(refused.value)


def test_the_example_of_the_images_tutorial_is_a_dag() -> None:
    """And one that hands its champion on."""
    text = (Path(__file__).parents[3] / "docs/tutorials/images-champion.md").read_text(
        encoding="utf-8"
    )
    (code,) = re.findall(r"```py\n(.*?)```", text, re.DOTALL)
    names: dict[str, Any] = {}
    exec(code, names)  # noqa: S102 -- our own document
    assert "`mnist_publish`" in names["dag"].doc_md
    assert "search" in names["dag"].task_ids


def test_the_example_of_late_targets_is_a_dag() -> None:
    """As docs/matured.md has it."""
    text = (Path(__file__).parents[3] / "docs" / "matured.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    names: dict[str, Any] = {}
    exec(code, names)  # noqa: S102 -- our own document
    assert names["dag"].get_task("matured").pipeline.label_delay == timedelta(days=21)


def test_one_night_at_a_time() -> None:
    """The nights of a pipeline never overlap, and nothing is made up for unless asked."""
    dag = built()
    assert dag.max_active_runs == 1
    assert dag.catchup is False
    assert dag.get_task("promote").max_active_tis_per_dag == 1


def test_gate_and_report_run_whatever_happened() -> None:
    """A champion that cannot be scored still gets a verdict, a failed night still gets a report."""
    dag = built()
    assert dag.get_task("gate").trigger_rule == "all_done"
    assert dag.get_task("report").is_teardown


def test_the_form_offers_what_a_person_sets_by_hand() -> None:
    """Our fields with types, choices and help; the project's parameters with theirs."""
    leaf = Param(4, type="integer", minimum=1, maximum=10, description="Smallest leaf.")
    form = built(parameters={"model": "forest", "leaf": leaf, "rate": 0.1, "flag": True}).params
    assert list(form) == [
        *("version", "as_of", "force", "promote"),
        *("model", "leaf", "rate", "flag"),
    ]
    assert form.get_param("version").value == "v1"
    assert form.get_param("promote").schema["enum"] == ["auto", "ask", "never"]
    assert form.get_param("leaf").schema["maximum"] == 10
    types = {
        name: form.get_param(name).schema["type"] for name in ("model", "leaf", "rate", "flag")
    }
    assert types == {"model": "string", "leaf": "integer", "rate": "number", "flag": "boolean"}
    assert all(form.get_param(name).schema["title"] for name in form)
    for name in ("version", "as_of", "force", "promote"):
        assert form.get_param(name).description


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("version", "--upload-pack=id"),
        ("version", "a b"),
        ("promote", "always"),
        ("force", "yes"),
        ("leaf", 11),
        ("leaf", "4"),
    ],
)
def test_the_form_refuses_wrong_values(field: str, value: object) -> None:
    """Airflow validates against the schema before a run exists."""
    leaf = Param(4, type="integer", minimum=1, maximum=10)
    form = built(parameters={"leaf": leaf}).params
    with pytest.raises(ValueError, match=r"does not match|is not|greater than"):
        form.get_param(field).resolve(value)


def test_what_may_be_empty_does_not_block_the_form() -> None:
    """Airflow's form lets nobody trigger while a field whose type is not null is empty."""
    mirror = Param("", type="string")
    form = built(project=Project(URL), parameters={"mirror": mirror, "separator": ""}).params
    for name in ("version", "as_of", "mirror", "separator"):
        assert form.get_param(name).schema["type"] == ["null", "string"], name
        assert not form.get_param(name).resolve()


@pytest.mark.parametrize(
    ("bounds", "text"),
    [
        ({"minimum": 0}, "Deepest tree. At least 0."),
        ({"exclusiveMinimum": 0, "maximum": 50}, "Deepest tree. More than 0 and at most 50."),
        ({}, "Deepest tree."),
    ],
)
def test_the_help_text_says_the_bounds(bounds: dict[str, int], text: str) -> None:
    """Airflow's form moves a number into its bounds without a word."""
    depth = Param(4, type="integer", description="Deepest tree.", **bounds)
    assert built(parameters={"depth": depth}).params.get_param("depth").description == text


def test_the_docs_are_those_of_the_declaration() -> None:
    """Model, code, version and each rule of the gate; every task says what it does."""
    gate = Gate(
        Metric("rmse"),
        guardrails=[
            Metric("r2", at_least=0.1),
            Metric("mae", max_loss=0.05, relative=True),
            Metric("max_error", min_gain=0.5),
        ],
        guards=Guards(drift="off"),
        budgets=Budgets(size=Limit("200MB", growth=0.5)),
    )
    dag = built(gate=gate, project=Project("https://example.com/m.git#tab", version="v1"))
    for text in (
        "model **wine** with the code of `https://example.com/m.git#tab` (version `v1`)",
        "`rmse` (lower is better) must not be shown to be worse than the champion's, ",
        "nor be worse by more than 3 % as measured, 70 % sure\n",
        "rows are taken in the order of `time`, where they have one\n",
        "`r2` (higher is better) must be at least 0.1\n",
        "`mae` (lower is better) may be worse than the champion's by at most 5 %, 70 % sure\n",
        "`max_error` (lower is better) must be better than the champion's by at least 0.5,",
        "guards look at the rows first: `schema` block, `categories` warn, `target_drift` warn,",
        "`size` may be at most 200MB and 1.5 times the champion's, else: block\n",
    ):
        assert text in dag.doc_md
    assert all(task.doc_md for task in dag.tasks)


def test_the_docs_of_a_templated_project_name_its_folder() -> None:
    """Airflow does not render templates in documentation."""
    dag = built(project=Project("{{ var.value.models }}#mlproject/tabular"))
    assert dag.description == "Retrains wine with mlproject/tabular"
    assert "{{" not in dag.doc_md


def test_a_parameter_of_a_strange_type_is_refused() -> None:
    """The message names the parameter and what it may be."""
    with pytest.raises(DeclarationError, match=r"parameter 'rates' is \[1\], a list"):
        built(parameters={"rates": [1]})


def test_a_mistyped_field_is_refused_with_the_nearest_name() -> None:
    """``pipeline`` takes exactly the fields of the declaration."""
    with pytest.raises(
        DeclarationError, match=r"unknown field 'shedule' \(did you mean 'schedule'"
    ):
        built(shedule="@daily")


def test_every_task_that_makes_a_run_links_to_it() -> None:
    """The button is there for mapped tasks too; the gate's leads to its decision as well."""
    dag = built()
    for task_id in (name for name in FLOW if name not in {"preprocess", "approve"}):
        names = [link.name for link in dag.get_task(task_id).operator_extra_links]
        assert names == ["MLflow run", *(["Decision"] if task_id in {"gate", "report"} else [])], (
            task_id
        )


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-01-31", datetime(2026, 1, 31, tzinfo=UTC)),
        ("2026-01-31T03:00:00+02:00", datetime(2026, 1, 31, 1, tzinfo=UTC)),
        ("2026-01-31T03:00:00Z", datetime(2026, 1, 31, 3, tzinfo=UTC)),
    ],
)
def test_as_of_is_a_time_in_utc(text: str, moment: datetime) -> None:
    """A date is its midnight; a time zone is respected."""
    assert as_of_time(text) == moment


def test_as_of_refuses_other_text() -> None:
    """Airflow's own check of the format needs a package that it does not install."""
    with pytest.raises(ParameterError, match=r"as_of is 'yesterday'\. Allowed: .* Next: "):
        as_of_time("yesterday")


def test_what_changes_assets() -> None:
    """Each reads its own last event, to tell whether there is anything to announce."""
    dag = built(model="wine model")
    raw, champion = raw_data_asset("wine"), champion_asset("wine model")
    changers = {"pin": champion, "download": raw, "promote": champion}
    for task_id, asset in changers.items():
        assert dag.get_task(task_id).outlets == dag.get_task(task_id).inlets == [asset]
    others = [one for one in dag.tasks if one.task_id not in changers]
    assert not any(one.outlets for one in others)


def test_another_dag_may_start_when_a_champion_changes() -> None:
    """Its schedule is the very asset that the pipeline's task has as outlet."""
    condition = champion_asset("wine") & raw_data_asset("wine")
    with DAG("deploy", schedule=condition) as dag:
        task(lambda: None, task_id="deploy")()
    assert isinstance(dag.timetable.asset_condition, AssetAll)
    (outlet,) = built().get_task("promote").outlets
    assert list(dag.timetable.asset_condition.objects) == [outlet, raw_data_asset("wine")]


@pytest.mark.parametrize(
    ("task_id", "parameters", "reuse", "expected"),
    [
        ("download", ["as_of"], {}, False),
        ("download", ["as_of"], {"download": True}, True),
        ("preprocess", ["raw"], {}, True),
        ("train", ["data", "rate"], {}, True),
        ("train", ["data", "rate"], {"train": False}, False),
        ("train", ["rate"], {}, False),
        ("promote", ["data", "model_uri"], {}, False),
    ],
)
def test_steps_that_take_an_artifact_are_reused_unless_declared(
    task_id: str,
    parameters: list[str],
    reuse: dict[str, bool],
    expected: bool,  # noqa: FBT001
) -> None:
    """A step without one may read what has changed meanwhile; a promotion is never reused."""
    task = built(reuse=reuse).get_task(task_id)
    assert task.may_reuse(task.pipeline, parameters) is expected


def test_a_heavy_step_waits_in_a_queue_of_its_own() -> None:
    """So does each of a step's mapped tasks; every other one goes where Airflow sends it."""
    dag = built(queues={"train": "heavy", "validate": "heavy"})
    queues = {task.task_id: task.queue for task in dag.tasks}
    assert {task_id for task_id, queue in queues.items() if queue == "heavy"} == {
        "train",
        "validate",
    }


def test_steps_on_a_cluster_cost_a_dag_file_no_client(monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong place is found while the file is parsed."""
    monkeypatch.delitem(sys.modules, "kubernetes", raising=False)  # another test's
    built(backend="kubernetes", backend_config={"namespace": "training"})
    assert "kubernetes" not in sys.modules
    with pytest.raises(DeclarationError, match="did you mean 'namespace'"):
        built(backend="kubernetes", backend_config={"namespce": "training"})
