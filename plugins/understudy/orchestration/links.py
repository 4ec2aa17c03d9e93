"""The button on a task that opens its MLflow run. Touches nothing: it only makes an address."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from airflow.sdk import BaseOperatorLink

from understudy.redact import redacted

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


def run_address(experiment_id: str, run_id: str) -> str:
    """Return the address of a run in MLflow's UI, as a browser reaches it.

    ``UNDERSTUDY_MLFLOW_UI`` names the UI where browsers and workers reach it by different names;
    otherwise ``MLFLOW_TRACKING_URI`` does. Empty where neither is an HTTP address.
    """
    given = os.environ.get("UNDERSTUDY_MLFLOW_UI") or os.environ.get("MLFLOW_TRACKING_URI", "")
    base = redacted(given)
    if not base.startswith(("http://", "https://")) or not run_id:
        return ""
    return f"{base.rstrip('/')}/#/experiments/{experiment_id}/runs/{run_id}"
