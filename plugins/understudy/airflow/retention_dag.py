"""A Dag that removes what of the pipelines' past may go. Reads no clock, file or server."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow.sdk import DAG, BaseOperator, Param

from understudy.airflow.exceptions import airflow_errors
from understudy.airflow.schedule import check
from understudy.airflow.services import Services
from understudy.registry.retention import Keep

if TYPE_CHECKING:
    from airflow.sdk import Context


def retention_dag(
    dag_id: str = "retention",
    *,
    pipelines: Mapping[str, Keep],
    schedule: Any = "@weekly",  # noqa: ANN401 -- what Airflow takes
    dry_run: bool = True,
    models: Mapping[str, str] | None = None,
) -> DAG:
    """Return a Dag with a task per pipeline.

    Args:
        dag_id: The Dag's id.
        pipelines: What stays of each pipeline, by its experiment's name (by default the Dag's id).
        schedule: What Airflow takes.
        dry_run: Whether to only say in the log what would go; the form may say otherwise.
        models: The registered models of pipelines that name theirs otherwise.

    Raises:
        DeclarationError: where Airflow does not take the schedule.
    """
    check(schedule)
    names = models or {}
    with DAG(
        dag_id,
        description="Removes nights and versions that nothing needs any more",
        schedule=schedule,
        catchup=False,
        max_active_runs=1,
        params={"dry_run": Param(dry_run, type="boolean", title="Only say what would go")},
        tags={"understudy"},
    ) as dag:
        for name, keep in pipelines.items():
            RetentionOperator(task_id=name, experiment=name, model=names.get(name, name), keep=keep)
    return dag


class RetentionOperator(BaseOperator):
    """Removes, or with the parameter ``dry_run`` only names, what of a pipeline may go.

    Args:
        experiment: The pipeline's experiment.
        model: Its registered model.
        keep: What stays.
    """

    ui_color = "#eceff1"

    def __init__(self, *, experiment: str, model: str, keep: Keep, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.experiment, self.model, self.keep = experiment, model, keep

    def execute(self, context: Context) -> dict[str, int]:
        """Return how many nights and versions went, or would go."""
        from understudy.registry.garbage_collector import GarbageCollector, Owner

        owner = Owner(self.experiment, self.model)
        with airflow_errors():
            services = Services.connect()
            collector = GarbageCollector(services.client, services.runs, services.promoter)
            # The first run of a new Dag must not delete what nobody has seen in a list: the default
            # only names.
            if context["params"]["dry_run"]:
                planned = collector.plan(owner, self.keep)
                for line in planned.summary_lines():
                    self.log.info(line)
            else:
                planned = collector.carry_out(owner, self.keep, self.log.info)
        return {"nights": len(planned.nights), "versions": len(planned.versions)}
