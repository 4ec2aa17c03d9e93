"""``rehearse``: serves the challenger before it may win; keeps out what was rolled back."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from understudy.contract import Kind, Tag
from understudy.declaration import Pipeline, Rehearsal
from understudy.night import Night
from understudy.orchestration.edge import airflow_errors
from understudy.orchestration.links import MlflowRunLink, run_address
from understudy.orchestration.night_context import (
    CHALLENGER_INDEX,
    PREPROCESS,
    VALIDATE,
    night_of,
    pulled,
)
from understudy.orchestration.night_steps import trained_model
from understudy.orchestration.services import Services
from understudy.orchestration.step_operator import (
    ProjectOperator,
    airflow_tags,
    attempt_key,
    task_key,
)
from understudy.orchestration.verdict_operators import challenger_version, held
from understudy.promotion.history import Entry, Trained
from understudy.tracking import RunSpec

if TYPE_CHECKING:
    from airflow.sdk import Context

    from understudy.promotion.material import Material
    from understudy.promotion.rehearsal import Rehearser


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
        from understudy.promotion.rehearsal import Candidate, Rehearser

        rehearser = Rehearser(services.client, services.runs, self._terms)
        self._rehearser, run = rehearser, _run(context, night)
        with services.step_runner(self.git_access()).source(self.project, night.commit) as source:
            candidate = Candidate(
                model=night.model,
                version=version,
                manager=self.pipeline.env_manager,
                material=self._material(context),
                project=source.project,
            )
            try:
                show = rehearser.rehearse(candidate, run, self._say)
            finally:
                self._note(services, run)
        for line in show.told():
            self.log.log(logging.INFO if show.answers else logging.WARNING, line)
        services.runs.tag(night.run_id, {Tag.UNASKED: "" if show.answers else show.told()[-1]})
        return self._note(services, run)

    @property
    def _terms(self) -> Rehearsal:
        return self.pipeline.rehearsal or Rehearsal()

    def _material(self, context: Context) -> Material:
        """Return where this night's holdout is, and what the challenger said to it."""
        from understudy.promotion.material import Material

        return Material(
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

    def _say(self, line: str) -> None:
        self.log.info("%s", line)


def refuse_return(context: Context, services: Services, night: Night, version: str) -> None:
    """End the night HELD where its challenger is champion already, or was rolled back.

    Raises:
        AirflowSkipException: with the reason.
    """
    if version == night.champion:
        raise held(services, night, f"the challenger is the champion, version {version}")
    trained = Trained(
        version,
        run_id=trained_model(context, services, night).run_id,
        commit=night.commit,
        fingerprint=services.nights.stored_fingerprint(night),
    )
    rollback = services.mover.history(night.model).held(trained, datetime.now(UTC))
    if rollback is not None:
        raise held(services, night, _kept_out(rollback))


def _kept_out(rollback: Entry) -> str:
    move = rollback.move
    return (
        f"version {move.before} was rolled back by {move.actor} ({move.why}), and its"
        f" {move.hold.scope if move.hold else 'version'} does not return by itself"
    )


def _run(context: Context, night: Night) -> RunSpec:
    tags = {**airflow_tags(context), Tag.KIND.value: Kind.REHEARSAL.value}
    return RunSpec(
        experiment_id=night.experiment_id,
        key=attempt_key(context),
        name="rehearse",
        tags={**tags, Tag.PIPELINE.value: night.pipeline},
        parent_run_id=night.run_id,
    )
