"""The one file of this folder that Airflow scans as a plug-in; it names what the UI may show.

It imports nothing of the package, but where tasks are forked: in scheduler and workers. There an
edit of the package counts when they have been started again, as Airflow has it with its providers.
"""

from __future__ import annotations

import os
import sys
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow.plugins_manager import AirflowPlugin
from airflow.timetables.base import Timetable

if TYPE_CHECKING:
    from airflow.sdk.bases.timetable import BaseTimetable
    from airflow.timetables.base import DagRunInfo, DataInterval, TimeRestriction
    from pendulum import DateTime

# A cup, in the colour of Airflow's own icons; Airflow asks for an address.
_ICON = (
    "data:image/svg+xml,<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 24 24' fill='none'"
    " stroke='{0}' stroke-width='2' stroke-linecap='round' stroke-linejoin='round'>"
    "<path d='M7 4h10v6a5 5 0 0 1-10 0zM7 6H4c0 3 1 5 3 5M17 6h3c0 3-1 5-3 5M12 15v4M8 20h8'/>"
    "</svg>"
)


# Airflow 3.4 shows the tabs on these Dags alone; earlier ones pass the key on, unused.
_OURS = {"dag_tags": ["understudy"]}


class Until(Timetable):
    """Schedules the runs of another timetable until a moment; a Dag can be run by hand afterwards.

    A Dag's own ``end_date`` would make a run by hand after that date a success without any task:
    Airflow leaves those out whose end is before the run's logical date. The same is true of a
    logical date before the Dag's ``start_date``, which is refused here: Airflow shows the words.

    Args:
        timetable: Whose runs; Airflow's for Dag files, or that of its scheduler.
        end: The last moment, with time zone, at which a run begins; None for no end.
        start: The first moment likewise; None where there is none, or where it is not known.
    """

    def __init__(
        self,
        timetable: BaseTimetable | Timetable,
        end: datetime | None,
        start: datetime | None = None,
    ) -> None:
        self.timetable, self.end, self.start = timetable, end, start
        self.can_be_scheduled = timetable.can_be_scheduled
        self.active_runs_limit = timetable.active_runs_limit
        # True in the scheduler and for Airflow's pages; a Dag file has the class of airflow.sdk.
        if isinstance(timetable, Timetable):
            self.periodic, self.description = timetable.periodic, timetable.description

    @classmethod
    def deserialize(cls, data: dict[str, Any]) -> Timetable:
        """Return what ``serialize`` wrote."""
        # Here, as below: these modules are heavy, and every task executes this file.
        from airflow.serialization.decoders import decode_timetable

        # Dags that an earlier version serialized have no start.
        end, start = (
            datetime.fromisoformat(data[name]) if data.get(name) else None
            for name in ("end", "start")
        )
        return cls(decode_timetable(data["timetable"]), end, start)

    def serialize(self) -> dict[str, Any]:
        """Return JSON values."""
        from airflow.serialization.encoders import encode_timetable

        return {
            "timetable": encode_timetable(self.timetable),
            "end": self.end.isoformat() if self.end else None,
            "start": self.start.isoformat() if self.start else None,
        }

    def validate(self) -> None:
        """Refuse what the other timetable refuses."""
        self.timetable.validate()

    @property
    def summary(self) -> str:
        """The schedule, as Airflow's list of Dags shows it."""
        return self._scheduling.summary

    def next_dagrun_info(
        self, *, last_automated_data_interval: DataInterval | None, restriction: TimeRestriction
    ) -> DagRunInfo | None:
        """Return the next run after one of that data interval, None after the end."""
        found = self._scheduling.next_dagrun_info(
            last_automated_data_interval=last_automated_data_interval, restriction=restriction
        )
        return self._in_time(found)

    def next_dagrun_info_v2(
        self, *, last_dagrun_info: DagRunInfo | None, restriction: TimeRestriction
    ) -> DagRunInfo | None:
        """Return the next run, None after the end."""
        # The scheduler calls this one (Airflow 3.3), LatestOnlyOperator the other.
        found = self._scheduling.next_dagrun_info_v2(
            last_dagrun_info=last_dagrun_info, restriction=restriction
        )
        return self._in_time(found)

    def infer_manual_data_interval(self, *, run_after: DateTime) -> DataInterval:
        """Return the data interval of a run by hand.

        Raises:
            ValueError: for a logical date before the start, by which Airflow makes no task.
        """
        if self.start is not None and run_after < self.start:
            raise ValueError(
                f"The logical date is {run_after.isoformat()}, before the Dag's start. Allowed:"
                f" {self.start.isoformat()} or later: Airflow makes no task of an earlier run."
                " Next: leave the logical date as it is, and say which data is meant by as_of."
            )
        return self._scheduling.infer_manual_data_interval(run_after=run_after)

    def generate_run_id(self, **known: Any) -> str:
        """Return the id of a new run."""
        return self._scheduling.generate_run_id(**known)

    def _in_time(self, found: DagRunInfo | None) -> DagRunInfo | None:
        over = found is not None and self.end is not None and found.run_after > self.end
        return None if over else found

    @property
    def _scheduling(self) -> Timetable:
        """The other timetable, as the scheduler knows it."""
        from airflow.serialization.encoders import coerce_to_core_timetable

        return coerce_to_core_timetable(self.timetable)


class UnderstudyPlugin(AirflowPlugin):
    """Registers Understudy with Airflow.

    The buttons that open a task's MLflow run belong to its operators, and need no registration.
    """

    name = "understudy"
    timetables = [Until]  # noqa: RUF012 -- Airflow's plug-ins are made of lists
    # Without a leading slash: Airflow may be served under a path of its own.
    external_views = [  # noqa: RUF012 -- ditto
        {
            "name": "Champions",
            "href": "understudy/champions",
            "destination": "nav",
            "icon": _ICON.format("%233d5a80"),
            "icon_dark_mode": _ICON.format("%23a9bcd6"),
            "nav_top_level": True,
            "url_route": "champions",
        },
        {
            "name": "Champion",
            "href": "understudy/dags/{DAG_ID}/champion",
            "destination": "dag",
            "applies_to": _OURS,
            "url_route": "champion",
        },
        {
            "name": "Night",
            "href": "understudy/dags/{DAG_ID}/night?run_id={RUN_ID}",
            "destination": "dag_run",
            "applies_to": _OURS,
            "url_route": "night",
        },
    ]

    # Asked for by the API server alone, so that no other component imports what it needs.
    @cached_property
    def fastapi_apps(self) -> list[dict[str, Any]]:  # type: ignore[override]
        """The pages behind those views."""
        from understudy.web.app import PREFIX, application

        return [{"name": "understudy", "app": application(), "url_prefix": PREFIX}]

    @cached_property
    def fastapi_root_middlewares(self) -> list[dict[str, Any]]:  # type: ignore[override]
        """What closes Airflow's description of itself, where its pages are switched off."""
        from airflow.configuration import conf

        if conf.getboolean("api", "enable_swagger_ui"):
            return []
        from understudy.web.app import ClosedSchema

        return [{"name": "understudy", "middleware": ClosedSchema}]


# argv[1:3]: `airflow scheduler`, `airflow celery worker`.
if {"scheduler", "worker"} & set(sys.argv[1:3]):
    # Tasks are forked from here: what is imported once costs each of them nothing. They would take
    # 1.3 CPU seconds for MLflow, and 0.25 for what they need of the package. MLflow reads the
    # variable when it is imported: else it writes INFO to stderr, which Airflow shows as errors.
    os.environ.setdefault("MLFLOW_CONFIGURE_LOGGING", "false")
    import mlflow  # noqa: F401

    import understudy.airflow.after_promotion
    import understudy.airflow.builder
    import understudy.decide.evaluator
    import understudy.decide.late_labels
    import understudy.registry.rehearsal
    import understudy.registry.rehearsal_cases
    import understudy.registry.rollback
    import understudy.runner.runner  # noqa: F401
