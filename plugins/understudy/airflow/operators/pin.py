"""``pin``: one commit, one champion and one parent run for everything that the night does."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from understudy.airflow.assets import announce, announced, champion_asset, keep_quiet
from understudy.airflow.exceptions import airflow_errors
from understudy.airflow.links import MlflowRunLink, run_address
from understudy.airflow.schedule import moment
from understudy.airflow.services import Services
from understudy.airflow.step import (
    ProjectOperator,
    airflow_tags,
    attempt_key,
    task_key,
    visible_environment,
)
from understudy.contract import LOCAL, Tag
from understudy.errors import ParameterError, ProjectError, listed, nearest
from understudy.runner import projectfile
from understudy.spec import git_address
from understudy.spec.entry_points import MODEL_URI, Role
from understudy.spec.pipeline import Pipeline, Promotion
from understudy.spec.placement import placement
from understudy.store.night import Night

if TYPE_CHECKING:
    from airflow.sdk import Context
    from mlflow.entities import Run

    from understudy.runner.step import Pinned


class PinOperator(ProjectOperator):
    """Opens the night: resolves the version, reads the champion, checks every parameter.

    Run again (retry, clear), it returns what it pinned the first time.

    Args:
        pipeline: What the pipeline file declares.
    """

    operator_extra_links = (MlflowRunLink(),)
    ui_color = "#ede7f6"

    def __init__(self, *, pipeline: Pipeline, **kwargs: Any) -> None:
        champion = champion_asset(pipeline.model)
        super().__init__(inlets=[champion], outlets=[champion], **kwargs)
        self.pipeline, self._champion = pipeline, champion
        self.project, self.git_conn_id = pipeline.project.uri, pipeline.project.connection
        self.mlflow_address = ""

    def execute(self, context: Context) -> dict[str, Any]:
        """Return the night as JSON values."""
        with airflow_errors():
            services = Services.connect()
            night = self._night(context, services)
            self._sweep(context, services, night)
            self._announce_move_from_elsewhere(context, services)
            self._warm_up(services, night)
        self.log.info(
            "Commit %s of %s; champion: %s; data as of %s; parent run %s",
            night.commit,
            night.repository,
            night.champion or "none",
            night.as_of,
            night.run_id,
        )
        return night.to_dict()

    def _announce_move_from_elsewhere(self, context: Context, services: Services) -> None:
        """Let the champion's asset change where the alias moved without Airflow.

        That is, by `understudy rollback` on a command line, or by hand in MLflow.
        """
        # Looked up each night: MLflow's webhooks may be lost, and do not name the version before
        # (3.17).
        found = services.registry.champion(self.pipeline.model)
        last = announced(context, self._champion)
        # Airflow would announce this task's outlet every night, changed or not.
        if found is None or str(found.version) == last.get("version"):
            keep_quiet(self)
            return
        self.log.info("Version %s became champion without this Airflow", found.version)
        extra = {
            "model": self.pipeline.model,
            "version": str(found.version),
            "previous": last.get("version"),
            "run_id": str(found.run_id or ""),
            "decision_run_id": "",
        }
        announce(context, self._champion, extra)

    def _sweep(self, context: Context, services: Services, night: Night) -> None:
        """End what nights that are over left: runs that say RUNNING, and the jobs behind them."""
        over, let_go = partial(_is_over, context), partial(self._cancel, services)
        dead = services.nights.sweep(night.experiment_id, night.pipeline, over, let_go)
        if dead:
            self.log.warning("Ended MLflow runs that dead nights left RUNNING: %s", dead)

    def _cancel(self, services: Services, run: Run) -> None:
        """Cancel a run's job, where it has one on the pipeline's cluster."""
        from understudy.airflow.remote_task import RemoteTask

        # Only a job in the very place that this pipeline names: on another cluster the same id may
        # be somebody else's job.
        where = placement(self.pipeline.backend, self.pipeline.backend_config)
        job = run.data.tags.get(Tag.JOB.value, "")
        if where is not None and job:
            cluster = RemoteTask.of(services, where, None).cluster
            if run.data.tags.get(Tag.JOB_PLACE.value) == cluster.place:
                self.log.warning("Cancelling the job %s, for which nobody waits", job)
                cluster.cancel(job)

    def _warm_up(self, services: Services, night: Night) -> None:
        """Let the imports of the night's steps begin while Airflow gets the first one going."""
        from understudy.runner.step import StepRequest

        if self.pipeline.backend != LOCAL:
            return
        request = StepRequest(
            project=self.project,
            version=night.commit,
            entry_point=self.pipeline.steps.names[0],
            parameters=night.parameters,
            experiment_id=night.experiment_id,
            key="",
            name="",
            env_manager=self.pipeline.env_manager,
            environment=visible_environment(tuple(self.pipeline.environment)),
        )
        artifacts = services.runs.get(night.run_id).info.artifact_uri
        services.step_runner().warm_up(request, (artifacts, *map(str, night.parameters.values())))

    def _night(self, context: Context, services: Services) -> Night:
        experiment_id = services.runs.experiment(self.pipeline.experiment)
        begun = self._begun(context, services, experiment_id)
        earlier = services.nights.opened(begun) if begun else None
        if earlier is not None:
            services.nights.reopen(earlier)
            self.mlflow_address = run_address(experiment_id, earlier.run_id)
            self.log.info("This night was opened before; it keeps what it pinned.")
            return earlier
        # Everything that can be wrong is checked before the run is opened: bad input leaves none.
        services.registry.refuse_foreign(self.pipeline.model, self.pipeline.name)
        requested, pinned = self._requested(context), self._pin_project(context, services)
        name = f"night {moment(context):%Y-%m-%d %H:%M}"
        key, tags = attempt_key(context), self._tags(context)
        run_id = begun or services.nights.open(experiment_id, key, name, tags)
        self.mlflow_address = run_address(experiment_id, run_id)
        night = Night(
            run_id=run_id,
            experiment_id=experiment_id,
            champion=services.promoter.look(self.pipeline.model).champion,
            **requested,
            **_code(pinned),
        )
        services.nights.pin(night)
        lost = services.promoter.lost(night.model) if night.champion is None else None
        if lost is not None:
            self.log.warning("Version %s was the champion; %s", lost.version, lost.reason)
        if less := services.nights.note_less_seen(night):
            self.log.warning("This night may know less than the one before: %s", less)
        return night

    def _begun(self, context: Context, services: Services, experiment_id: str) -> str | None:
        """Return the parent run that an earlier try of this very task opened, or None.

        A first try has none: a run found for it would belong to a Dag run of the same name that
        was deleted.
        """
        if context["ti"].try_number == 1:
            return None
        return services.nights.latest(experiment_id, task_key(context))

    def _pin_project(self, context: Context, services: Services) -> Pinned:
        """Resolve and check before any run exists, so that bad input leaves none behind."""
        address = git_address.parse(self.project)
        if address.is_folder:
            raise ProjectError(
                f"The project is the folder {address.repository}, which has no commit to pin",
                allowed="a Git repository",
                action=f"write file://{address.repository}, if the folder is one",
            )
        runner = services.step_runner(self.git_access())
        pinned = runner.pin(self.project, str(context["params"]["version"] or ""))
        parameters = self._parameters(context)
        self._refuse_unknown(pinned, parameters)
        steps, search = self.pipeline.steps, self.pipeline.search
        every = list(steps.by_role.items())
        if search is not None:
            # A search takes the same inputs as the training.
            every.append((Role.TRAIN, search.entry_point))
        # With a stand-in for what earlier steps will leave: a parameter that is wrong is found now,
        # and not after hours of training.
        for role, step in every:
            declared = projectfile.named(pinned.entry_points, step)
            filled = {name: "runs:/0/x" for name in steps.filled_in(role) if name in declared}
            chosen = {name: value for name, value in parameters.items() if name in declared}
            runner.check(pinned, step, {**chosen, **filled})
        self._refuse_unknown_afterwards(pinned)
        return pinned

    def _refuse_unknown(self, pinned: Pinned, parameters: Mapping[str, Any]) -> None:
        search = self.pipeline.search
        steps = (*self.pipeline.steps.names, *([search.entry_point] if search else ()))
        entry_points = [projectfile.named(pinned.entry_points, step) for step in steps]
        known = {name for entry_point in entry_points for name in entry_point}
        for name in (*parameters, *self.pipeline.steps.inputs.values()):
            if name not in known:
                raise ParameterError(
                    f"No step of the project has a parameter {name!r}{nearest(name, known)}",
                    allowed=f"parameters that the MLproject declares: {listed(known)}",
                    action="correct parameters= or inputs= in the pipeline file, or the MLproject",
                )

    def _refuse_unknown_afterwards(self, pinned: Pinned) -> None:
        """Let no model be promoted that could not be handed on for a wrong name."""
        after = self.pipeline.after_promotion
        if after is None:
            return
        known = projectfile.named(pinned.entry_points, after.entry_point)
        for name in (self.pipeline.steps.called(MODEL_URI), *after.parameters):
            if name not in known:
                raise ParameterError(
                    f"{after.entry_point} has no parameter {name!r}{nearest(name, known)}",
                    allowed=f"parameters that the MLproject declares: {listed(known)}",
                    action="correct after_promotion= in the pipeline file, or the MLproject",
                )

    def _parameters(self, context: Context) -> dict[str, Any]:
        """Return the project's parameters; the form sends null for a text that was emptied."""
        given = {name: context["params"][name] for name in self.pipeline.parameters}
        return {name: "" if value is None else value for name, value in given.items()}

    def _requested(self, context: Context) -> dict[str, Any]:
        bundle = getattr(context["ti"], "bundle_instance", None)
        given = context["params"]["as_of"]
        as_of = as_of_time(str(given)) if given else moment(context)
        # Another search is another training: the night is not skipped as one with the same input.
        searched = [] if self.pipeline.search is None else [self.pipeline.search.recipe]
        return {
            "pipeline": self.pipeline.name,
            "model": self.pipeline.model,
            "version": str(context["params"]["version"] or ""),
            # The commit of the Dag file, which Airflow keeps for all of a Dag run; '' where files
            # come from a folder, and in `dag.test`, whose tasks know no bundle.
            "dag_version": str(getattr(bundle, "version", "") or ""),
            "as_of": as_of.isoformat(timespec="seconds"),
            "parameters": self._parameters(context),
            "promote": _promotion(context).value,
            "force": bool(context["params"]["force"]) or not self.pipeline.skip_unchanged,
            "rules": self.pipeline.gate.to_dict(),
            "recipe": [*self.pipeline.steps.recipe, self.pipeline.env_manager, *searched],
            "model_artifact": self.pipeline.steps.model,
            "data_artifact": self.pipeline.steps.data,
            "validated": self.pipeline.steps.validate is not None,
        }

    def _tags(self, context: Context) -> dict[str, str]:
        delay = self.pipeline.label_delay
        late = {} if delay is None else {Tag.LABEL_DELAY.value: str(delay.total_seconds())}
        return {**airflow_tags(context), Tag.PIPELINE.value: self.pipeline.name, **late}


def _code(pinned: Pinned) -> dict[str, Any]:
    return {
        "repository": pinned.repository,
        "subdirectory": pinned.subdirectory,
        "commit": pinned.commit,
        "tree": pinned.tree,
    }


def _is_over(context: Context, dag_run_id: str) -> bool:
    """Return whether this Airflow knows a run of this Dag and it has ended."""
    # A Dag run that this Airflow does not know may be alive in another one that shares the server.
    ti = context["ti"]
    known = ti.get_dr_count(dag_id=ti.dag_id, run_ids=[dag_run_id])
    alive = ti.get_dr_count(dag_id=ti.dag_id, run_ids=[dag_run_id], states=["queued", "running"])
    return bool(known) and not alive


def as_of_time(text: str) -> datetime:
    """Return the time that a person wrote; without a time zone it is UTC.

    Raises:
        ParameterError: when it is no ISO 8601 date or time. Airflow's form lets any text pass.
    """
    try:
        given = datetime.fromisoformat(text)
    except ValueError as error:
        raise ParameterError(
            f"as_of is {text!r}",
            allowed="an ISO 8601 date or time, such as 2026-01-31 or 2026-01-31T03:00:00+00:00",
            action="trigger the Dag again with such a time, or leave as_of empty",
        ) from error
    return (given if given.tzinfo else given.replace(tzinfo=UTC)).astimezone(UTC)


def _promotion(context: Context) -> Promotion:
    """Return who obeys the verdict; a backfill moves nothing unless that was asked for."""
    dag_run = context["dag_run"]
    # `conf` has only what was given by hand, `params` the declared defaults as well.
    is_explicit = "promote" in (dag_run.conf or {})
    if dag_run.run_type == "backfill" and not is_explicit:
        return Promotion.NEVER
    return Promotion(context["params"]["promote"])
