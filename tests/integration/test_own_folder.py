"""The folder that a step works in: its own, whole, and gone with it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from understudy.errors import StepFailedError
from understudy.runner.filesystem import fingerprint
from understudy.runner.runner import Settings, StepRequest, StepRunner
from understudy.store import tracking
from understudy.store.tracking import RunStore

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.tracking import MlflowClient
    from tests.fixtures.git import Repository

pytestmark = pytest.mark.integration

DIARY = """
entry_points:
  main:
    command: "cat out.txt; date >> out.txt; echo lines $(wc -l < out.txt)"
"""
HABITS = """
entry_points:
  main:
    parameters: {rows: {type: path, default: rows.csv}, beside: {type: path, default: ../beside}}
    command: "sh work.sh {rows} {beside}"
  script:
    command: "python work.py"
  fail:
    command: "sh work.sh rows.csv ../beside; exit 1"
"""
REPOSITORY = """
entry_points:
  main:
    command: |
      set -e
      echo at $(git rev-parse HEAD) of $(git remote get-url origin)
      echo "state '$(git status --porcelain)'"
      echo more >> ../beside
      echo "state '$(git status --porcelain)'"
      git -c user.name=a -c user.email=a@b commit --quiet --all --message more
      echo changed $(git rev-list --count HEAD ^HEAD~1)
      test ! -e ../.git/objects/info/alternates
"""
# Writes in place, through a link that leads out of the project's folder, beside it, and into what
# was handed over.
WORK = """
set -e
cat shared/word vendor/lib/word ../beside rows.csv | tr '\\n' ' '
test -x tool.sh
for place in shared/word vendor/lib/word ../beside rows.csv "$1" "$2"; do echo more >> $place; done
echo "told $1 $2"
"""
SCRIPT = """
import pathlib, helper
pathlib.Path("out.txt").open("a").write("x")
print("length", len(pathlib.Path("out.txt").read_text()), helper.WORD)
"""
WORKER = """
import sys
from pathlib import Path
from understudy.store import tracking
from understudy.runner.runner import Settings, StepRequest, StepRunner
from understudy.store.tracking import RunStore
uri, folder, url, experiment_id = sys.argv[1:]
client = tracking.client(uri)
settings = Settings(Path(folder, "cache"), Path(folder, "s"))
for key in ("first", "second"):
    request = StepRequest(
        url, "", "main", {}, experiment_id, f"{folder}-{key}", "main", env_manager="local"
    )
    StepRunner(RunStore(client), client, settings).run(request, print)
"""


class Workshop:
    """Runs steps of one project one after the other, and sees what they leave."""

    def __init__(self, client: MlflowClient, settings: Settings, url: str) -> None:
        self.client, self.settings, self.url = client, settings, url
        self.runs = RunStore(client)
        self.experiment_id = self.runs.experiment("own folder")
        self.lines: list[str] = []

    def run(self, entry_point: str = "main", **fields: Any) -> Run:
        """Run a step; return its MLflow run."""
        self.lines.clear()
        request = StepRequest(
            **{
                "project": self.url,
                "version": "",
                "entry_point": entry_point,
                "parameters": {},
                "experiment_id": self.experiment_id,
                "key": uuid.uuid4().hex,
                "name": entry_point,
                "env_manager": "local",
                **fields,
            }
        )
        runner = StepRunner(self.runs, self.client, self.settings)
        return self.client.get_run(runner.run(request, self.lines.append).run_id)

    def checkouts(self) -> dict[Path, str]:
        """Return the shared checkouts and what identifies their files."""
        found = self.settings.cache.glob("git/*/commits/*")
        return {path: fingerprint(path) for path in found if path.is_dir()}


@pytest.fixture
def workshop(mlflow_uri: str, tmp_path: Path, repository: Repository) -> Iterator[Workshop]:
    """Return a workshop for the repository's folder ``sub``; afterwards no folder is left."""
    settings = Settings(tmp_path / "cache", tmp_path / "s", grace=0.5)
    yield Workshop(tracking.client(mlflow_uri), settings, f"{repository.url}#sub")
    assert not list(settings.scratch.glob("*"))


@pytest.fixture
def habits(repository: Repository, other_repository: Repository) -> None:
    """Commit a project with a link, a submodule, a tool and something beside it."""
    other_repository.commit(word="submodule\n")
    repository.git("submodule", "--quiet", "add", "../other", "sub/vendor/lib")
    (repository.folder / "sub/shared").symlink_to("../common")
    (repository.folder / "sub/tool.sh").write_text("#!/bin/sh\n")
    (repository.folder / "sub/tool.sh").chmod(0o755)
    repository.commit(
        common__word="common\n",
        beside="beside\n",
        sub__MLproject=HABITS,
        sub__rows_DOT_csv="rows\n",
        sub__work_DOT_sh=WORK,
        sub__work_DOT_py=SCRIPT,
        sub__helper_DOT_py="WORD = 1\n",
    )


def test_two_runs_of_one_commit_know_nothing_of_each_other(
    workshop: Workshop, repository: Repository
) -> None:
    """What the first wrote where it stood, the second does not find."""
    repository.commit(sub__MLproject=DIARY)
    for _ in range(2):
        workshop.run()
        assert "lines 1" in workshop.lines
        assert [line for line in workshop.lines if "out.txt" in line and "No such file" in line]


PACKAGES = os.pathsep.join(path for path in sys.path if not path.startswith(sys.base_prefix))
PYTHONS = (sys.executable, f"/usr/bin/python3.{sys.version_info.minor}")
STARTS = "import subprocess, sys; subprocess.run([sys.executable, '-c', ''], check=1)"


@pytest.fixture
def users_folder() -> Iterator[Path]:
    """Return a folder of another user's."""
    if os.geteuid() != 0 or shutil.which("setpriv") is None:
        pytest.skip("only root can become another user")
    # Not below the folder of these tests, which nobody else may enter.
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        shutil.chown(folder, "nobody")
        yield Path(folder)


def as_nobody(folder: Path, python: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Python as another user, with the packages of this one."""
    become = ("setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups")
    return subprocess.run(
        [*become, python, *arguments],
        cwd=folder,
        env={"PATH": "/usr/bin:/bin", "HOME": str(folder), "PYTHONPATH": PACKAGES},
        capture_output=True,
        check=False,
        text=True,
    )


def test_a_worker_that_is_not_root(
    workshop: Workshop,
    repository: Repository,
    users_folder: Path,
    git_daemon: Callable[[Path], str],
) -> None:
    """A project may write where it stands whoever runs it."""
    repository.commit(MLproject=DIARY)
    url = f"{git_daemon(repository.folder.parent)}/{repository.folder.name}"
    usable = [p for p in PYTHONS if not as_nobody(users_folder, p, "-c", STARTS).returncode]
    if not usable:
        pytest.skip("another user cannot run a Python of this version")
    facts = (workshop.client.tracking_uri, str(users_folder), url, workshop.experiment_id)
    done = as_nobody(users_folder, usable[0], "-c", WORKER, *facts)
    assert done.stdout.splitlines().count("lines 1") == 2, done.stderr


@pytest.mark.usefixtures("habits")
def test_the_whole_repository_may_be_written_to(workshop: Workshop) -> None:
    """Links, submodules, what lies beside and what a default names; the shared checkout may not."""
    run = workshop.run()
    before = workshop.checkouts()
    assert len(before) == 1
    (told,) = [line for line in workshop.lines if "told" in line]
    assert told.startswith("common submodule beside rows told ")
    assert str(workshop.settings.cache) not in told
    assert run.data.params == {"rows": "rows.csv", "beside": "../beside"}
    workshop.run()
    assert [line for line in workshop.lines if line.startswith("common submodule beside rows told")]
    assert workshop.checkouts() == before


def test_git_knows_the_commit_in_the_folder(workshop: Workshop, repository: Repository) -> None:
    """As in the clone of plain `mlflow run`; its objects are its own, and nobody else's."""
    commit = repository.commit(sub__MLproject=REPOSITORY, beside="beside\n")
    mirrors = {path: path.read_bytes() for path in workshop.settings.cache.rglob("packed-refs")}
    for _ in range(2):
        workshop.run()
        assert f"at {commit} of {repository.url}" in workshop.lines
        assert "state ''" in workshop.lines
        assert "state ' M beside'" in workshop.lines
        assert "changed 1" in workshop.lines
    assert mirrors == {path: path.read_bytes() for path in mirrors}


@pytest.mark.usefixtures("habits")
def test_a_failed_step_says_what_it_left(workshop: Workshop) -> None:
    """New and changed files with their sizes; one that succeeds says nothing."""
    workshop.run()
    assert not [line for line in workshop.lines if "made or changed" in line]
    with pytest.raises(StepFailedError):
        workshop.run("fail")
    (said,) = [line for line in workshop.lines if "made or changed" in line]
    assert "beside (17 B), common/word (12 B), sub/rows.csv (15 B)" in said


@pytest.mark.usefixtures("habits")
def test_a_forked_program_has_a_folder_of_its_own(workshop: Workshop, tmp_path: Path) -> None:
    """As one that was started; what Python compiles goes with it too."""
    servers = tmp_path / "f"
    workshop.settings = replace(workshop.settings, forkservers=servers)
    python = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    for _ in range(2):
        workshop.run("script", environment={"PATH": python})
        assert "length 1 1" in workshop.lines
    for folder in workshop.checkouts():
        assert not list(folder.rglob("__pycache__"))


def test_a_folder_is_run_where_it_is(workshop: Workshop, repository: Repository) -> None:
    """It is the user's own, who may want what a step writes there."""
    repository.commit(sub__MLproject=DIARY)
    for lines in (1, 2):
        workshop.run(project=str(repository.folder / "sub"))
        assert f"lines {lines}" in workshop.lines
