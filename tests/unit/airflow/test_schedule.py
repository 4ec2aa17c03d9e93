"""When nights begin and what they see, by Airflow's own scheduler and its own runs."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk import (
    Asset,
    AssetOrTimeSchedule,
    CronDataIntervalTimetable,
    CronPartitionTimetable,
    CronTriggerTimetable,
)
from airflow.sdk.configuration import conf
from airflow.serialization.serialized_objects import DagSerialization
from airflow.timetables.base import DagRunInfo, DataInterval
from pendulum import DateTime

from understudy import Gate, Metric, Project, pipeline
from understudy.airflow.retention_dag import retention_dag
from understudy.airflow.schedule import moment
from understudy.errors import DeclarationError

if TYPE_CHECKING:
    from airflow.serialization.definitions.dag import SerializedDAG

START, END = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 3, tzinfo=UTC)
TICKS = [f"2026-01-0{day}" for day in (1, 2, 3)]


def scheduled(schedule: Any, **fields: Any) -> SerializedDAG:  # noqa: ANN401 -- Airflow's
    """Return a pipeline's Dag as the scheduler has it."""
    dag = pipeline(
        "nightly",
        project=Project("https://example.com/models.git"),
        gate=Gate(Metric("rmse")),
        schedule=schedule,
        **{"start": START, "end": END, "catchup": True, **fields},
    )
    return DagSerialization.from_dict(DagSerialization.to_dict(dag))


def runs(dag: SerializedDAG, most: int = 9) -> list[DagRunInfo]:
    """Return the runs that the scheduler makes, one after the other."""
    made: list[DagRunInfo] = []
    while len(made) < most:
        last = made[-1] if made else None
        found = dag.next_dagrun_info(last_automated_run_info=last)
        if found is None:
            break
        made.append(found)
    return made


class Made:
    """A Dag run as a task sees it."""

    def __init__(self, run_type: str, info: DagRunInfo) -> None:
        self.run_type, self.run_after, self.logical_date = run_type, info.run_after, None
        self.data_interval_end = None
        if info.data_interval is not None:
            self.logical_date = info.data_interval.start
            self.data_interval_end = info.data_interval.end


def seen(info: DagRunInfo, run_type: str = "scheduled") -> str:
    """Return the day that a run sees."""
    context: Any = {"dag_run": Made(run_type, info)}
    return moment(context).isoformat()[:10]


@pytest.mark.parametrize("intervals", ["False", "True"])
@pytest.mark.parametrize("schedule", ["@daily", "0 0 * * *", timedelta(days=1)])
def test_a_tick_is_the_same_night_under_both_settings(
    schedule: object, intervals: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first, the last, and what each sees; so that a change of the setting loses none."""
    monkeypatch.setenv("AIRFLOW__SCHEDULER__CREATE_CRON_DATA_INTERVALS", intervals)
    assert conf.getboolean("scheduler", "create_cron_data_intervals") is (intervals == "True")
    made = runs(scheduled(schedule))
    assert [one.run_after.isoformat()[:10] for one in made] == TICKS
    assert [seen(one) for one in made] == TICKS


@pytest.mark.parametrize(
    ("schedule", "first"),
    [
        (CronDataIntervalTimetable("@daily", timezone="UTC"), 1),
        (CronTriggerTimetable("@daily", timezone="UTC", interval=timedelta(days=1)), 0),
        (CronTriggerTimetable("@daily", timezone="UTC"), 0),
    ],
    ids=["intervals", "trigger with an interval", "trigger"],
)
@pytest.mark.parametrize("run_type", ["scheduled", "backfill"])
def test_a_night_sees_its_tick_whatever_the_interval(
    schedule: object, first: int, run_type: str
) -> None:
    """Not the logical date, which is the interval's beginning; nothing begins after the end."""
    made = runs(scheduled(schedule))
    assert [one.run_after.isoformat()[:10] for one in made] == TICKS[first:]
    assert [seen(one, run_type) for one in made] == TICKS[first:]


def test_a_run_by_hand_sees_the_moment_that_was_given() -> None:
    """Airflow infers an interval that ends at the tick before: that is not what was asked for."""
    given = datetime(2026, 1, 2, 15, tzinfo=UTC)
    asked: Any = Made("manual", DagRunInfo(given, DataInterval(START, END), None, None))
    asked.logical_date = given
    assert moment({"dag_run": asked}) == given  # type: ignore[typeddict-item]
    asked.logical_date = asked.data_interval_end = None
    assert moment({"dag_run": asked}) == given  # type: ignore[typeddict-item]


@pytest.mark.parametrize(
    "schedule",
    [
        "@daily",
        timedelta(days=1),
        None,
        [Asset("rows")],
        AssetOrTimeSchedule(
            timetable=CronTriggerTimetable("@daily", timezone="UTC"), assets=[Asset("rows")]
        ),
        CronPartitionTimetable("@daily", timezone="UTC"),
    ],
    ids=["cron", "delta", "by hand", "assets", "assets or times", "partitions"],
)
def test_the_schedule_ends_and_the_hand_does_not(schedule: object) -> None:
    """Airflow makes no task of a run whose logical date is after the end of the task or Dag."""
    dag = scheduled(schedule)
    assert len(runs(dag)) in {0, len(TICKS)}
    partitioned = dag.timetable.partitioned
    assert {task.end_date for task in dag.tasks} == {END if partitioned else None}
    assert dag.timetable.summary != "Until"


def test_without_an_end_the_nights_are_those_of_airflows_own_timetable() -> None:
    """The first at the start, and then on; it is shown as Airflow shows its own."""
    dag, own = scheduled("@daily", end=None), CronTriggerTimetable("0 0 * * *", timezone="UTC")
    made = runs(dag)
    assert [one.run_after.isoformat()[:10] for one in made[:3]] == TICKS
    assert len(made) == 9
    assert dag.timetable.summary == "0 0 * * *"
    assert (
        dag.timetable.description == scheduled(own, start=None, catchup=False).timetable.description
    )


def test_without_start_and_end_the_timetable_is_airflows_own() -> None:
    """There is nothing to refuse."""
    dag = scheduled("@daily", start=None, end=None, catchup=False)
    assert dag.timetable.type_name == "CronTriggerTimetable"


@pytest.mark.parametrize(
    "schedule",
    [
        "@daily",
        timedelta(days=1),
        AssetOrTimeSchedule(
            timetable=CronTriggerTimetable("@daily", timezone="UTC"), assets=[Asset("rows")]
        ),
    ],
    ids=["cron", "delta", "assets or times"],
)
@pytest.mark.parametrize("end", [END, None], ids=["an end", "no end"])
def test_a_logical_date_before_the_start_is_refused(schedule: object, end: datetime | None) -> None:
    """In words that Airflow shows to whoever triggers: it would make a green run of no task."""
    timetable = scheduled(schedule, end=end).timetable
    with pytest.raises(ValueError, match=r"before the Dag's start\. Allowed: 2026.* Next: .*as_of"):
        timetable.infer_manual_data_interval(run_after=DateTime(2025, 12, 31, tzinfo=UTC))
    assert timetable.infer_manual_data_interval(run_after=DateTime(2026, 1, 1, tzinfo=UTC))


@pytest.mark.parametrize("schedule", [None, [Asset("rows")]], ids=["by hand", "assets"])
def test_without_a_clock_there_is_no_start(schedule: object) -> None:
    """So a run by hand has its tasks; and assets begin none but by Airflow's own timetable."""
    dag = scheduled(schedule)
    assert dag.timetable.type_name != "Until"
    assert {dag.start_date, *(task.start_date for task in dag.tasks)} == {None}


@pytest.mark.parametrize(
    "schedule",
    [
        *(10**400, 10**5000, float("inf"), float("nan"), True, Decimal("inf")),
        *(date(2026, 1, 1), START, b"@daily", timedelta.max, timedelta(0), timedelta(days=-1)),
        *("99 * * * *", "daily", "@dayly", "", "* * *", ["rows"], timedelta, object()),
    ],
    ids=map(str, range(20)),  # one cannot be written
)
def test_what_is_no_schedule_is_an_error_of_this_line(schedule: object) -> None:
    """The line of the pipeline file, the field, and what it may be; not Airflow's error alone."""
    line = r"test_schedule\.py, line \d+: (pipeline: )?schedule[: ].* Allowed: a cron expression"
    with pytest.raises(DeclarationError, match=line) as refused:
        scheduled(schedule)
    assert len(str(refused.value)) < 900
    with pytest.raises(DeclarationError, match="schedule"):
        retention_dag(pipelines={}, schedule=schedule)
