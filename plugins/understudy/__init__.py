"""Understudy: recurring retraining with Airflow and MLflow, and a champion that earned its place.

``from understudy import Gate, Metric, Project, pipeline`` is all that a Dag file needs. Names are
loaded when they are first used, so that importing the package costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from understudy.declaration import AfterPromotion, Pipeline, Project, Rehearsal, Steps
    from understudy.gate import Budgets, Gate, Guards, Limit, Metric, Slice
    from understudy.orchestration.assets import champion_asset, raw_data_asset
    from understudy.orchestration.builder import pipeline
    from understudy.orchestration.retention_dag import retention_dag
    from understudy.orchestration.rollback_dag import rollback_dag
    from understudy.orchestration.step_operator import MlflowRunOperator
    from understudy.promotion.retention import Keep
    from understudy.search import Search

__all__ = [
    "AfterPromotion",
    "Budgets",
    "Gate",
    "Guards",
    "Keep",
    "Limit",
    "Metric",
    "MlflowRunOperator",
    "Pipeline",
    "Project",
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
    "AfterPromotion": "understudy.declaration",
    "Budgets": "understudy.gate",
    "Gate": "understudy.gate",
    "Guards": "understudy.gate",
    "Limit": "understudy.gate",
    "Metric": "understudy.gate",
    "Keep": "understudy.promotion.retention",
    "MlflowRunOperator": "understudy.orchestration.step_operator",
    "Pipeline": "understudy.declaration",
    "Project": "understudy.declaration",
    "Rehearsal": "understudy.declaration",
    "Search": "understudy.search",
    "Slice": "understudy.gate",
    "Steps": "understudy.declaration",
    "champion_asset": "understudy.orchestration.assets",
    "pipeline": "understudy.orchestration.builder",
    "raw_data_asset": "understudy.orchestration.assets",
    "retention_dag": "understudy.orchestration.retention_dag",
    "rollback_dag": "understudy.orchestration.rollback_dag",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401 -- any exported object
    if name not in _HOMES:
        message = f"module 'understudy' has no attribute {name!r}"
        raise AttributeError(message)
    return getattr(import_module(_HOMES[name]), name)
