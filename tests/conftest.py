"""What all tests share: settings of hypothesis, a temporary folder, and fixtures by topic.

The modules of tests/fixtures are loaded by every run. What takes seconds to import, as MLflow and
pandas do, they import where it is used.
"""

from __future__ import annotations

import gc
import os
import tempfile
from multiprocessing import util
from pathlib import Path

import pytest
from hypothesis import settings

# What is collected stays until the end: to look through it again and again for what nobody needs
# takes a third of the time of collecting.
gc.disable()
# They assert, and they import each other: pytest has to know before the first of them is loaded.
pytest.register_assert_rewrite("tests.fixtures")
pytest_plugins = [
    "tests.fixtures.airflow",
    "tests.fixtures.airflow_home",
    "tests.fixtures.databricks_workspace",
    "tests.fixtures.decision_records",
    "tests.fixtures.file_server",
    "tests.fixtures.git",
    "tests.fixtures.git_hosts",
    "tests.fixtures.kubernetes_cluster",
    "tests.fixtures.lingering_step",
    "tests.fixtures.loopback",
    "tests.fixtures.machine",
    "tests.fixtures.mlflow_server",
    "tests.fixtures.model_registry",
    "tests.fixtures.nights",
    "tests.fixtures.postgresql",
    "tests.fixtures.processes",
    "tests.fixtures.programs",
    "tests.fixtures.project_store",
    "tests.fixtures.recorded_nights",
    "tests.fixtures.rehearsal",
    "tests.fixtures.servers",
    "tests.fixtures.serving",
    "tests.fixtures.shared",
    "tests.fixtures.studies",
    "tests.fixtures.team_stack",
    "tests.fixtures.tutorials",
    "tests.fixtures.waiting",
    "tests.fixtures.wheels",
]

WITHOUT_AIRFLOW = frozenset(
    {"test_anyones_project.py", "test_tutorials.py", "test_tutorials_images.py"}
)
"""Files that take long and need no Airflow: one of the main lane, two of the long one."""

# A deadline per example would measure how busy the machine is.
settings.register_profile("any machine", deadline=None)
settings.register_profile("quick", deadline=None, max_examples=20)  # make test-quick asks for it
settings.load_profile("any machine")


def pytest_configure(config: pytest.Config) -> None:
    """Let what tests download and what they kill leave nothing in the machine's temporary folder.

    ``tmp_path`` stays where it is: pytest keeps the last three of those for who looks into them.
    """
    util.get_temp_dir()  # its own, which it removes when ours is gone already
    worker = os.environ.get("PYTEST_XDIST_WORKER")
    if worker:
        # Below that of the leading process. A short name: the path of a socket has 107 bytes.
        os.environ["TMPDIR"] = str(Path(tempfile.gettempdir(), worker))
        Path(os.environ["TMPDIR"]).mkdir()
    else:
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", tempfile.gettempdir())
        folder = tempfile.TemporaryDirectory(prefix="understudy-", ignore_cleanup_errors=True)
        os.environ["TMPDIR"] = folder.name
        config.add_cleanup(folder.cleanup)
    tempfile.tempdir = None


def pytest_collection_finish() -> None:
    """Look for unreachable objects again, in what the tests make only."""
    gc.freeze()
    gc.enable()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Return one process more than there are processors: whoever waits for a server leaves one."""
    del config
    return len(os.sched_getaffinity(0)) + 1


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Check that each test of the long lane says why it is there; begin early what takes long.

    Else the longest file would begin last, and every other process would wait for its one.
    """
    for item in items:
        for mark in item.iter_markers("long"):
            if len(mark.args) != 1:
                raise pytest.UsageError(f"{item.nodeid}: long() takes one reason in words")
    # Where the first file starts Airflow, another process need not wait for it, too.
    first = items[0].path if items else None
    items.sort(key=lambda item: (item.path != first, item.path.name not in WITHOUT_AIRFLOW))
