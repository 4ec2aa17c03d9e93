"""Code that both projects share lies once: each has it wherever it is run, archived or copied."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from understudy.backtest.replay import _digest
from understudy.runner.cluster.remote import pack
from understudy.runner.git.checkout import CheckoutStore
from understudy.runner.process.process import ProcessRunner
from understudy.runner.settings import Settings
from understudy.spec.git_address import parse

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from tests.fixtures.git import Repository
    from tests.fixtures.project_store import ProjectStore

pytestmark = pytest.mark.integration

SOURCE = Path(__file__).parents[2] / "mlproject"
PROJECTS = sorted(path.parent.name for path in SOURCE.glob("*/MLproject"))
LINKS_LOST = "Next: copy the project with cp -rL, or clone it where Git makes symbolic links."


@pytest.fixture
def projects(repository: Repository) -> Repository:
    """Return a repository with mlproject/ as it is here."""
    made = shutil.ignore_patterns("__pycache__", ".*_cache")
    shutil.copytree(SOURCE, repository.folder / "mlproject", symlinks=True, ignore=made)
    repository.commit()
    return repository


def started(folder: Path, project: str) -> subprocess.CompletedProcess[str]:
    """Start an entry point in a folder, which imports the project and what it shares."""
    return subprocess.run(
        [sys.executable, "-m", f"{project}.download", "--help"],
        cwd=folder,
        env={"PATH": os.environ["PATH"]},
        check=False,
        capture_output=True,
        text=True,
    )


def test_both_share() -> None:
    """There are two, and neither has a file of its own in place of the shared ones."""
    assert PROJECTS == ["images", "tabular"]
    assert {(SOURCE / name / "shared").readlink() for name in PROJECTS} == {Path("../shared")}


@pytest.mark.filterwarnings("default")  # MLflow's and SQLAlchemy's about themselves
@pytest.mark.parametrize("project", PROJECTS)
def test_plain_mlflow_runs_it(
    project_store: Callable[[Path, str], AbstractContextManager[ProjectStore]],
    projects: Repository,
    tmp_path: Path,
    project: str,
) -> None:
    """From a Git URL, which MLflow clones; the projects' own tests run it from a folder."""
    import mlflow

    with project_store(tmp_path, project) as store, pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
        run = mlflow.projects.run(
            f"{projects.url}#mlproject/{project}",
            entry_point="download",
            parameters={"dataset": "digits"},
            experiment_id=store.experiment_id,
            env_manager="local",
        )
        assert run.get_status() == "FINISHED"
        assert store.tags(run.run_id)["data.sha256"]


@pytest.mark.parametrize("project", PROJECTS)
def test_a_project_is_copied_out_whole(project: str, tmp_path: Path) -> None:
    """The documented command leaves no link behind; without its -L the message names it."""
    whole, torn = tmp_path / "whole", tmp_path / "torn"
    subprocess.run(["cp", "-rL", SOURCE / project, whole], check=True)
    assert not [path for path in whole.rglob("*") if path.is_symlink()]
    ended = started(whole, project)
    assert (ended.returncode, ended.stdout[:15]) == (0, "usage: download")
    subprocess.run(["cp", "-r", SOURCE / project, torn], check=True)
    assert LINKS_LOST in started(torn, project).stderr
    (torn / "shared").unlink()
    (torn / "shared").write_text("../shared")  # as Git leaves it where links are switched off
    assert LINKS_LOST in started(torn, project).stderr
    documents = (SOURCE / project / "README.md").read_text(encoding="utf-8")
    assert f"cp -rL mlproject/{project} " in documents


@pytest.mark.parametrize("project", PROJECTS)
def test_a_commit_is_checked_out_and_archived_whole(
    projects: Repository, tmp_path: Path, project: str
) -> None:
    """A change of shared code is another project to reuse, to a backtest and in a job's archive."""
    settings = Settings(cache=tmp_path / "cache", scratch=tmp_path / "scratch", git_timeout=20)
    store = CheckoutStore(settings, ProcessRunner())
    address = parse(f"{projects.url}#mlproject/{project}")
    folder = projects.folder / "mlproject" / project
    seen: list[tuple[str, str]] = []
    for number in range(2):
        commit = projects.commit(mlproject__shared__again=str(number))
        store.resolve(address, "main")
        seen.append((store.tree(address, commit), _digest(folder)))
        with store.lease(address, commit) as checkout:
            inner = checkout.folder / "mlproject" / project
            assert started(inner, project).returncode == 0
            archive = pack(inner, checkout.folder, tmp_path)
    assert all(first != second for first, second in zip(*seen, strict=True))
    job = tmp_path / "job"
    job.mkdir()
    # Not extractall: its filter came with Python 3.11.4, and is asked for from 3.12 on.
    subprocess.run(["tar", "-xzf", str(archive), "-C", str(job)], check=True)
    assert (job / "shared/again").read_text() == "1"
    assert started(job, project).returncode == 0
