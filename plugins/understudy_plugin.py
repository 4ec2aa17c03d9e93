"""The one file of this folder that Airflow scans as a plug-in; it names what the UI may show.

It imports nothing of the package: Airflow's long-lived processes execute it once and fork tasks
from there, and what it imported would be stale in every task after an edit.
"""

from __future__ import annotations

import sys

from airflow.plugins_manager import AirflowPlugin

if {"scheduler", "worker"} & set(sys.argv[1:3]):
    # Tasks are forked from here: what is imported once costs each of them nothing.
    import mlflow  # noqa: F401


class UnderstudyPlugin(AirflowPlugin):
    """Registers Understudy with Airflow.

    The buttons that open a task's MLflow run belong to its operators, and need no registration.
    """

    name = "understudy"
