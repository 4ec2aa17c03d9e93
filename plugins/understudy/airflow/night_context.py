"""Reads the night that a task belongs to from what the task ``pin`` left. Touches XCom only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from airflow.sdk.exceptions import AirflowSkipException

from understudy.store.night import Night

if TYPE_CHECKING:
    from airflow.sdk import Context

PIN: Final = "pin"
DOWNLOAD: Final = "download"
PREPROCESS: Final = "preprocess"
SEARCH: Final = "search"
TRAIN: Final = "train"
VALIDATE: Final = "validate"
GATE: Final = "gate"
APPROVE: Final = "approve"
REHEARSE: Final = "rehearse"
PROMOTE: Final = "promote"
MATURED: Final = "matured"
REPORT: Final = "report"

CHALLENGER_INDEX: Final = 0
CHAMPION_INDEX: Final = 1
"""Map indexes of the two validations."""


def states(context: Context) -> dict[str, str]:
    """Return the state of each task of this Dag run; of a mapped one as ``validate_0``."""
    # Through the execution API: a task of Airflow 3 has no access to Airflow's database.
    ti = context["ti"]
    found = ti.get_task_states(dag_id=ti.dag_id, run_ids=[ti.run_id]).get(ti.run_id, {})
    return {task: str(state) for task, state in found.items()}


def pulled(context: Context, task_id: str, map_index: int | None = None) -> Any:  # noqa: ANN401
    """Return what a task that succeeded in this Dag run returned, else None.

    What a task returned before the run was cleared stays readable in Airflow until it begins
    again: without a look at its state, a verdict could be reached on an earlier pass.
    """
    ti = context["ti"]
    name = task_id if map_index is None else f"{task_id}_{map_index}"
    if states(context).get(name) != "success":
        return None
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
