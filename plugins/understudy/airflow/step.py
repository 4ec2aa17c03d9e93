"""``MlflowRunOperator``: one entry point of a Git-hosted MLproject as an Airflow task."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator
from airflow.sdk.configuration import conf
from airflow.sdk.log import mask_secret

from understudy.airflow.exceptions import airflow_errors
from understudy.airflow.links import MlflowRunLink, run_address
from understudy.airflow.night_context import NOT_MAPPED, called, cause_left, instance_of
from understudy.airflow.services import Services
from understudy.contract import LOCAL, Kind, Tag, key_of
from understudy.errors import ParameterError
from understudy.redact import passwords_in, plain, plain_tag
from understudy.spec import git_address
from understudy.spec.declared import refuse_secrets
from understudy.spec.placement import placement
from understudy.store.night import Night

if TYPE_CHECKING:
    import jinja2
    from airflow.sdk import Context
    from mlflow.entities import Run

    from understudy.airflow.remote_trigger import RemoteStepTrigger
    from understudy.runner.cluster.remote import RemoteSteps, Started
    from understudy.runner.runner import StepRunner
    from understudy.runner.step import StepRequest
    from understudy.spec.git_access import GitAccess
    from understudy.spec.pipeline import NightSpec


class ProjectOperator(BaseOperator):
    """An operator with a project whose address may come from a template, credentials included.

    Git is given them by environment; Airflow would show them among the rendered fields. Those of
    an Airflow connection are read when the task runs, and are no field at all.
    """

    project: str
    git_conn_id: str
    template_fields: Sequence[str] = ("project",)

    def render_template_fields(
        self, context: Context, jinja_env: jinja2.Environment | None = None
    ) -> None:
        """Render, then have Airflow mask the password in every log and page."""
        super().render_template_fields(context, jinja_env)
        for secret in passwords_in(self.project):
            mask_secret(secret)

    def at_pinned(self, night: Night) -> None:
        """Let the operator run the project that a night pinned, whatever the file says now."""
        self.project = git_address.at_pinned(self.project, night.repository, night.subdirectory)
        self.git_conn_id = night.spec.project.connection

    def git_access(self) -> GitAccess | None:
        """Return what the project's connection says; None where it has none."""
        from understudy.airflow.connections import git_access

        return git_access(self.git_conn_id)

    def _say(self, line: str) -> None:
        self.log.info("%s", plain(line))


class MlflowRunOperator(ProjectOperator):
    """Runs one entry point through MLflow Projects and returns the id of its MLflow run.

    Args:
        project: ``https://host/repo.git#sub/directory``, or any form that ``mlflow run`` knows.
        entry_point: The MLproject's entry point.
        version: Branch, tag or commit; empty for the default branch.
        git_conn_id: Airflow connection (type ``git``) that opens a private repository; empty for
            what the worker's user can read.
        parameters: The entry point's parameters.
        experiment: Name of the MLflow experiment; empty for the Dag's id.
        parent_run_id: MLflow run that the new one is a child of.
        run_name: Name of the MLflow run; empty for the task's id.
        env_manager: ``uv``, ``virtualenv``, ``conda``, ``docker``; ``local`` for the ``python`` on
            the worker's PATH, often Airflow's own, ``local:/opt/ml/bin/python`` for that one.
        environment: Names of the worker's environment variables that the process may see.
        backend: ``local`` for a process of the worker; ``kubernetes`` for a Job of a cluster, for
            which the task waits in the triggerer and not in a worker's slot.
        backend_config: How, as :class:`understudy.spec.placement.ClusterPlacement` says.
        reuse: Whether a finished run of the same code, environment, parameters and inputs may
            stand for a new one; the task then returns that run's id. Right for an entry point that
            reads nothing else and changes nothing outside its run. Steps on a cluster always run.

    Raises:
        DeclarationError: when the Dag file is parsed, where the project or a parameter holds a
            password: Airflow stores the file's Dags, and shows them.
        AirflowFailException: where a retry cannot help (bad parameters, bad data, no such commit).
        AirflowException: where it may.
    """

    template_fields: Sequence[str] = (
        "project",
        "entry_point",
        "version",
        "git_conn_id",
        "parameters",
        "experiment",
        "parent_run_id",
        "run_name",
    )
    operator_extra_links = (MlflowRunLink(),)
    ui_color = "#e3f2fd"

    def __init__(  # noqa: PLR0913 -- an Airflow operator is its keyword arguments
        self,
        *,
        project: str,
        entry_point: str = "main",
        version: str = "",
        git_conn_id: str = "",
        parameters: Mapping[str, Any] | None = None,
        experiment: str = "",
        parent_run_id: str = "",
        run_name: str = "",
        env_manager: str = "uv",
        environment: Sequence[str] = (),
        backend: str = LOCAL,
        backend_config: Mapping[str, Any] | None = None,
        reuse: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        # The result of another task is known only when this one runs.
        if isinstance(project, str):
            git_address.check_declared(project, git_conn_id, "MlflowRunOperator")
        refuse_secrets("MlflowRunOperator: parameters", parameters or {})
        self.project, self.entry_point, self.version = project, entry_point, version
        self.git_conn_id = git_conn_id
        self.parameters = dict(parameters or {})
        self.experiment, self.parent_run_id, self.run_name = experiment, parent_run_id, run_name
        self.env_manager, self.environment = env_manager, tuple(environment)
        self.reuse = reuse
        self.backend, self.backend_config = backend, dict(backend_config or {})
        self.placement = placement(backend, self.backend_config, self.environment)
        self.mlflow_address = ""
        self._runner: StepRunner | None = None
        self._steps: RemoteSteps | None = None
        self._started: Started | None = None

    def execute(self, context: Context) -> Any:  # noqa: ANN401 -- subclasses return more
        """Run the entry point and return the id of its MLflow run."""
        with airflow_errors(context):
            services = Services.connect()
            name = self.experiment or context["ti"].dag_id
            request = self.request(context, services.runs.experiment(name))
            return self.run_step(context, services, request)

    def resume(self, context: Context, event: Mapping[str, Any]) -> Any:  # noqa: ANN401 -- ditto
        """Go on when the trigger has seen the end of the job."""
        # Airflow makes a new operator for it in another process: nothing of `execute` is left.
        with airflow_errors(context):
            services = Services.connect()
            run_id = self._conclude(self._remote(services), event)
            return self.finished(context, services, run_id)

    def finished(self, context: Context, services: Services, run_id: str) -> Any:  # noqa: ANN401
        """Do what follows the entry point, here or after a job; return the task's result."""
        del context, services
        return run_id

    def on_kill(self) -> None:
        """End the whole process group, or the job; Airflow gives this five seconds."""
        # Airflow's own TERM reaches the task's process group only (3.3), and the entry point has
        # one of its own: without this it would go on.
        if self._runner is not None:
            self._runner.stop()
        if self._steps is not None and self._started is not None:
            job = self._started
            self._steps.stop(job.run_id, job.job, "the task was stopped")

    def request(self, context: Context, experiment_id: str) -> StepRequest:
        """Return what to run, from the operator's fields and Airflow's identity of this try."""
        from understudy.runner.step import StepRequest

        return StepRequest(
            project=self.project,
            version=self.version,
            entry_point=self.entry_point,
            parameters=self.parameters,
            experiment_id=experiment_id,
            key=attempt_key(context),
            name=self.run_name or context["ti"].task_id,
            tags=airflow_tags(context),
            parent_run_id=self.parent_run_id or None,
            env_manager=self.env_manager,
            environment=visible_environment(self.environment),
            reuse=self.reuse,
        )

    def runner(self, services: Services) -> StepRunner:
        """Return what runs this task's step, which ``on_kill`` stops."""
        if self._runner is None:
            self._runner = services.step_runner(self.git_access())
        return self._runner

    def run_step(self, context: Context, services: Services, request: StepRequest) -> str:
        """Run a request after ending what an earlier, dead try of this task left RUNNING.

        Raises:
            TaskDeferred: when the step runs on a cluster; ``resume`` goes on.
        """
        if self.placement is not None:
            steps, started = self._begin(services, request)
            self.defer(trigger=self._trigger(steps, started), method_name="resume")
        # Airflow starts a task again whose scheduler died (3.3), and MLflow ends no run whose
        # process was killed: what a dead try left RUNNING is ended by the next one.
        dead = services.runs.end_abandoned(request.experiment_id, Tag.ATTEMPT_OF, task_key(context))
        if dead:
            self.log.warning("Ended MLflow runs that a dead try left RUNNING: %s", ", ".join(dead))
        note = self._note_run(request.experiment_id)
        try:
            result = self.runner(services).run(request, self._say, note)
        finally:
            self._runner = None
        self.log.info("MLflow run %s of commit %s", result.run_id, result.commit)
        return result.run_id

    def run_job_here(self, services: Services, request: StepRequest) -> str:
        """Run a request on the cluster and wait for its job in this very process."""
        steps, started = self._begin(services, request)
        return self._conclude(steps, steps.wait(started, self._say))

    def _remote(self, services: Services) -> RemoteSteps:
        from understudy.airflow.connections import cluster_of
        from understudy.runner.cluster.remote import RemoteSteps

        if self.placement is None:
            raise TypeError("placement is None: the step runs on the worker")
        limit = self.execution_timeout
        seconds = None if limit is None else limit.total_seconds()
        return RemoteSteps(services.runs, services.client, cluster_of(self.placement), seconds)

    def _begin(self, services: Services, request: StepRequest) -> tuple[RemoteSteps, Started]:
        """Have the job of a request; ``on_kill`` ends it until a trigger watches it."""
        runner, steps = self.runner(services), self._remote(services)
        with runner.source(request.project, request.version) as source:
            for warning in runner.check(source.pinned, request.entry_point, request.parameters):
                self._say(warning)
            self._steps, self._started = steps, steps.start(request, source)
        started = self._started
        self._note_run(request.experiment_id)(started.run_id)
        self.log.info("MLflow run %s of commit %s", started.run_id, started.commit)
        what = "Found again, from an earlier try," if started.found else "Submitted"
        self.log.info("%s the job %s in %s", what, started.job, steps.cluster.place)
        return steps, started

    def _trigger(self, steps: RemoteSteps, started: Started) -> RemoteStepTrigger:
        from understudy.airflow.remote_trigger import RemoteStepTrigger

        return RemoteStepTrigger(
            backend=steps.cluster.kind,
            placement=asdict(steps.cluster.watched),
            run_id=started.run_id,
            job=started.job,
            deadline=None if steps.limit is None else time.time() + steps.limit,
        )

    def _conclude(self, steps: RemoteSteps, event: Mapping[str, Any]) -> str:
        run_id = steps.conclude(event, self._say)
        self._note_run(steps.runs.get(run_id).info.experiment_id)(run_id)
        return run_id

    def _note_run(self, experiment_id: str) -> Callable[[str], None]:
        def note(run_id: str) -> None:
            self.mlflow_address = run_address(experiment_id, run_id)

        return note


def visible_environment(names: Sequence[str]) -> dict[str, str]:
    """Return those of the worker's environment variables that a step may see.

    Raises:
        ParameterError: naming those that are not set.
    """
    missing = [name for name in names if name not in os.environ]
    if missing:
        raise ParameterError(
            f"The worker has no environment variables {missing}",
            allowed="names of variables that are set where the worker runs",
            action="set them on the worker or remove them from environment=",
        )
    return {name: os.environ[name] for name in names}


def task_key(context: Context, task_id: str = "", map_index: int | None = None) -> str:
    """Return the identity of a task of a Dag run, the same for each of its tries.

    Args:
        context: Airflow's context of the task that asks.
        task_id: The task that is meant; empty for the one that asks.
        map_index: Which of a mapped task's; None for the one that asks.
    """
    ti = context["ti"]
    index = _map_index(context) if map_index is None else map_index
    # What tells this Airflow from another one that shares the tracking server: both may have a Dag
    # and a Dag run of the same name.
    installation = str(conf.get("api", "base_url", fallback=""))
    return key_of(installation, ti.dag_id, ti.run_id, task_id or ti.task_id, index)


def _map_index(context: Context) -> int:
    index = context["ti"].map_index
    return NOT_MAPPED if index is None else int(index)


def cancel_job(spec: NightSpec, say: Callable[[str], None], run: Run) -> None:
    """Cancel the job of a run that nobody waits for, where it has one on a pipeline's cluster."""
    from understudy.airflow.connections import cluster_of

    # Only a job in the very place that this pipeline names: on another cluster the same id may be
    # somebody else's job.
    where, job = placement(spec.backend, spec.backend_config), run.data.tags.get(Tag.JOB.value)
    if where is not None and job:
        cluster = cluster_of(where)
        if run.data.tags.get(Tag.JOB_PLACE.value) == cluster.place:
            say(f"Cancelling the job {job}, for which nobody waits")
            cluster.cancel(job)


def errors_of(
    context: Context, services: Services, experiment_id: str, tasks: Iterable[str]
) -> Iterator[str]:
    """Yield why tasks failed: what they left, else what the MLflow run of their last try says."""
    for task in tasks:
        name, index = instance_of(task)
        error = cause_left(context, task)
        if not error:
            key = task_key(context, name, index)
            for run in services.runs.tagged(experiment_id, Tag.ATTEMPT_OF, key, limit=1):
                error = run.data.tags.get(Tag.ERROR.value, "")
        yield f"{called(task)}: {error or 'its log says why'}"


def attempt_key(context: Context) -> str:
    """Return the identity of one try of a task: Airflow gives each try an id of its own."""
    return key_of(str(context["ti"].id))


def airflow_tags(context: Context) -> dict[str, str]:
    """Return the tags that lead from an MLflow run back to its Airflow task."""
    ti = context["ti"]
    # Redacted: a run's id is free text, and everybody who may read the experiment sees its tags.
    tags = {
        Tag.KIND: Kind.STEP.value,
        Tag.DAG_ID: ti.dag_id,
        Tag.DAG_RUN_ID: ti.run_id,
        Tag.TASK_ID: ti.task_id,
        Tag.MAP_INDEX: _map_index(context),
        Tag.TRY_NUMBER: ti.try_number,
        Tag.ATTEMPT_OF: task_key(context),
    }
    return {tag.value: plain_tag(str(value)) for tag, value in tags.items()}
