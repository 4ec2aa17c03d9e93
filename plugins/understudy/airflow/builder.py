"""Makes an Airflow Dag of a pipeline's declaration. Reads no clock, file or server."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from airflow.sdk import DAG, TriggerRule, chain

from understudy.airflow import explanation
from understudy.airflow import night_context as task
from understudy.airflow.after_promotion import after_promotion_dag, retrying
from understudy.airflow.form import form
from understudy.airflow.night_steps import DownloadOperator, NightStepOperator, ValidateOperator
from understudy.airflow.operators.late_labels import LateLabelsOperator
from understudy.airflow.operators.pin import PinOperator
from understudy.airflow.operators.promote import PromoteOperator
from understudy.airflow.operators.refit import RefitOperator
from understudy.airflow.operators.rehearse import RehearseOperator
from understudy.airflow.operators.report import ReportOperator
from understudy.airflow.operators.search import SearchOperator, TrainOperator
from understudy.airflow.operators.verdict import ApproveOperator, GateOperator
from understudy.airflow.schedule import check, set_times
from understudy.spec.entry_points import Role
from understudy.spec.pipeline import Pipeline

_ROLES: Final = ["challenger", "champion"]


def pipeline(name: str, **fields: Any) -> DAG:
    """Return the Dag of one recurring retraining workflow.

    Args:
        name: The Dag's id.
        **fields: The fields of :class:`understudy.spec.pipeline.Pipeline`.

    Airflow finds a second Dag in the file where ``after_promotion`` is given.

    Raises:
        DeclarationError: naming every field that is wrong.
    """
    return build(Pipeline(name, **fields))


def build(spec: Pipeline) -> DAG:
    """Return the Dag of a declaration.

    Raises:
        DeclarationError: where Airflow does not take its schedule.
    """
    check(spec.schedule)
    dag = DAG(
        spec.name,
        description=f"Retrains {spec.model} with {explanation.project(spec)}",
        doc_md=explanation.of_pipeline(spec),
        schedule=spec.schedule,
        start_date=spec.start,
        catchup=spec.catchup,
        # Two nights at once would each compare with a champion that the other may replace.
        max_active_runs=1,
        params=form(spec),
        tags={"understudy", *spec.tags},
        default_args=retrying(spec),
        # With native objects a template that renders to a number fails a mapped task (Airflow 3.3).
        render_template_as_native_obj=False,
    )
    set_times(dag, spec)
    with dag:
        chain(*_tasks(spec))
    after_promotion_dag(spec)
    return dag


def _tasks(spec: Pipeline) -> Iterator[Any]:
    """Yield the tasks in the order of a night."""
    yield PinOperator(**_named(task.PIN), pipeline=spec)
    yield from _steps(spec)
    # ALL_DONE: a champion that could not be scored is a case for the gate, too.
    yield GateOperator(**_named(task.GATE), pipeline=spec, trigger_rule=TriggerRule.ALL_DONE)
    yield ApproveOperator(
        **_named(task.APPROVE),
        response_timeout=spec.approval_timeout,
        execution_timeout=None,
        # Airflow fails a try whose answer came before it had seen that its process was over.
        retries=max(1, spec.retries),
        assigned_users=[{"id": name, "name": name} for name in spec.approvers] or None,
    )
    if spec.refit is not None:
        queue = {"queue": spec.queues[task.TRAIN]} if task.TRAIN in spec.queues else {}
        yield RefitOperator(**_named(task.REFIT), pipeline=spec, **queue)
    if spec.rehearsal is not None:
        yield RehearseOperator(**_named(task.REHEARSE), pipeline=spec)
    # One alias, one mover: a cleared old night must not judge again beside the present one.
    yield PromoteOperator(
        **_named(task.PROMOTE),
        pipeline=spec,
        max_active_tis_per_dag=1,
    )
    yield from _late_labels(spec)
    report = ReportOperator(**_named(task.REPORT), pipeline=spec)
    # A teardown runs whatever became of the tasks before it, also where a person marks the Dag run
    # failed: no night's run stays open in MLflow.
    report.as_teardown(on_failure_fail_dagrun=True)
    yield report


def _steps(spec: Pipeline) -> Iterator[Any]:
    """Yield the tasks of the project's entry points; the search comes before the training."""
    for role in spec.steps.by_role:
        if role is Role.TRAIN and spec.search is not None:
            workers = SearchOperator.partial(
                **_named(task.SEARCH), pipeline=spec, map_index_template="worker {{ task.worker }}"
            )
            yield workers.expand(worker=list(range(spec.search.workers)))
        yield _step(spec, role)


def _step(spec: Pipeline, role: Role) -> Any:  # noqa: ANN401 -- or a mapped one
    """Return the task of one entry point of the project."""
    fields = {**_named(role.value), "pipeline": spec, "step": role}
    if role.value in spec.queues:
        fields["queue"] = spec.queues[role.value]
    if role is Role.DOWNLOAD:
        return DownloadOperator(**fields)
    # One mapped task for both models: they are scored at the same time, by the same code.
    if role is Role.VALIDATE:
        mapped = ValidateOperator.partial(**fields, map_index_template="{{ task.role }}")
        return mapped.expand(role=_ROLES)
    if role is Role.TRAIN:
        # A worker that fails for good costs the night nothing: the others finish the study.
        rule = TriggerRule.ALL_DONE_MIN_ONE_SUCCESS if spec.search else TriggerRule.ALL_SUCCESS
        return TrainOperator(**fields, trigger_rule=rule)
    return NightStepOperator(**fields)


def _late_labels(spec: Pipeline) -> Iterator[LateLabelsOperator]:
    """Yield the task that sees nights again, where targets come late."""
    if spec.label_delay is not None and spec.steps.validate is not None:
        yield LateLabelsOperator(
            **_named(task.MATURED),
            pipeline=spec,
            step=Role.VALIDATE,
            trigger_rule=TriggerRule.ALL_DONE,
            # What cannot be completed now is due again in the next night.
            retries=0,
        )


def _named(task_id: str) -> dict[str, Any]:
    return {"task_id": task_id, "doc_md": explanation.TASKS[task_id]}
