"""``pin``: one commit, one champion and one parent run for everything that the night does."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from understudy.airflow.assets import announce_found, champion_asset
from understudy.airflow.exceptions import airflow_errors
from understudy.airflow.form import chosen
from understudy.airflow.links import MlflowRunLink, run_address
from understudy.airflow.night_context import is_over
from understudy.airflow.night_steps import warm_up
from understudy.airflow.schedule import moment
from understudy.airflow.services import Services
from understudy.airflow.step import (
    ProjectOperator,
    airflow_tags,
    attempt_key,
    cancel_job,
    task_key,
)
from understudy.contract import Tag
from understudy.spec.pipeline import Pipeline
from understudy.store.night import Night

if TYPE_CHECKING:
    from airflow.sdk import Context


class PinOperator(ProjectOperator):
    """Opens the night: resolves the version, reads the champion, checks every parameter.

    Run again (retry, clear), it returns what it pinned the first time.

    Args:
        pipeline: What the pipeline file declares.
    """

    operator_extra_links = (MlflowRunLink(),)
    ui_color = "#ede7f6"

    def __init__(self, *, pipeline: Pipeline, **kwargs: Any) -> None:
        champion = [champion_asset(pipeline.model)]
        super().__init__(inlets=champion, outlets=champion, **kwargs)
        self.pipeline, self.mlflow_address = pipeline, ""
        self.project, self.git_conn_id = pipeline.project.uri, pipeline.project.connection

    def execute(self, context: Context) -> dict[str, Any]:
        """Return the night as JSON values."""
        with airflow_errors(context):
            services = Services.connect()
            night = self._night(context, services)
            self.at_pinned(night)
            self.mlflow_address = run_address(night.experiment_id, night.run_id)
            over = partial(is_over, context)
            let_go = partial(cancel_job, night.spec, self._say)
            dead = services.nights.sweep(night.experiment_id, night.pipeline, over, let_go)
            if dead:
                self.log.warning("Ended MLflow runs that dead nights left RUNNING: %s", dead)
            # Looked up each night, for moves from a command line or in MLflow's UI: its webhooks
            # may be lost, and do not name the version before (3.17).
            announce_found(self, context, night.model, services.registry.champion(night.model))
            warm_up(services, night, self.project)
        for line in night.summary_lines():
            self.log.info(line)
        return night.to_dict()

    def _night(self, context: Context, services: Services) -> Night:
        pipeline, nights = self.pipeline, services.nights
        experiment_id = services.runs.experiment(pipeline.experiment)
        # Of an earlier try of this very task. A first try has none: a run found for it would belong
        # to a Dag run of the same name that was deleted.
        retried = context["ti"].try_number > 1
        begun = nights.latest(experiment_id, task_key(context)) if retried else None
        earlier = nights.opened(begun, pipeline) if begun else None
        if earlier is not None:
            nights.reopen(earlier.run_id)
            self.log.info("This night was opened before; it keeps what it pinned.")
            return earlier
        # Everything that can be wrong is checked before the run is opened; `report` opens one then.
        services.registry.refuse_foreign(pipeline.model, pipeline.name)
        asked = chosen(context, pipeline, self.render_template)
        runner = services.step_runner(self.git_access())
        given = asked["version"], asked["parameters"], asked["handed"]
        pinned = runner.pin_for(pipeline, self.project, *given)
        name, key = f"night {moment(context):%Y-%m-%d %H:%M}", attempt_key(context)
        delay = pipeline.label_delay
        late = {} if delay is None else {Tag.LABEL_DELAY.value: str(delay.total_seconds())}
        tags = {**airflow_tags(context), Tag.PIPELINE.value: pipeline.name, **late}
        run_id = begun or nights.open(experiment_id, key, name, tags)
        if begun:
            nights.reopen(begun)
        self.mlflow_address = run_address(experiment_id, run_id)
        # The commit of the Dag file, which Airflow keeps for all of a Dag run; '' where files come
        # from a folder, and in `dag.test`, whose tasks know no bundle.
        bundle = getattr(context["ti"], "bundle_instance", None)
        night = Night(
            run_id=run_id,
            experiment_id=experiment_id,
            champion=services.promoter.settle(pipeline.model).champion,
            spec=pipeline.for_nights,
            dag_version=str(getattr(bundle, "version", "") or ""),
            **asked,
            **pinned.code,
        )
        nights.pin(night)
        lost = services.promoter.lost(night.model) if night.champion is None else None
        if lost is not None:
            self.log.warning("Version %s was the champion; %s", lost.version, lost.reason)
        if less := nights.note_less_seen(night):
            self.log.warning("This night may know less than the one before: %s", less)
        return night
