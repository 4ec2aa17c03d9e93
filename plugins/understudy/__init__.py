"""Understudy: recurring retraining with Airflow and MLflow, and a champion that earned its place.

``from understudy import Gate, Metric, Project, pipeline`` is all that a Dag file needs. Names are
loaded when they are first used, so that importing the package costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from understudy.airflow.assets import champion_asset, raw_data_asset
    from understudy.airflow.builder import pipeline
    from understudy.airflow.retention_dag import retention_dag
    from understudy.airflow.rollback_dag import rollback_dag
    from understudy.airflow.step import MlflowRunOperator
    from understudy.gate import Budgets, Gate, Guards, Learned, Limit, Metric, Slice
    from understudy.registry.retention import Keep
    from understudy.spec.pipeline import AfterPromotion, Pipeline, Project, Refit, Rehearsal, Steps
    from understudy.spec.search import Search

__version__ = "0.1.0"

__all__ = [
    "AfterPromotion",
    "Budgets",
    "Gate",
    "Guards",
    "Keep",
    "Learned",
    "Limit",
    "Metric",
    "MlflowRunOperator",
    "Pipeline",
    "Project",
    "Refit",
    "Rehearsal",
    "Search",
    "Slice",
    "Steps",
    "champion_asset",
    "pipeline",
    "raw_data_asset",
    "retention_dag",
    "rollback_dag",
]

_HOMES = {
    "AfterPromotion": "understudy.spec.pipeline",
    "Budgets": "understudy.gate",
    "Gate": "understudy.gate",
    "Guards": "understudy.gate",
    "Learned": "understudy.gate",
    "Limit": "understudy.gate",
    "Metric": "understudy.gate",
    "Keep": "understudy.registry.retention",
    "MlflowRunOperator": "understudy.airflow.step",
    "Pipeline": "understudy.spec.pipeline",
    "Project": "understudy.spec.pipeline",
    "Refit": "understudy.spec.pipeline",
    "Rehearsal": "understudy.spec.pipeline",
    "Search": "understudy.spec.search",
    "Slice": "understudy.gate",
    "Steps": "understudy.spec.pipeline",
    "champion_asset": "understudy.airflow.assets",
    "pipeline": "understudy.airflow.builder",
    "raw_data_asset": "understudy.airflow.assets",
    "retention_dag": "understudy.airflow.retention_dag",
    "rollback_dag": "understudy.airflow.rollback_dag",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401 -- any exported object
    if name not in _HOMES:
        message = f"module 'understudy' has no attribute {name!r}"
        raise AttributeError(message)
    return getattr(import_module(_HOMES[name]), name)
