"""Reads the night that a task belongs to from what the task ``pin`` left. Touches XCom only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from airflow.sdk.exceptions import AirflowSkipException

from understudy.night import Night

if TYPE_CHECKING:
    from airflow.sdk import Context

PIN: Final = "pin"
DOWNLOAD: Final = "download"
PREPROCESS: Final = "preprocess"
TRAIN: Final = "train"
VALIDATE: Final = "validate"
GATE: Final = "gate"
APPROVE: Final = "approve"
PROMOTE: Final = "promote"
REPORT: Final = "report"

CHALLENGER_INDEX: Final = 0
CHAMPION_INDEX: Final = 1
"""Map indexes of the two validations."""


def pulled(context: Context, task_id: str, map_index: int | None = None) -> Any:  # noqa: ANN401
    """Return what a task of this Dag run returned, or None where it returned nothing."""
    ti = context["ti"]
    if map_index is None:
        return ti.xcom_pull(task_ids=task_id)
    return ti.xcom_pull(task_ids=task_id, map_indexes=map_index)


def night_of(context: Context) -> Night:
    """Return the night that ``pin`` opened.

    Raises:
        AirflowSkipException: when it opened none, so that there is nothing to do.
    """
    pinned = pulled(context, PIN)
    if pinned is None:
        message = "The task pin opened no night; its log says why."
        raise AirflowSkipException(message)
    return Night(**pinned)
