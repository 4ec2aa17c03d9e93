"""A Dag that hands a pipeline's new champion on, whoever moved the alias. Reads no clock or server.

It is a Dag of its own for three reasons: a failure is a red run that can be cleared and undoes
nothing; a rollback starts it as a promotion does; and because its runs follow one another and each
reads the champion anew, the last one hands on the last champion.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from airflow.sdk import DAG
from airflow.sdk.exceptions import AirflowSkipException

from understudy.airflow import explanation, notice
from understudy.airflow.assets import champion_asset
from understudy.airflow.exceptions import airflow_errors
from understudy.airflow.services import Services
from understudy.airflow.step import MlflowRunOperator
from understudy.contract import Tag
from understudy.spec.entry_points import MODEL_URI
from understudy.spec.pipeline import Pipeline

if TYPE_CHECKING:
    from airflow.sdk import Context

    from understudy.spec.pipeline import AfterPromotion

_TASK: Final = "hand_on"


def after_promotion_dag(spec: Pipeline) -> DAG | None:
    """Return the Dag of what follows a promotion; None where nothing does.

    It is not paused when Airflow finds it first: it does nothing until a champion changes, and then
    must not be waiting for a person.
    """
    if spec.after_promotion is None:
        return None
    text = explanation.of_after_promotion(spec, spec.after_promotion)
    with DAG(
        spec.after_promotion_dag,
        description=f"Hands each new champion of {spec.model} on",
        doc_md=text,
        schedule=champion_asset(spec.model),
        catchup=False,
        # One at a time and in order: the last run to finish is the last one to have looked.
        max_active_runs=1,
        is_paused_upon_creation=False,
        tags={"understudy", *spec.tags},
        default_args=retrying(spec),
    ) as dag:
        AfterPromotionOperator(
            task_id=_TASK, pipeline=spec, after=spec.after_promotion, doc_md=text
        )
    return dag


def retrying(spec: Pipeline) -> dict[str, Any]:
    """Return how often and how long a pipeline's tasks are tried."""
    return {
        "retries": spec.retries,
        "retry_delay": spec.retry_delay,
        "execution_timeout": spec.step_timeout,
    }


class AfterPromotionOperator(MlflowRunOperator):
    """Runs the entry point for the version that is champion when the task runs.

    The code is that of the version (branch, tag or commit) that the pipeline names: what is outside
    is as it is today, also where an earlier champion returns.

    Args:
        pipeline: What the pipeline file declares.
        after: What of that is to be run.
    """

    template_fields: Sequence[str] = ("project", "parameters")

    def __init__(self, *, pipeline: Pipeline, after: AfterPromotion, **kwargs: Any) -> None:
        super().__init__(
            project=pipeline.project.uri,
            version=pipeline.project.version,
            git_conn_id=pipeline.project.connection,
            entry_point=after.entry_point,
            parameters=after.parameters,
            experiment=pipeline.experiment,
            env_manager=pipeline.env_manager,
            environment=tuple(pipeline.environment),
            backend=pipeline.backend,
            backend_config=pipeline.backend_config,
            on_failure_callback=_notify_failure,
            **kwargs,
        )
        self.pipeline = pipeline
        self.champion = ""

    def execute(self, context: Context) -> Any:  # noqa: ANN401 -- as the base class
        """Run the entry point and return the id of its MLflow run."""
        with airflow_errors():
            services = Services.connect()
            champion = services.registry.champion(self.pipeline.model)
            if champion is None:
                raise AirflowSkipException(f"{self.pipeline.model} has no champion to hand on.")
            # Read now and not taken from the event that started the run: of several moves in a row
            # only the last one counts, and runs that waited hand the same version on again.
            self.champion = str(champion.version)
            plain = self.request(context, services.runs.experiment(self.experiment))
            address = f"models:/{self.pipeline.model}/{self.champion}"
            request = replace(
                plain,
                parameters={**plain.parameters, self.pipeline.steps.called(MODEL_URI): address},
                name=f"{self.entry_point} version {self.champion}",
                tags={**plain.tags, Tag.MODEL.value: self.pipeline.model},
            )
            return self.run_step(context, services, request)


def _notify_failure(context: Context) -> None:
    """Send the notice, when no try is left, that a champion was not handed on."""
    task: Any = context["task"]
    why = str(context.get("exception") or "its log says why")
    failed = notice.of_after_promotion(task.pipeline, task.champion, why, task.mlflow_address)
    task.log.error("%s", failed.text)
    notice.Messenger(task.pipeline.notify, task.log).tell_unrecorded(context, failed)
