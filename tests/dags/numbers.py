"""Pipelines of the project ``number``, whose nights are quick, for one Airflow test each."""

from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk import DAG, BaseNotifier, CronDataIntervalTimetable, Param, task

from understudy import (
    AfterPromotion,
    Gate,
    Metric,
    Project,
    champion_asset,
    pipeline,
    raw_data_asset,
    rollback_dag,
)


class Told(BaseNotifier):
    """Tells the log of the task."""

    template_fields = ("text",)

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = text

    def notify(self, context: Any) -> None:  # noqa: ANN401 -- Airflow's
        """Write the rendered text."""
        del context
        self.log.info("Told: %s", self.text)


def number(name: str, **fields: Any) -> DAG:
    """Return a Dag of the project ``number``."""
    return pipeline(
        name,
        **{
            "project": Project("git://127.0.0.1/models#project", version="main"),
            "retries": 0,
            "rehearsal": None,  # a number is no model that MLflow could serve
            "parameters": {
                "factor": Param(1.0, type="number", minimum=0),
                "broken": Param("no", enum=["no", "download", "champion", "infinite"]),
            },
            "gate": Gate(Metric("rmse", min_gain=0.1)),
            **fields,
        },
    )


nights = number(
    "nights",
    schedule="@daily",
    start=datetime(2026, 1, 1, tzinfo=UTC),
    end=datetime(2026, 1, 5, tzinfo=UTC),
    catchup=True,
    label_delay=timedelta(days=1),
    notify={"*": [Told("{{ understudy.event }}: {{ understudy.title }}")]},
)
ticking = number(
    "ticking",
    schedule=CronDataIntervalTimetable("@daily", timezone="UTC"),
    start=datetime(2026, 1, 1, tzinfo=UTC),
    end=datetime(2026, 1, 2, tzinfo=UTC),
    catchup=True,
)
bereft = number("bereft")
moving = number("moving")
asking = number("asking", approval_timeout=timedelta(minutes=10), retry_delay=timedelta(seconds=1))
broken = number("broken")
elsewhere = number("elsewhere", project=Project("git://127.0.0.1/models-that-are-not#project"))
nowhere = number("nowhere", project=Project("git://127.0.0.1/models#no/such/folder"))
typo = number("typo", parameters={"facter": 1.0})
unserved = number("unserved", after_promotion=AfterPromotion("publish", {"floder": "/srv/models"}))
private = number("private", project=Project("{{ var.value.private_repository }}#project"))
raced = number("raced")
shown = number("shown")
paged = number("paged", approval_timeout=timedelta(minutes=10), retry_delay=timedelta(seconds=1))
reusing = number(
    "reusing",
    after_promotion=AfterPromotion("publish", {"folder": "/srv/models/{{ dag.dag_id }}"}),
    notify={"failed": [Told("{{ understudy.title }}")]},
)
shadowed = number("shadowed", gate=Gate(Metric("rmse", min_gain=0.0), shadow_nights=1))


def waiting(name: str, schedule: Any) -> DAG:  # noqa: ANN401 -- what Airflow takes
    """Return a Dag that starts when something of the pipeline ``reusing`` changes."""
    with DAG(name, schedule=schedule) as dag:
        task(lambda: None, task_id="act")()
    return dag


after_champion = waiting("after_champion", champion_asset("reusing"))
after_data = waiting("after_data", raw_data_asset("reusing"))
back = rollback_dag(models=["reusing", "paged"])
