"""A night stays on what it pinned, whatever is pushed or written meanwhile."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.fixtures.airflow import Installation
    from tests.fixtures.git import Repository

pytestmark = pytest.mark.integration


def test_a_push_in_mid_run_does_not_mix_commits(
    installation: Installation, models: Repository
) -> None:
    """The night keeps the commit that it pinned; the next night has the new one."""
    before = models.git("rev-parse", "HEAD")
    installation.trigger("moving", "first")
    installation.wait_for_task("moving", "first", "pin", {"success"})
    after = models.commit("pushed in mid-run")
    assert installation.wait("moving", "first") == "success"
    commits = {run.data.tags["understudy.commit"] for run in installation.runs("moving")}
    assert commits == {before}
    installation.trigger("moving", "second", force=True)
    assert installation.wait("moving", "second") == "success"
    commits = {run.data.tags["understudy.commit"] for run in installation.runs("moving")}
    assert commits == {before, after}


def test_a_cleared_night_keeps_what_it_pinned(installation: Installation) -> None:
    """Cleared after a push, every task runs again on the first commit, in the same parent run."""
    parents = len(installation.nights("moving"))
    body = {"dry_run": False, "only_failed": False}
    installation.call("POST", "dags/moving/dagRuns/first/clear", **body)
    assert installation.wait("moving", "first") == "success"
    nights = installation.nights("moving")
    assert len(nights) == parents
    first = next(tags for tags in nights if tags["understudy.dag_run_id"] == "first")
    tries = [
        run.data.tags["understudy.commit"]
        for run in installation.runs("moving", "tags.`understudy.dag_run_id` = 'first'")
    ]
    assert set(tries) == {first["understudy.commit"]}
    installation.check_ended("moving")


def test_an_edit_of_the_dag_file_in_mid_run_does_not_change_the_night(
    installation: Installation, tmp_path: Path
) -> None:
    """Airflow reads the file again for each task; all that these do was pinned, and is done."""
    file, begun = Path(installation.stack.place.dags, "edited.py"), tmp_path / "begun"
    installation.trigger("edited", "first", broken=str(begun))
    installation.wait_for_task("edited", "first", "download", {"running"})
    file.write_text(file.read_text().replace("EDITED = False", "EDITED = True"))
    begun.touch()
    assert installation.wait("edited", "first") == "success"
    (night,) = installation.nights("edited")
    assert night["understudy.outcome"] == "PROMOTED"
    assert "rmse 9" in night["understudy.reason"]
    assert installation.champion("edited") == "1"
