"""What the plug-in file does where tasks are forked, in a process as `airflow scheduler` is one."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.integration

PROGRAM = """
import logging, sys
sys.argv = ["airflow", "scheduler"]
import understudy_plugin
assert {"mlflow", "understudy.airflow.builder", "understudy.runner.runner"} <= {*sys.modules}
assert not logging.getLogger("mlflow").handlers
"""
ELSEWHERE = """
import sys
sys.argv = ["airflow", "{}"]
import airflow.plugins_manager, airflow.timetables.base
before = {{*sys.modules}}
import understudy_plugin
assert len(understudy_plugin.UnderstudyPlugin.external_views) == 3
added = {{one for one in {{*sys.modules}} - before if one != "understudy_plugin"}}
assert not {{one for one in added if one.startswith("understudy.web") or "jinja2" in one}}
assert not added or sys.argv[1] == "scheduler", added
"""


@pytest.mark.parametrize("component", ["dag-processor", "triggerer", "scheduler"])
def test_the_pages_add_nothing_to_other_components(component: str) -> None:
    """Their views are names; what draws them is imported where Airflow asks for the application."""
    argv = [sys.executable, "-c", ELSEWHERE.format(component)]
    done = subprocess.run(argv, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_what_tasks_import_is_there_and_mlflow_writes_no_info_to_stderr() -> None:
    """Airflow's log shows what a task writes to stderr as errors."""
    variables = {name: value for name, value in os.environ.items() if "MLFLOW" not in name}
    argv = [sys.executable, "-c", PROGRAM]
    done = subprocess.run(argv, env=variables, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
