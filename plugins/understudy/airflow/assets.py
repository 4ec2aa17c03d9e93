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
    from mlflow.entities.model_registry import ModelVersion


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


def announce_champion(
    operator: BaseOperator, context: Context, event: Mapping[str, Any], *, moved: bool = False
) -> None:
    """Let a champion's asset change where its last event names another version, or it has moved.

    Args:
        operator: A task that has the asset among its inlets and outlets.
        context: Of that task.
        event: The extras; without ``previous`` that is the version of the last event.
        moved: Whether this task moved the alias.
    """
    asset = champion_asset(event["model"])
    # Where the file has renamed the model since the night began, the outlet is another one's asset.
    if asset in operator.outlets:
        last = announced(context, asset).get("version")
        if moved or last != event["version"]:
            announce(context, asset, {"previous": last, **event})
            return
    keep_quiet(operator)


def announce_found(
    operator: BaseOperator, context: Context, model: str, champion: ModelVersion | None
) -> None:
    """Let a champion's asset change where somebody moved the alias without Airflow."""
    if champion is None:
        keep_quiet(operator)
        return
    names = {"model": model, "version": str(champion.version)}
    runs = {"run_id": str(champion.run_id or ""), "decision_run_id": ""}
    announce_champion(operator, context, {**names, **runs})


def keep_quiet(operator: BaseOperator) -> None:
    """Let a task make no events, although it succeeds: Airflow reads its outlets afterwards."""
    operator.outlets = []
