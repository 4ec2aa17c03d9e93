"""Whole steps on a real tracking store, real git servers, real uv and real processes."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from understudy.contract import Tag
from understudy.errors import (
    ParameterError,
    ProjectError,
    StepFailedError,
    StepStoppedError,
    UnderstudyError,
)
from understudy.runner.environment.interpreter import find_uv
from understudy.runner.reuse.cache import ItemKind, PruningTerms, inventory, prune
from understudy.runner.runner import Settings, StepRequest, StepRunner
from understudy.runner.settings import CacheLimits

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.tracking import MlflowClient
    from tests.fixtures.git import Repository

    from understudy.store.tracking import RunStore

pytestmark = [
    pytest.mark.integration,
    # MLflow's own SQLite store, opened in this process, uses what SQLAlchemy 2.1 deprecates.
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy"),
]

NAP = f"{os.getpid()}.25"
"""Seconds for ``sleep`` that no other process uses: by it stragglers are found."""
MLPROJECT = f"""
name: trivial
python_env: python_env.yaml
entry_points:
  show:
    parameters:
      word: {{type: string, default: ""}}
      data: {{type: path, default: ""}}
    command: "python show.py --word={{word}} --data={{data}}"
  fail:
    parameters: {{code: int}}
    command: "echo it is bad >&2; exit {{code}}"
  sleep:
    command: "(setsid sleep {NAP} &); touch $TMPDIR/mine; echo started; trap '' TERM; sleep {NAP}"
  tell:
    command: "python tell.py"
  lack:
    command: "no-such-program tell.py"
"""
SHOW = """
import argparse, hashlib, os, pathlib, sys
parser = argparse.ArgumentParser()
parser.add_argument("--word")
parser.add_argument("--data")
given = parser.parse_args()
print("digest", hashlib.sha256(given.word.encode()).hexdigest())
print("prefix", sys.prefix)
print("variables", " ".join(sorted(os.environ)))
print("secret", os.environ.get("SECRET"))
if given.data:
    print("data", sorted(p.name for p in pathlib.Path(given.data).rglob("*")))
pathlib.Path(os.environ["TMPDIR"], "x").touch()
"""
TELL = """
import os, urllib.request
from mlflow.tracking import MlflowClient
run = os.environ["MLFLOW_RUN_ID"]
client = MlflowClient()
client.set_tag(run, "error", "the child's own words")
client.set_terminated(run, "FAILED")
"""


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> MlflowClient:
    """Return a client of a real store; served by SQLite, as one machine has it."""
    from understudy.store import tracking

    folder = tmp_path_factory.mktemp("mlflow")
    made = tracking.client(f"sqlite:///{folder}/mlflow.db")
    made.create_experiment("steps", artifact_location=f"file://{folder}/artifacts")
    return made


@pytest.fixture(scope="module")
def runs(client: MlflowClient) -> RunStore:
    """Return the store of runs."""
    from understudy.store.tracking import RunStore

    return RunStore(client)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return one cache for all steps of this file, as a machine has it."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def project(repository: Repository) -> Repository:
    """Return a repository with the trivial project in a folder."""
    repository.commit(
        sub__MLproject=MLPROJECT,
        sub__show_DOT_py=SHOW,
        sub__tell_DOT_py=TELL,
        sub__python_env_DOT_yaml="dependencies: []",
    )
    return repository


class Bench:
    """Runs steps of one project, and knows what they left."""

    def __init__(self, runs: RunStore, client: MlflowClient, settings: Settings, url: str) -> None:
        self.runs, self.client, self.settings, self.url = runs, client, settings, url
        self.lines: list[str] = []
        self.experiment_id = runs.experiment("steps")

    def request(self, entry_point: str, **fields: Any) -> StepRequest:
        """Return a request with defaults."""
        return StepRequest(
            **{
                "project": self.url,
                "version": "main",
                "entry_point": entry_point,
                "parameters": {},
                "experiment_id": self.experiment_id,
                "key": uuid.uuid4().hex,
                "name": entry_point,
                **fields,
            }
        )

    def runner(self) -> StepRunner:
        """Return a fresh runner."""
        return StepRunner(self.runs, self.client, self.settings)

    def run(self, entry_point: str, **fields: Any) -> Run:
        """Run a step; return its MLflow run."""
        result = self.runner().run(self.request(entry_point, **fields), self.lines.append)
        return self.client.get_run(result.run_id)

    def fails(self, kind: type[UnderstudyError], entry_point: str, **fields: Any) -> Any:  # noqa: ANN401 - of that kind
        """Run a step that fails; return the error."""
        with pytest.raises(kind) as caught:
            self.run(entry_point, **fields)
        return caught.value

    def said(self, word: str) -> str:
        """Return what follows a word in the output of the child."""
        return next(line for line in self.lines if line.startswith(word)).partition(" ")[2]

    def by_key(self, key: str) -> list[Run]:
        """Return the runs of an attempt."""
        return self.runs.tagged(self.experiment_id, Tag.KEY, key)

    def nothing_left(self) -> bool:
        """Whether no process and no scratch folder is left."""
        folders = list(self.settings.scratch.iterdir()) if self.settings.scratch.is_dir() else []
        return not folders and not naps()


def naps() -> list[int]:
    """Return the processes of these tests that sleep."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if NAP.encode() in words[:2]:
                found.append(int(entry.name))
    return found


@pytest.fixture
def settings(cache: Path, tmp_path: Path) -> Settings:
    """Return settings with a scratch folder of the test's own."""
    return Settings(cache, tmp_path / "s", grace=0.5)


@pytest.fixture
def bench(
    runs: RunStore,
    client: MlflowClient,
    settings: Settings,
    project: Repository,
    eventually: Callable[..., bool],
) -> Iterator[Bench]:
    """Return a bench for the trivial project; afterwards nothing is left of any step."""
    made = Bench(runs, client, settings, f"{project.url}#sub")
    yield made
    assert eventually(made.nothing_left), "a process or a scratch folder outlived its step"


def test_a_step_from_a_git_url_in_an_environment_of_its_own(
    bench: Bench, project: Repository
) -> None:
    """The run is FINISHED and says what ran; the child had its own Python and its own TMPDIR."""
    run = bench.run("show", tags={"mine": "x"}, parameters={"word": "hello"})
    commit = project.git("rev-parse", "HEAD")
    assert run.info.status == "FINISHED"
    expected = {
        Tag.COMMIT.value: commit,
        Tag.TREE.value: project.git("rev-parse", "HEAD:sub"),
        Tag.VERSION.value: "main",
        Tag.ENTRY_POINT.value: "show",
        "mlflow.source.git.commit": commit,
        "mlflow.source.name": f"{project.url}#sub",
        "mlflow.source.type": "PROJECT",
        "mlflow.project.env": "uv",
        "mine": "x",
    }
    assert {name: run.data.tags.get(name) for name in expected} == expected
    assert run.data.tags[Tag.ENVIRONMENT.value] in bench.said("prefix")
    assert bench.client.list_artifacts(run.info.run_id, "environment")
    assert run.data.params == {"word": "hello", "data": ""}


def test_an_environment_is_made_again_from_its_record(
    bench: Bench, project: Repository, other_repository: Repository, tmp_path: Path
) -> None:
    """Versions, a commit and the Python: the record, and uv, and nothing else."""
    setup = '[project]\nname = "mine"\nversion = "0.1"\n[build-system]\nrequires = ["setuptools"]\n'
    commit = other_repository.commit(pyproject_DOT_toml=setup, mine_DOT_py="X = 1\n")
    wanted = f"[idna>=3, 'mine @ git+{other_repository.url}@main']"
    project.commit(sub__python_env_DOT_yaml=f"dependencies: {wanted}")
    run = bench.run("show")
    folder = Path(bench.client.download_artifacts(run.info.run_id, "environment"))
    record = (folder / "requirements.txt").read_text()
    assert f"git+{other_repository.url}@{commit}" in record
    assert wanted in (folder / "inputs" / "python_env.yaml").read_text()
    python, platform = re.findall(r"^# (?:Python|Platform) (.*)$", record, re.MULTILINE)
    assert platform
    uv, again = find_uv(), tmp_path / "again"
    into = ("--python", str(again / "bin" / "python"))
    path = f"{os.environ['PATH']}{os.pathsep}{sys.base_prefix}/bin"  # that Python is somewhere
    for words in (
        ("venv", "--no-project", "--python", python, str(again)),
        ("pip", "install", "--no-deps", *into, "-r", str(folder / "requirements.txt")),
    ):
        subprocess.run(
            [uv, *words], env={**os.environ, "PATH": path}, check=True, capture_output=True
        )
    done = subprocess.run([uv, "pip", "freeze", *into], check=True, capture_output=True, text=True)
    assert done.stdout.splitlines() == [line for line in record.splitlines() if line[0] != "#"]


def test_the_child_sees_little_and_secrets_are_masked(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing of Airflow's; what the request adds, but not in the log."""
    monkeypatch.setenv("AIRFLOW__CORE__FERNET_KEY", "x")
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "wrong")
    run = bench.run("show", environment={"SECRET": "pa55word-pa55word"})
    seen = bench.said("variables").split()
    assert {"MLFLOW_RUN_ID", "MLFLOW_TRACKING_URI", "SECRET", "TMPDIR"} <= set(seen)
    assert not [v for v in seen if "AIRFLOW" in v or v == "MLFLOW_EXPERIMENT_NAME"]
    assert bench.said("secret") == "***"
    assert "pa55word" not in str(run.data.tags)


def test_a_hundred_kilobytes_of_anything_arrive(bench: Bench) -> None:
    """Quotes, newlines, shell syntax, unicode, a leading dash."""
    word = ("-$(touch /tmp/x)`id`'\"\\\n;|&\t€😀 " * 3000)[:80_000]
    assert len(word.encode()) > 90_000
    bench.run("show", parameters={"word": word}, env_manager="local")
    assert bench.said("digest") == hashlib.sha256(word.encode()).hexdigest()
    word = "x" * 100_000
    bench.lines.clear()
    bench.run("show", parameters={"word": word}, env_manager="local")
    assert bench.said("digest") == hashlib.sha256(word.encode()).hexdigest()


def test_an_artifact_of_another_run_as_input(bench: Bench, tmp_path: Path) -> None:
    """``runs:/`` of our store, downloaded into the attempt's own folder."""
    first = bench.run("show", env_manager="local")
    (tmp_path / "rows.csv").write_text("a")
    bench.client.log_artifact(first.info.run_id, str(tmp_path / "rows.csv"), "raw")
    bench.lines.clear()
    bench.run("show", parameters={"data": f"runs:/{first.info.run_id}/raw"}, env_manager="local")
    assert bench.said("data") == "['rows.csv']"
    error = bench.fails(StepFailedError, "show", parameters={"data": "runs:/" + "0" * 32 + "/raw"})
    assert bench.client.get_run(error.run_id).info.status == "FAILED"


@pytest.mark.parametrize(("code", "can_retry"), [(1, True), (65, False), (69, True)])
def test_a_failed_step(bench: Bench, code: int, can_retry: bool) -> None:  # noqa: FBT001
    """FAILED, with the child's last line as the reason; the exit code says if a retry helps."""
    error = bench.fails(StepFailedError, "fail", parameters={"code": code}, env_manager="local")
    run = bench.client.get_run(error.run_id)
    assert (error.exit_code, error.can_retry, run.info.status) == (code, can_retry, "FAILED")
    assert "it is bad" in run.data.tags["error"]


def test_a_program_that_is_not_here_is_named(bench: Bench) -> None:
    """As R's is on most workers; not with the shell's words and the path of our script."""
    error = bench.fails(StepFailedError, "lack", env_manager="local")
    assert error.found.endswith("code 127: there is no program 'no-such-program' on its PATH")
    assert error.action.startswith(
        "install no-such-program there, or give the project a docker_env"
    )


def test_a_child_that_calls_its_run_failed_is_believed(bench: Bench) -> None:
    """Exit code 0 does not make a failure a success; the child's words stay."""
    error = bench.fails(StepFailedError, "tell", env_manager="local")
    run = bench.client.get_run(error.run_id)
    assert run.info.status == "FAILED"
    assert run.data.tags["error"] == "the child's own words"


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        (ParameterError, {"parameters": {"wrod": "x"}}),
        (ProjectError, {"entry_point": "shwo"}),
        (ProjectError, {"version": "mian"}),
        (ProjectError, {"env_manager": "conda"}),
        (ProjectError, {"project": "file:///no/such/place"}),
    ],
)
def test_bad_input_leaves_no_run(
    bench: Bench, kind: type[UnderstudyError], fields: dict[str, Any]
) -> None:
    """It is found before there is one."""
    key = uuid.uuid4().hex
    bench.fails(kind, fields.pop("entry_point", "show"), key=key, **fields)
    assert bench.by_key(key) == []


def test_timeout(bench: Bench) -> None:
    """The whole tree is gone, daemons included, and the run says KILLED."""
    error = bench.fails(StepStoppedError, "sleep", env_manager="local", timeout=1.0)
    assert bench.client.get_run(error.run_id).info.status == "KILLED"
    assert bench.nothing_left()


def test_stop_from_another_thread(eventually: Callable[..., bool], bench: Bench) -> None:
    """As Airflow's on_kill: within the grace, and the run says KILLED."""
    runner, request = bench.runner(), bench.request("sleep", env_manager="local")
    errors: list[BaseException] = []

    def work() -> None:
        try:
            runner.run(request, bench.lines.append)
        except StepStoppedError as error:
            errors.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    assert eventually(lambda: len(naps()) == 2)
    started = time.monotonic()
    runner.stop()
    assert time.monotonic() - started < 4
    assert not naps()
    thread.join(10)
    assert len(errors) == 1
    assert bench.by_key(request.key)[0].info.status == "KILLED"


def test_an_exception_from_a_signal_handler(bench: Bench) -> None:
    """As Airflow's execution time-out, in the middle of the step."""

    class TimeoutFromOutside(BaseException):
        pass

    def strike(*_: object) -> None:
        raise TimeoutFromOutside

    request = bench.request("sleep", env_manager="local")
    before = signal.signal(signal.SIGALRM, strike)
    try:
        with pytest.raises(TimeoutFromOutside):
            bench.runner().run(
                request,
                lambda line: line == "started" and signal.setitimer(signal.ITIMER_REAL, 0.2),
            )
    finally:
        signal.signal(signal.SIGALRM, before)
    assert bench.by_key(request.key)[0].info.status == "KILLED"


WORKER = """
import os, signal, sys, time
from pathlib import Path
from understudy.store import tracking
from understudy.contract import Tag
from understudy.runner.runner import Settings, StepRequest, StepRunner
from understudy.store.tracking import RunStore
uri, cache, scratch, url, experiment_id, *seconds = sys.argv[1:]
client = tracking.client(uri)
runs = RunStore(client)
runs.tagged(experiment_id, Tag.KEY, "warm")
for i, delay in enumerate(seconds):
    pid = os.fork()
    if pid == 0:
        settings = Settings(Path(cache, delay), Path(scratch), grace=0.5)
        request = StepRequest(url, "main", "sleep", {}, experiment_id, f"killed-{delay}", "x")
        StepRunner(runs, client, settings).run(request, print)
        os._exit(0)
    time.sleep(float(delay))
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
print("done")
"""


@pytest.mark.long("a series of kills, each with a step that has to be noticed and ended")
def test_kill_9_of_the_worker_at_many_moments(
    eventually: Callable[..., bool], bench: Bench, client: MlflowClient, tmp_path: Path
) -> None:
    """In the fetch, the build, the run: no process stays, and the next step works in that cache."""
    delays = ["0.02", "0.1", "0.2", "0.4", "0.8", "1.6", "3.0"]
    done = subprocess.run(
        [
            *(sys.executable, "-c", WORKER, client.tracking_uri, str(tmp_path / "killed")),
            *(str(bench.settings.scratch), bench.url, bench.experiment_id, *delays),
        ],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "PYTHONWARNINGS": "ignore"},
        stdout=subprocess.DEVNULL,
        check=True,
        timeout=120,
    )
    assert done.returncode == 0
    assert eventually(lambda: not naps())
    for delay in delays:
        settings = Settings(tmp_path / "killed" / delay, bench.settings.scratch, grace=0.5)
        again = Bench(bench.runs, client, settings, bench.url)
        assert again.run("show").info.status == "FINISHED"


def test_four_processes_build_one_environment(
    bench: Bench, client: MlflowClient, tmp_path: Path
) -> None:
    """From one cold cache, at once: each step finishes."""
    script = WORKER.split("for i, delay", maxsplit=1)[0] + (
        "key = f'many-{os.getpid()}'\n"
        "request = StepRequest(url, 'main', 'show', {}, experiment_id, key, 'x')\n"
        "StepRunner(runs, client, Settings(Path(cache), Path(scratch))).run(request, print)\n"
    )
    workers = [
        subprocess.Popen(
            [
                *(sys.executable, "-c", script, client.tracking_uri, str(tmp_path / "cold")),
                *(str(bench.settings.scratch), bench.url, bench.experiment_id),
            ],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    outputs = [worker.communicate(timeout=120)[0] for worker in workers]
    assert [worker.returncode for worker in workers] == [0] * 4
    assert sum("Built the environment" in output for output in outputs) == 1
    assert all("digest" in output for output in outputs)


@pytest.fixture
def served(project: Repository, tmp_path: Path, git_daemon: Callable[[Path], str]) -> str:
    """Serve the project over git://; return its address."""
    shutil.copytree(project.folder / ".git", tmp_path / "served.git")
    return f"{git_daemon(tmp_path)}/served.git"


def test_git_protocol_and_a_host_that_goes_away(
    bench: Bench, served: str, project: Repository
) -> None:
    """A commit that is here runs on after the host is gone; a wrong repository is not retried."""
    bench.url = f"{served}#sub"
    assert bench.run("show", env_manager="local").info.status == "FINISHED"
    error = bench.fails(ProjectError, "show", project=served.replace("served", "other"))
    assert not error.can_retry
    commit = project.git("rev-parse", "HEAD")
    pinned = bench.runner().pin(bench.url, commit)
    assert pinned.commit == commit


def test_a_plain_folder_runs_as_it_is(bench: Bench, project: Repository) -> None:
    """Its version says local, and whether it differs from its commit; Git is not needed."""
    folder = f"{project.folder}/sub"
    assert bench.run("show", project=folder, version="").data.tags[Tag.VERSION.value] == "local"
    (project.folder / "sub/new").write_text("x")
    run = bench.run("show", project=folder, version="")
    assert run.data.tags[Tag.VERSION.value] == "local (dirty)"
    assert run.data.tags[Tag.TREE.value] == ""
    bench.fails(ProjectError, "show", project=folder, version="main")


def test_every_step_says_what_git_lfs_keeps_elsewhere(bench: Bench, project: Repository) -> None:
    """The first, which makes the checkout, and the second, which finds it."""
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"
    project.commit(_DOT_gitattributes="*.csv filter=lfs\n", sub__rows_DOT_csv=pointer)
    for _ in range(2):
        bench.lines.clear()
        bench.run("show", env_manager="local")
        assert [line for line in bench.lines if "1 file(s)" in line and "sub/rows.csv" in line]


def test_a_step_in_a_cache_that_is_pruned_between_and_after(
    bench: Bench, client: MlflowClient, tmp_path: Path
) -> None:
    """Everything can go once nobody uses it, and comes back; the first step of a day prunes."""
    limits = CacheLimits(age=3600.0)
    settings = Settings(tmp_path / "c", bench.settings.scratch, grace=0.5, cache_limits=limits)
    mine = Bench(bench.runs, client, settings, bench.url)
    for _ in range(2):
        assert mine.run("show").info.status == "FINISHED"
        gone = {
            item.kind for item in prune(settings.cache, PruningTerms(CacheLimits(age=0.0))).removed
        }
        assert gone == {ItemKind.CHECKOUT, ItemKind.ENVIRONMENT, ItemKind.MIRROR}
    mine.run("show", env_manager="local")
    for item in inventory(settings.cache):
        os.utime(item.lock, (1, 1))
    for stamp, pruned in ((time.time(), False), (1, True)):
        os.utime(settings.cache / "last-prune", (stamp, stamp))
        mine.lines.clear()
        mine.run(
            "tell_nothing", env_manager="local", project=str(plain_folder(tmp_path)), version=""
        )
        assert any(line.startswith("Pruned the cache: 2 item(s)") for line in mine.lines) is pruned


def plain_folder(where: Path) -> Path:
    """Make a project that is no repository, whose steps use nothing of the cache."""
    folder = where / "plain"
    folder.mkdir(exist_ok=True)
    (folder / "MLproject").write_text("entry_points:\n  tell_nothing:\n    command: 'true'\n")
    return folder
