"""What the tasks of a night leave each other: what it pinned, how they ended. Touches XCom only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from airflow.sdk.exceptions import AirflowSkipException

from understudy.airflow.exceptions import CAUSE
from understudy.contract import Outcome, Tag
from understudy.errors import DecisionError
from understudy.gate import Verdict
from understudy.spec.pipeline import NightSpec
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
REFIT: Final = "refit"
REHEARSE: Final = "rehearse"
PROMOTE: Final = "promote"
MATURED: Final = "matured"
REPORT: Final = "report"

NOT_MAPPED: Final = -1
"""Airflow's map index of a task that is not one of several."""
CHALLENGER_INDEX: Final = 0
CHAMPION_INDEX: Final = 1
"""Map indexes of the two validations."""

_BY_VERDICT: Final = {Verdict.REJECT.value: Outcome.REJECTED, Verdict.HOLD.value: Outcome.HELD}
_FAILED: Final = frozenset({"failed", "removed"})
_BAD: Final = _FAILED | {"upstream_failed"}
"""States of a task that has failed, or never ran because another one had."""


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


def cause_left(context: Context, task: str) -> str:
    """Return why a task of this Dag run failed, as it left it; '' where it left nothing."""
    name, index = instance_of(task)
    found = context["ti"].xcom_pull(task_ids=name, key=CAUSE, map_indexes=index)
    return found if isinstance(found, str) else ""


def instance_of(task: str) -> tuple[str, int]:
    """Return a task's id and its map index; states name a mapped task's parts as ``validate_0``."""
    name, _, index = task.rpartition("_")
    return (name, int(index)) if index.isdecimal() else (task, NOT_MAPPED)


def called(task: str) -> str:
    """Return a task as Airflow's UI names it: ``validate [challenger]``."""
    name, index = instance_of(task)
    if index == NOT_MAPPED:
        return task
    roles = {CHALLENGER_INDEX: "challenger", CHAMPION_INDEX: "champion"}
    return f"{name} [{roles.get(index, index) if name == VALIDATE else f'worker {index}'}]"


def night_of(context: Context, declared: NightSpec | None = None) -> Night:
    """Return the night that ``pin`` opened.

    Args:
        context: Airflow's context of a task.
        declared: What the pipeline file says now, for nights that the version before pinned; None
            where that does not matter.

    Raises:
        AirflowSkipException: when it opened none, so that there is nothing to do.
    """
    pinned = pulled(context, PIN)
    if pinned is None:
        message = "The task pin opened no night; its log says why."
        raise AirflowSkipException(message)
    return Night.of(pinned, declared)


def is_over(context: Context, dag_run_id: str) -> bool:
    """Return whether this Airflow knows a run of this Dag and it has ended."""
    # A Dag run that this Airflow does not know may be alive in another one that shares the server.
    ti = context["ti"]
    known = ti.get_dr_count(dag_id=ti.dag_id, run_ids=[dag_run_id])
    alive = ti.get_dr_count(dag_id=ti.dag_id, run_ids=[dag_run_id], states=["queued", "running"])
    return bool(known) and not alive


def failed_tasks(now: Mapping[str, str]) -> list[str]:
    """Return the tasks that failed themselves, by their states."""
    return sorted(task for task, state in now.items() if state in _FAILED and task != REPORT)


def outcome_of(tags: Mapping[str, str], now: Mapping[str, str]) -> tuple[Outcome, str]:
    """Return how a night ended, and why.

    Args:
        tags: The tags of its parent run. Those of an earlier pass may be among them, so each is
            believed only where the task that writes it has run in this one.
        now: The state of each task of the Dag run.
    """
    outcome, reason = _end_of(tags, now)
    notes = [reason, tags.get(Tag.SAW_LESS.value, "")]
    if now.get(REFIT) == "success":
        notes.append(tags.get(Tag.REFIT.value, ""))
    if now.get(REHEARSE) == "success":
        notes.append(tags.get(Tag.UNASKED.value, ""))
    return outcome, "; ".join(filter(None, notes))


def _end_of(tags: Mapping[str, str], now: Mapping[str, str]) -> tuple[Outcome, str]:
    # In the order of the tasks: what stopped the night first is how it ended.
    ill = {task: state for task, state in now.items() if state in _BAD and task != REPORT}
    # Each in a pipeline that has none before it.
    first = next((task for task in (DOWNLOAD, PREPROCESS, TRAIN) if task in now), "")
    if now.get(first) == "skipped":
        return Outcome.SKIPPED, tags.get(Tag.SKIPPED_BECAUSE.value, f"{first} was skipped")
    if now.get(GATE) != "success" or {APPROVE, PROMOTE} & ill.keys():
        return (
            Outcome.FAILED,
            f"these tasks failed: {', '.join(map(called, failed_tasks(now))) or 'none'}",
        )
    verdict, reason = tags[Tag.VERDICT.value], tags[Tag.VERDICT_REASON.value]
    if shadow := tags.get(Tag.SHADOW.value, ""):
        return Outcome.HELD, f"{shadow}: {reason}"
    if now.get(PROMOTE) == "success":
        return Outcome.PROMOTED, reason
    if verdict != Verdict.PROMOTE:
        return _BY_VERDICT[verdict], reason
    why = tags.get(Tag.HELD_BECAUSE.value, "the task promote did not run")
    return Outcome.HELD, f"{why}; verdict PROMOTE: {reason}"


def step_run(context: Context, task_id: str) -> str:
    """Return the MLflow run that a task of this night made.

    Raises:
        DecisionError: when it made none.
    """
    run_id = pulled(context, task_id)
    if run_id is None:
        raise DecisionError(
            f"The task {task_id} left no MLflow run",
            allowed="a night in which it succeeded",
            action=f"clear the task {task_id} of this Dag run",
        )
    return str(run_id)
