"""Airflow Dags with one step each that has to be ended from outside."""

from datetime import timedelta
from typing import Any

from airflow.sdk import DAG, Param

from understudy import MlflowRunOperator


def lingering(name: str, entry_point: str, **fields: Any) -> DAG:
    """Return a Dag that runs an entry point of the project ``linger``."""
    with DAG(name, schedule=None, params={"token": Param("600.1", type="string")}) as dag:
        MlflowRunOperator(
            task_id="linger",
            project="git://127.0.0.1/models#linger",
            version="main",
            entry_point=entry_point,
            parameters={"token": "{{ params.token }}"},
            **{"retries": 0, "retry_delay": timedelta(seconds=1), **fields},
        )
    return dag


program = lingering("linger_program", "program")
shell = lingering("linger_shell", "shell")
again = lingering("linger_again", "program", retries=1)
timed = lingering("linger_timed", "program", execution_timeout=timedelta(seconds=8))
