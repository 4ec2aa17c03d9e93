"""An Airflow of a test's own: a folder with its database and one Dag file, and no server."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def airflow_variables(home: Path, **more: str) -> dict[str, str]:
    """Return the variables of a process whose Airflow lives in a folder, and this one's."""
    ours = {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DAGS_FOLDER": str(home / "dags"),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(home / "plugins"),
    }
    return {**os.environ, **ours, **more}


def run_dag_file(folder: Path, text: str, **variables: str) -> str:
    """Run a Dag file as a program, with an empty home and cache; return all that it said.

    Args:
        folder: Where its Airflow, its home and its cache are made.
        text: The file, which runs its Dags when it is the main program.
        variables: Further ones.
    """
    home = folder / "airflow"
    (home / "dags").mkdir(parents=True)
    file = home / "dags" / "acts.py"
    file.write_text(text)
    own = {"UNDERSTUDY_CACHE": str(folder / "cache"), "HOME": str(folder)}
    done = subprocess.run(
        (sys.executable, file),
        env=airflow_variables(home, **{**own, **variables}),
        cwd=home,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return done.stdout
