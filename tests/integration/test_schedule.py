"""A Dag run by hand after its schedule's end, in Airflow's own database."""

from __future__ import annotations

from collections.abc import Callable

import pytest

pytestmark = pytest.mark.integration

FLOW = [
    "pin",
    "download",
    "preprocess",
    "train",
    "validate",
    "gate",
    "approve",
    "promote",
    "report",
]
DAG_FILE = """
from datetime import UTC, datetime
from understudy import Gate, Metric, Project, pipeline

over = pipeline(
    "over",
    project=Project("file:///nowhere"),
    gate=Gate(Metric("rmse", min_gain=0.0)),
    schedule="@daily",
    start=datetime(2026, 1, 1, tzinfo=UTC),
    end=datetime(2026, 1, 5, tzinfo=UTC),
)

if __name__ == "__main__":
    from airflow.api.common.trigger_dag import trigger_dag
    from airflow.dag_processing.bundles.manager import DagBundlesManager
    from airflow.dag_processing.dagbag import DagBag, sync_bag_to_db
    from airflow.utils import db
    from airflow.utils.session import create_session
    from airflow.utils.types import DagRunTriggeredByType, DagRunType

    db.initdb()
    DagBundlesManager().sync_bundles_to_db()
    sync_bag_to_db(DagBag(__file__, bundle_name="dags-folder"), "dags-folder", None)
    made = trigger_dag(
        "over",
        logical_date=datetime.now(UTC),
        triggered_by=DagRunTriggeredByType.TEST,
        run_type=DagRunType.MANUAL,
    )
    with create_session() as session:
        found = session.merge(made).get_task_instances(session=session)
        print("TASKS", sorted({one.task_id for one in found}))
"""


def test_it_has_its_tasks(run_dag_file: Callable[..., str]) -> None:
    """With a logical date that is now, as Airflow's form sends it."""
    said = run_dag_file(DAG_FILE)
    tasks = sorted([*FLOW, "rehearse"])
    assert f"TASKS {tasks}" in said, said
