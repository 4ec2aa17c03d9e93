"""When a pipeline's nights begin, and which moment's data a night sees. Reads no clock."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, cast

from airflow.sdk import (
    DAG,
    AssetOrTimeSchedule,
    CronDataIntervalTimetable,
    CronPartitionTimetable,
    CronTriggerTimetable,
    DeltaDataIntervalTimetable,
    DeltaTriggerTimetable,
)
from airflow.sdk.definitions.timetables.assets import AssetTriggeredTimetable

from understudy.errors import DeclarationError
from understudy.spec.pipeline import SCHEDULES, Pipeline
from understudy_plugin import Until

if TYPE_CHECKING:
    from airflow.sdk import Context
    from airflow.sdk.bases.timetable import BaseTimetable
    from airflow.timetables.base import Timetable

_BY_ITSELF: Final = frozenset({"scheduled", "backfill"})
"""Kinds of Dag runs that a timetable makes."""
_REASON: Final = 300
"""Characters of Airflow's words in a message."""


def check(schedule: object) -> None:
    """Check that Airflow takes a schedule, before a Dag is made of it.

    Raises:
        DeclarationError: with Airflow's reason, where it does not.
    """
    try:
        timetable: Any = DAG("schedule", schedule=cast("Any", schedule)).timetable
        timetable.validate()
    # Whatever Airflow or a timetable of somebody's raises.
    except Exception as error:
        reason = " ".join(str(error).split())[:_REASON]
        raise DeclarationError(
            f"schedule: Airflow takes no such one: {reason}",
            allowed=SCHEDULES,
            action="correct schedule",
        ) from error


def set_times(dag: DAG, spec: Pipeline) -> None:
    """Give a Dag without tasks the timetable of a pipeline's nights.

    A cron expression or a timedelta means the same nights whatever Airflow's setting
    ``create_cron_data_intervals`` says: each begins at its tick. With that setting the first tick
    would make no night, and the last one's would be a tick later; and once it is changed, Airflow
    takes the next night for one that was there before, by its logical date.
    """
    # A timetable that the pipeline file itself gives is taken as it is.
    given = dag.timetable
    times: BaseTimetable | Timetable = given
    if given is not spec.schedule and isinstance(given, CronDataIntervalTimetable):
        times = CronTriggerTimetable(given.expression, timezone=given.timezone)
    elif given is not spec.schedule and isinstance(given, DeltaDataIntervalTimetable):
        times = DeltaTriggerTimetable(given.delta)
    if type(times) is AssetTriggeredTimetable or not times.can_be_scheduled:
        # Nothing begins by the clock: of a run by hand before the start Airflow would make no task.
        dag.timetable, dag.start_date = times, None
    elif spec.start is None and spec.end is None:
        dag.timetable = times
    elif isinstance(times, CronPartitionTimetable) or getattr(times, "partitioned", False):
        # A run by hand has no logical date that could be earlier or later.
        dag.timetable, dag.end_date = times, spec.end
    elif isinstance(times, AssetOrTimeSchedule):
        until = cast("BaseTimetable", Until(times.timetable, spec.end, spec.start))
        dag.timetable = AssetOrTimeSchedule(timetable=until, assets=times.asset_condition)
    else:
        dag.timetable = Until(times, spec.end, spec.start)


def moment(context: Context) -> datetime:
    """Return the time (UTC) whose data a night sees unless a person says otherwise.

    It is the tick that made the night. Where a timetable gives runs a data interval, that is the
    interval's end, while the logical date is its beginning. A run by hand has the logical date that
    a person gave it, or the time when it was asked for.
    """
    dag_run = context["dag_run"]
    if dag_run.run_type in _BY_ITSELF and dag_run.data_interval_end is not None:
        return dag_run.data_interval_end.astimezone(UTC)
    return (dag_run.logical_date or dag_run.run_after).astimezone(UTC)
