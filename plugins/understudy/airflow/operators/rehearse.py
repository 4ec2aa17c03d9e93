"""``rehearse``: serves the challenger before it may win; keeps out what was rolled back."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from understudy.airflow import night_context as task
from understudy.airflow.challenger import final_version, refit_left, refuse_return
from understudy.airflow.exceptions import airflow_errors
from understudy.airflow.links import MlflowRunLink, run_address
from understudy.airflow.night_context import night_of, pulled
from understudy.airflow.night_steps import NOT_PINNED
from understudy.airflow.services import Services
from understudy.airflow.step import ProjectOperator, airflow_tags, attempt_key, task_key
from understudy.contract import Kind, Tag
from understudy.spec.pipeline import Pipeline, Rehearsal
from understudy.store.night import Night
from understudy.store.tracking import RunSpec

if TYPE_CHECKING:
    from airflow.sdk import Context

    from understudy.registry.rehearsal import Rehearser


class RehearseOperator(ProjectOperator):
    """Registers the challenger, serves it in its own environment, and compares its answers.

    Args:
        pipeline: What the pipeline file declares; it counts where the version before, which pinned
            less, began the night.
    """

    operator_extra_links = (MlflowRunLink(),)
    ui_color = "#fff8e1"

    def __init__(self, *, pipeline: Pipeline, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.pipeline, self.project, self.mlflow_address = pipeline, pipeline.project.uri, ""
        self._rehearser: Rehearser | None = None

    def execute(self, context: Context) -> str:
        """Return the MLflow run of the rehearsal."""
        with airflow_errors(context):
            services, night = Services.connect(), night_of(context, self.pipeline)
            if night.spec.rehearsal is None:
                self.log.info(NOT_PINNED)
                return ""
            self.at_pinned(night)
            version = final_version(context, services, night)
            refuse_return(services, night, version)
            experiment_id, key = night.experiment_id, task_key(context)
            dead = services.runs.end_abandoned(experiment_id, Tag.ATTEMPT_OF, key)
            if dead:
                self.log.warning("Ended MLflow runs that a dead try left RUNNING: %s", dead)
            return self._rehearse(context, services, night, version)

    def on_kill(self) -> None:
        """End the server with all its processes; Airflow gives this five seconds."""
        if self._rehearser is not None:
            self._rehearser.stop()

    def _rehearse(self, context: Context, services: Services, night: Night, version: str) -> str:
        from understudy.registry.rehearsal import RehearsalCandidate, Rehearser
        from understudy.registry.rehearsal_cases import RehearsalCases

        spec, run = night.spec, _run(context, night)
        rehearser = Rehearser(services.client, services.runs, spec.rehearsal or Rehearsal())
        self._rehearser = rehearser
        # Whatever is to be promoted is asked, and has to answer as its own validation says.
        validation = (
            pulled(context, task.VALIDATE, task.CHALLENGER_INDEX)
            if spec.refit is None
            else refit_left(context)["validation"]
        )
        cases = RehearsalCases(
            str(pulled(context, task.PREPROCESS) or ""), spec.steps.data, str(validation or "")
        )
        with services.step_runner(self.git_access()).source(self.project, night.commit) as source:
            candidate = RehearsalCandidate(
                night.model, version, spec.env_manager, cases, source.project
            )
            # Also after a failure: the button then opens the run with the server's log.
            try:
                report = rehearser.rehearse(candidate, run, self._say)
            finally:
                found = services.runs.tagged(night.experiment_id, Tag.KEY, run.key)
                run_id = str(found[-1].info.run_id) if found else ""
                self.mlflow_address = run_address(night.experiment_id, run_id)
        for line in report.summary_lines():
            self.log.log(logging.INFO if report.answers else logging.WARNING, line)
        # Written where all was asked, too: an earlier try may have left its reason.
        unasked = "" if report.answers else report.summary_lines()[-1]
        services.runs.tag(night.run_id, {Tag.UNASKED: unasked})
        return run_id


def _run(context: Context, night: Night) -> RunSpec:
    tags = {**airflow_tags(context), Tag.KIND.value: Kind.REHEARSAL.value}
    return RunSpec(
        experiment_id=night.experiment_id,
        key=attempt_key(context),
        name="rehearse",
        tags={**tags, Tag.PIPELINE.value: night.pipeline},
        parent_run_id=night.run_id,
    )
