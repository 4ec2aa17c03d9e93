"""The buttons on a task that open what it made in MLflow. Touches nothing: makes addresses only."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

from airflow.sdk import BaseOperatorLink
from airflow.sdk.configuration import conf

from understudy.contract import DECISION_PAGE
from understudy.store.tracking import run_page, ui_address

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator
    from airflow.sdk.types import TaskInstanceKey


class MlflowRunLink(BaseOperatorLink):
    """Links a task to the MLflow run that it made; Airflow asks for it in the task's process."""

    name = "MLflow run"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """Return the address that the operator noted while it ran, or an empty string."""
        del ti_key  # the operator at hand is the one that ran
        return str(getattr(operator, "mlflow_address", ""))


class DecisionLink(BaseOperatorLink):
    """Links a task to the page of the decision that it reached."""

    name = "Decision"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """Return the address that the operator noted while it ran, or an empty string."""
        del ti_key  # the operator at hand is the one that ran
        return str(getattr(operator, "decision_address", ""))


def night_page(dag_id: str, dag_run_id: str) -> str:
    """Return the address of a night's page in Airflow; '' where Airflow's own is not configured."""
    base = str(conf.get("api", "base_url", fallback="")).rstrip("/")
    if not base.startswith(("http://", "https://")):
        return ""
    return (
        f"{base}/understudy/dags/{quote(dag_id, safe='')}/night?run_id={quote(dag_run_id, safe='')}"
    )


def decision_address(experiment_id: str, run_id: str) -> str:
    """Return the address under which MLflow's UI shows the page of a night's decision.

    The UI shows a page in a frame without scripts' rights; the artifact's own address would only
    be downloaded. Empty where ``run_address`` is.
    """
    run = run_address(experiment_id, run_id)
    return run and f"{run}/artifactPath/{DECISION_PAGE}"


def run_address(experiment_id: str, run_id: str) -> str:
    """Return the address of a run in MLflow's UI, as a browser reaches it.

    Empty where ``ui_address`` is no HTTP address.
    """
    return run_page(ui_address(), experiment_id, run_id)
