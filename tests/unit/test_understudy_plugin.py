"""What the plug-in file does where tasks are forked, in a process as `airflow scheduler` is one."""

from __future__ import annotations

import os
import subprocess
import sys

PROGRAM = """
import logging, sys
sys.argv = ["airflow", "scheduler"]
import understudy_plugin
assert {"mlflow", "understudy.airflow.builder", "understudy.runner.runner"} <= {*sys.modules}
assert not logging.getLogger("mlflow").handlers
"""


def test_what_tasks_import_is_there_and_mlflow_writes_no_info_to_stderr() -> None:
    """Airflow's log shows what a task writes to stderr as errors."""
    variables = {name: value for name, value in os.environ.items() if "MLFLOW" not in name}
    argv = [sys.executable, "-c", PROGRAM]
    done = subprocess.run(argv, env=variables, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
