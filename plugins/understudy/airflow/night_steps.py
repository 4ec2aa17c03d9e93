"""The steps of a night: ``MlflowRunOperator`` fed with what the night pinned."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from airflow.sdk.exceptions import AirflowException, AirflowSkipException

from understudy.airflow.assets import announce, announced, keep_quiet, raw_data_asset
from understudy.airflow.challenger import trained_model
from understudy.airflow.exceptions import airflow_errors
from understudy.airflow.night_context import (
    DOWNLOAD,
    PREPROCESS,
    night_of,
    pulled,
    step_run,
)
from understudy.airflow.services import Services
from understudy.airflow.step import (
    MlflowRunOperator,
    airflow_tags,
    attempt_key,
    visible_environment,
)
from understudy.contract import LOCAL, DataTag, Tag, key_of
from understudy.decide.inputs import as_tag, cause_of
from understudy.errors import ParameterError, listed, nearest
from understudy.runner import projectfile
from understudy.spec.entry_points import (
    ARTIFACT_URI,
    AS_OF,
    DATA,
    METRICS,
    MODEL_URI,
    RAW,
    RUN_ID,
    Role,
    given_to,
)
from understudy.spec.pipeline import NightSpec, Pipeline
from understudy.spec.placement import placement
from understudy.store.night import Night, plain_name

if TYPE_CHECKING:
    from airflow.sdk import Context
    from mlflow.entities import Run

    from understudy.runner.step import StepRequest


NOT_PINNED: Final = "This night was pinned without this task: there is nothing to do."


class NightStepOperator(MlflowRunOperator):
    """One step of a night: pinned commit, child of the night's run, parameters by declaration.

    Args:
        pipeline: What the pipeline file declares; it counts where the version before, which pinned
            less, began the night.
        step: Which of the night's steps.
    """

    # What a night pinned is read when the task runs: only the project may hold a template.
    template_fields: Sequence[str] = ("project",)

    def __init__(self, *, pipeline: Pipeline, step: Role, **kwargs: Any) -> None:
        super().__init__(project=pipeline.project.uri, **kwargs)
        self.pipeline, self.step, self._scored = pipeline, step, 0

    def night(self, context: Context) -> Night:
        """Return the night; what it pinned says from now on what this task runs, where and how."""
        night = night_of(context, self.pipeline)
        self.at_pinned(night)
        spec = night.spec
        self.entry_point = self.entry_point_of(spec)
        self.env_manager, self.environment = spec.env_manager, tuple(spec.environment)
        self.placement = placement(spec.backend, spec.backend_config, spec.environment)
        return night

    def entry_point_of(self, spec: NightSpec) -> str:
        """Return the project's entry point that a night runs here; '' for none."""
        return spec.steps.by_role.get(self.step, "")

    def execute(self, context: Context) -> Any:  # noqa: ANN401 -- subclasses return more
        """Run the step and return the id of its MLflow run."""
        with airflow_errors(context):
            services, night = Services.connect(), self.night(context)
            # The file has gained the task since: the night goes on as if it were not there.
            if not self.entry_point:
                self.log.info(NOT_PINNED)
                keep_quiet(self)
                return None
            run_id = self.run_entry_point(context, services, night, self.inputs(context, night))
            return self.finished(context, services, run_id)

    def finished(self, context: Context, services: Services, run_id: str) -> Any:  # noqa: ANN401
        """End the night SKIPPED where its first step shows that nothing has changed."""
        night = self.night(context)
        if self.task_id == next(iter(night.spec.steps.by_role)):
            self._skip_if_unchanged(services, night, run_id)
        return run_id

    def _skip_if_unchanged(self, services: Services, night: Night, run_id: str) -> None:
        # Without a digest of the content nobody can say that the data are those of another night:
        # MLflow's own digest of a dataset covers its first 10,000 rows only (3.17). Then the run
        # itself stands for what it has read: `reuse` vouches for it where it is an earlier night's.
        read = services.runs.get(run_id).data.tags.get(DataTag.SHA256.value, "")
        if not read:
            name = self.entry_point
            self.log.info("%s names no %s: only its reuse skips a night.", name, DataTag.SHA256)
            read = f"run {run_id}"
        fingerprint = night.fingerprint(read)
        services.runs.tag(night.run_id, {Tag.FINGERPRINT: fingerprint})
        earlier = services.nights.same_input(night, fingerprint)
        if earlier is not None:
            name = plain_name(earlier)
            reason = f"code, data, parameters and rules are those of {name}"
            services.runs.tag(night.run_id, {Tag.SKIPPED_BECAUSE: reason})
            raise AirflowSkipException(f"SKIPPED: {reason}")

    def resume(self, context: Context, event: Mapping[str, Any]) -> Any:  # noqa: ANN401 -- ditto
        """Go on when the trigger has seen the end of the job, on the cluster that was pinned."""
        with airflow_errors(context):
            self.night(context)
        return super().resume(context, event)

    def inputs(self, context: Context, night: Night) -> dict[str, str]:
        """Return the as-of time, and the artifact addresses that earlier steps left."""
        steps, found = night.spec.steps, {AS_OF: night.as_of}
        for task_id, name, artifact in ((DOWNLOAD, RAW, steps.raw), (PREPROCESS, DATA, steps.data)):
            run_id = pulled(context, task_id)
            if run_id is not None:
                found[name] = f"runs:/{run_id}/{artifact}"
        return found

    def score(self, context: Context, services: Services, night: Night, model_uri: str) -> str:
        """Score a model on the night's rows within this task; return the MLflow run of it.

        In place of a refit, which may have been trained on these rows, what was judged is scored.
        """
        # Counted, because the count is in the key: each validation of this try is a run of its own.
        self._scored += 1
        address = services.registry.judged_address(model_uri)
        inputs = {**self.inputs(context, night), MODEL_URI: address}
        return self.run_entry_point(context, services, night, inputs)

    def run_step(self, context: Context, services: Services, request: StepRequest) -> str:
        """Run a request; one of several of a task, none of which Airflow knows, never defers it."""
        if self._scored and self.placement is not None:
            return self.run_job_here(services, request)
        return super().run_step(context, services, request)

    def run_entry_point(
        self, context: Context, services: Services, night: Night, inputs: Mapping[str, str]
    ) -> str:
        """Run the entry point with those of the night's parameters that it declares."""
        from understudy.runner.step import StepRequest

        # The night's parameters are those of all its steps, and MLflow appends what an entry point
        # does not declare to its command line (3.17).
        declared = self.takes(services, night)
        filled_in = night.spec.steps.renamed(inputs)
        parameters = {
            **self.given(context, services, night, declared),
            **{name: value for name, value in filled_in.items() if name in declared},
        }
        request = StepRequest(
            project=self.project,
            version=night.commit,
            entry_point=self.entry_point,
            parameters=parameters,
            experiment_id=night.experiment_id,
            key=self.attempt(context),
            name=self.run_title(),
            tags={**airflow_tags(context), Tag.PIPELINE.value: night.pipeline},
            parent_run_id=night.run_id,
            env_manager=self.env_manager,
            environment=self.variables(night.spec),
            reuse=self.may_reuse(night.spec, parameters) and not night.force,
        )
        return self.run_step(context, services, request)

    def given(
        self, context: Context, services: Services, night: Night, wanted: Collection[str]
    ) -> dict[str, Any]:
        """Return those of the night's parameters that are wanted, for this step, by their names.

        Raises:
            ParameterError: where an earlier step has not left what is in one.
        """
        keys = given_to(self.step, night.parameters)
        found = {name: night.parameters[key] for name, key in keys.items() if name in wanted}
        for name in found:
            if parts := night.handed.get(keys[name]):
                found[name] = "".join(
                    part
                    if isinstance(part, str)
                    else _left_by(services.runs.get(step_run(context, part[0])), part)
                    for part in parts
                )
        return found

    def may_reuse(self, spec: NightSpec, parameters: Collection[str]) -> bool:
        """Return whether an earlier result may stand for this step's.

        Args:
            spec: What the night obeys.
            parameters: Names of those that the step takes.
        """
        # A step that takes an artifact depends on its inputs; a download depends on the world.
        artifacts = map(spec.steps.called, (RAW, DATA, MODEL_URI))
        takes_artifact = any(name in parameters for name in artifacts)
        return spec.reuse.get(self.task_id, takes_artifact)

    def takes(self, services: Services, night: Night, entry_point: str = "") -> Collection[str]:
        """Return the parameters that an entry point declares; without its name, the task's own."""
        pinned = self.runner(services).pin(self.project, night.commit)
        return projectfile.named(pinned.entry_points, entry_point or self.entry_point)

    def variables(self, spec: NightSpec) -> dict[str, str]:
        """Return the environment variables that the step is given; values may be secrets."""
        return visible_environment(spec.environment)

    def attempt(self, context: Context) -> str:
        """Return the identity of this try, or of one of its validations."""
        key = attempt_key(context)
        return key_of(key, self._scored) if self._scored else key

    def run_title(self) -> str:
        """Return the name of the MLflow run."""
        return self.entry_point


class DownloadOperator(NightStepOperator):
    """Gets the data as of the night, and lets Airflow know where they are others."""

    def __init__(self, *, pipeline: Pipeline, **kwargs: Any) -> None:
        raw = raw_data_asset(pipeline.name)
        super().__init__(pipeline=pipeline, inlets=[raw], outlets=[raw], **kwargs)
        self._raw = raw

    def finished(self, context: Context, services: Services, run_id: str) -> str:
        """Compare code, data, parameters and rules with earlier nights; then announce the data."""
        super().finished(context, services, run_id)
        tags = services.runs.get(run_id).data.tags
        self._announce(context, self.night(context), run_id, tags)
        return run_id

    def _announce(
        self, context: Context, night: Night, run_id: str, tags: Mapping[str, str]
    ) -> None:
        """Let Airflow's asset change where the content is not that of its last change."""
        digest = tags.get(DataTag.SHA256.value)
        if digest is not None and announced(context, self._raw).get("sha256") == digest:
            self.log.info("The data are those of the last event of %r: no new one.", self._raw.name)
            keep_quiet(self)
            return
        rows = tags.get(DataTag.ROWS.value)
        extra = {"sha256": digest, "rows": rows, "as_of": night.as_of, "run_id": run_id}
        announce(context, self._raw, extra)


class ValidateOperator(NightStepOperator):
    """Scores one of the two models on the night's holdout.

    Args:
        role: ``challenger`` or ``champion``.
    """

    def __init__(self, *, role: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.role = role

    def execute(self, context: Context) -> Any:  # noqa: ANN401 -- as the base class
        """Score the model; what keeps the champion from being scored is a verdict's business."""
        with self._noting(context):
            return super().execute(context)

    def resume(self, context: Context, event: Mapping[str, Any]) -> Any:  # noqa: ANN401 -- ditto
        """Go on when the trigger has seen the end of the job."""
        with self._noting(context):
            return super().resume(context, event)

    @contextmanager
    def _noting(self, context: Context) -> Iterator[None]:
        """Write on the night why its champion could not be scored, for the gate to read."""
        # Emptied first: what an earlier try noted is not why this one fails, if it does.
        try:
            if self.role == "champion":
                self._note(context, "")
            yield
        # A skip is an AirflowException, too, and no failure.
        except AirflowSkipException:
            raise
        except AirflowException as failed:
            if self.role == "champion":
                night, services = self.night(context), Services.connect()
                # `airflow_errors` has made Airflow's exception of an error of ours, its cause.
                error = failed.__cause__ or failed
                with airflow_errors():
                    scored = services.registry.judged(night.model, night.champion or "")
                    cause = cause_of(services.client, error, night.model, scored)
                self._note(context, as_tag(cause, str(error)))
            raise

    def _note(self, context: Context, text: str) -> None:
        with airflow_errors():
            Services.connect().runs.tag(self.night(context).run_id, {Tag.CHAMPION_ERROR: text})

    def inputs(self, context: Context, night: Night) -> dict[str, str]:
        """Return the holdout and the model; without a champion there is nothing to score."""
        found = super().inputs(context, night)
        if self.role != "champion":
            model_uri = trained_model(context, Services.connect(), night).uri
        elif night.champion is not None:
            # By its number and not by its alias, which may move before the model is loaded.
            champion = f"models:/{night.model}/{night.champion}"
            model_uri = Services.connect().registry.judged_address(champion)
        else:
            raise AirflowSkipException("There is no champion to score.")
        return {**found, MODEL_URI: model_uri}

    def run_title(self) -> str:
        """Return the name of the MLflow run."""
        return f"{self.entry_point} {self.role}"


def warm_up(services: Services, night: Night, project: str) -> None:
    """Let the imports of a night's steps begin while Airflow gets the first one going."""
    from understudy.runner.step import StepRequest

    spec = night.spec
    if spec.backend != LOCAL:
        return
    request = StepRequest(
        project=project,
        version=night.commit,
        entry_point=spec.steps.names[0],
        parameters=night.parameters,
        experiment_id=night.experiment_id,
        key="",
        name="",
        env_manager=spec.env_manager,
        environment=visible_environment(spec.environment),
    )
    artifacts = services.runs.get(night.run_id).info.artifact_uri
    services.step_runner().warm_up(request, (artifacts, *map(str, night.parameters.values())))


def _left_by(run: Run, part: Sequence[str]) -> str:
    """Return what a part of a parameter's value means, now that its step has ended."""
    step, what, name = part
    if what == RUN_ID:
        return str(run.info.run_id)
    if what == ARTIFACT_URI:
        return str(run.info.artifact_uri)
    there: Mapping[str, Any] = run.data.metrics if what == METRICS else run.data.params
    if name not in there:
        raise ParameterError(
            f"The step {step} has logged no {name!r} among its {what}{nearest(name, there)}",
            allowed=f"what its run {run.info.run_id} has: {listed(there)}",
            action=f"correct steps.{step}.{what}.{name} in the pipeline file, or have the step log"
            " it",
        )
    return str(there[name])
