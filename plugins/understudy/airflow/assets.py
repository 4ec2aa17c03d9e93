"""Airflow assets that other Dags may wait for: a pipeline's raw data, a model's champion.

An event says that something changed. A task that finds the last event saying the same takes its
outlet back: Airflow would announce the outlets of every task that succeeds.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow.sdk import Asset

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator, Context


def champion_asset(model: str) -> Asset:
    """Return the asset that changes whenever a pipeline promotes a new champion of ``model``.

    Its events have the extras ``model``, ``version``, ``previous`` (the version before, or None),
    ``run_id`` (the training run) and ``decision_run_id`` (the run with the decision record).
    """
    return Asset(name=f"champion of {model}", uri=f"mlflow://models/{model}")


def raw_data_asset(pipeline: str) -> Asset:
    """Return the asset that changes whenever a pipeline's download brings other data.

    Its events have the extras ``sha256`` (of the content), ``rows``, ``as_of`` (ISO time, UTC) and
    ``run_id`` (the MLflow run that has the artifact ``raw``). Where the project's download names
    no ``data.sha256``, every download counts as other data.
    """
    return Asset(name=f"raw data of {pipeline}", uri=f"mlflow://pipelines/{pipeline}/raw")


def announced(context: Context, asset: Asset) -> Mapping[str, Any]:
    """Return the extras of an asset's last event; empty where there was none.

    Args:
        context: Of a task that has the asset among its inlets.
        asset: Which.
    """
    last = list(context["inlet_events"][asset].ascending(ascending=False).limit(1))
    return (last[0].extra or {}) if last else {}


def announce(context: Context, asset: Asset, extra: Mapping[str, Any]) -> None:
    """Give the event that Airflow makes of an outlet, when its task has succeeded, its extras."""
    context["outlet_events"][asset].extra = dict(extra)


def keep_quiet(operator: BaseOperator) -> None:
    """Let a task make no events, although it succeeds: Airflow reads its outlets afterwards."""
    operator.outlets = []
