"""``rehearse``: serves the challenger before it may win; keeps out what was rolled back."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from understudy.airflow.challenger import challenger_version, refuse_return
from understudy.airflow.exceptions import airflow_errors
from understudy.airflow.links import MlflowRunLink, run_address
from understudy.airflow.night_context import (
    CHALLENGER_INDEX,
    PREPROCESS,
    VALIDATE,
    night_of,
    pulled,
)
from understudy.airflow.services import Services
from understudy.airflow.step import ProjectOperator, airflow_tags, attempt_key, task_key
from understudy.contract import Kind, Tag
from understudy.spec.pipeline import Pipeline, Rehearsal
from understudy.store.night import Night
from understudy.store.tracking import RunSpec

if TYPE_CHECKING:
    from airflow.sdk import Context

    from understudy.registry.rehearsal import Rehearser
    from understudy.registry.rehearsal_cases import RehearsalCases


class RehearseOperator(ProjectOperator):
    """Registers the challenger, serves it in its own environment, and compares its answers.

    Args:
        pipeline: What the pipeline file declares.
    """

    operator_extra_links = (MlflowRunLink(),)
    ui_color = "#fff8e1"

    def __init__(self, *, pipeline: Pipeline, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.pipeline = pipeline
        self.project, self.git_conn_id = pipeline.project.uri, pipeline.project.connection
        self.mlflow_address = ""
        self._rehearser: Rehearser | None = None

    def execute(self, context: Context) -> str:
        """Return the MLflow run of the rehearsal."""
        with airflow_errors():
            services, night = Services.connect(), night_of(context)
            version = challenger_version(context, services, night)
            refuse_return(context, services, night, version)
            dead = services.runs.end_abandoned(
                night.experiment_id, Tag.ATTEMPT_OF, task_key(context)
            )
            if dead:
                self.log.warning("Ended MLflow runs that a dead try left RUNNING: %s", dead)
            return self._rehearse(context, services, night, version)

    def on_kill(self) -> None:
        """End the server with all its processes; Airflow gives this five seconds."""
        if self._rehearser is not None:
            self._rehearser.stop()

    def _rehearse(self, context: Context, services: Services, night: Night, version: str) -> str:
        from understudy.registry.rehearsal import RehearsalCandidate, Rehearser

        terms = self.pipeline.rehearsal or Rehearsal()
        rehearser = Rehearser(services.client, services.runs, terms)
        self._rehearser, run = rehearser, _run(context, night)
        with services.step_runner(self.git_access()).source(self.project, night.commit) as source:
            candidate = RehearsalCandidate(
                model=night.model,
                version=version,
                manager=self.pipeline.env_manager,
                cases=self._cases(context),
                project=source.project,
            )
            # Also after a failure: the button then opens the run with the server's log.
            try:
                report = rehearser.rehearse(candidate, run, self._say)
            finally:
                self._note(services, run)
        for line in report.summary_lines():
            self.log.log(logging.INFO if report.answers else logging.WARNING, line)
        # Written where all was asked, too: an earlier try may have left its reason.
        unasked = "" if report.answers else report.summary_lines()[-1]
        services.runs.tag(night.run_id, {Tag.UNASKED: unasked})
        return self._note(services, run)

    def _cases(self, context: Context) -> RehearsalCases:
        """Return where this night's holdout is, and what the challenger said to it."""
        from understudy.registry.rehearsal_cases import RehearsalCases

        return RehearsalCases(
            data=str(pulled(context, PREPROCESS) or ""),
            data_artifact=self.pipeline.steps.data,
            validation=str(pulled(context, VALIDATE, CHALLENGER_INDEX) or ""),
        )

    def _note(self, services: Services, spec: RunSpec) -> str:
        """Return the id of the rehearsal's run, which the task's button opens."""
        found = services.runs.tagged(spec.experiment_id, Tag.KEY, spec.key)
        run_id = str(found[-1].info.run_id) if found else ""
        self.mlflow_address = run_address(spec.experiment_id, run_id)
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
