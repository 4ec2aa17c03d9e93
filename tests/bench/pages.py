"""What the pages inside Airflow's UI cost, against their budgets.

    make bench BENCH=pages
        [BENCH_ARGS='--pipelines 50 --nights 1000 --asked 40 --json FILE']

Fills an MLflow server of its own on SQLite, in a temporary folder that it removes, with nights that
never ran: one pipeline has all of ``--nights``, one has six, each other one twenty, and every night
five steps. Then asks for each page as a browser does: the frame, the part that it fetches from what
is kept, and that part when nothing is kept, or when what is kept is too old. At last the server
hangs, then ends. What the pages add to the API server's memory is measured in its own process.
"""

from __future__ import annotations

import argparse
import gc
import gzip
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import unquote

import psutil

from bench.tracking_server import TrackingServer

if TYPE_CHECKING:
    from fastapi import FastAPI
    from fastapi.testclient import TestClient
    from mlflow.tracking import MlflowClient

LARGEST: Final = "pipeline_00"
"""The pipeline that has all nights."""
SMALLEST: Final = "pipeline_01"
_FEW: Final = 6
"""Nights of that one."""
_OTHERS: Final = 20
"""Nights of each other one."""
_STEPS: Final = ("download", "preprocess", "train", "validate", "validate")
_METRICS: Final = ("rmse", "mae", "r2", "median_error", "bias", "p90_error")
_OUTCOMES: Final = ("HELD", "SKIPPED", "PROMOTED", "HELD", "REJECTED", "HELD", "FAILED", "HELD")
_BATCH: Final = 5000
_LINE: Final = 30.0
"""Seconds after which a line has enough requests."""
_LEAST: Final = 3
"""Requests that it has all the same."""
_PATIENCE: Final = 600
"""Seconds that the measurement of memory may take."""
_CALLS: Final = 4
_KILOBYTES: Final = 100
_AWAY: Final = "MLflow does not answer"
"""What a page says then."""


@dataclass(frozen=True)
class Line:
    """One line of the table.

    Attributes:
        page, how: What was asked for.
        asked: How often.
        median, p95: Milliseconds by the clock.
        cpu: Milliseconds of both processes' work on average: what an idle machine takes.
        budget: Milliseconds.
        kilobytes: Of the largest answer, compressed.
        calls: Of MLflow, at most.
        stale: Answers that showed an earlier state, as MLflow did not answer in time.
    """

    page: str
    how: str
    asked: int
    median: float
    p95: float
    cpu: float
    budget: float
    kilobytes: float
    calls: float
    stale: int

    @property
    def is_over(self) -> bool:
        """Whether a budget is missed: of time, of size, or of calls."""
        return self.p95 > self.budget or self.kilobytes > _KILOBYTES or self.calls > _CALLS


def fill(client: MlflowClient, uri: str, pipelines: int, nights: int) -> None:
    """Write the nights of some pipelines into an MLflow store on this machine."""
    from sqlalchemy import create_engine, insert

    tables: dict[Any, list[dict[str, Any]]] = {}
    engine = create_engine(uri)
    for number in range(pipelines):
        name = f"pipeline_{number:02}"
        experiment = client.create_experiment(name)
        promoted = _registered(client, name, experiment)
        count = {LARGEST: nights, SMALLEST: _FEW}.get(name, _OTHERS)
        for index in range(count):
            _night(tables, name, int(experiment), count - index, promoted)
    with engine.begin() as connection:
        for table, rows in tables.items():
            for first in range(0, len(rows), _BATCH):
                connection.execute(insert(table), rows[first : first + _BATCH])
    engine.dispose()


def _registered(client: MlflowClient, name: str, experiment: str) -> str:
    """Register two versions, and make both champion in turn; return the version that stays."""
    from understudy.contract import Tag
    from understudy.registry.history import MoveCause
    from understudy.registry.promoter import MoveRequest, Promoter
    from understudy.store.tracking import RunStore

    run = client.create_run(experiment).info.run_id
    client.create_registered_model(name, tags={Tag.PIPELINE.value: name})
    promoter, before = Promoter(client, RunStore(client)), None
    for _ in range(2):
        version = str(client.create_model_version(name, f"runs:/{run}/model", run).version)
        asked = MoveRequest(
            name,
            version,
            before,
            key=f"{name} {version}",
            cause=MoveCause.NIGHT,
            actor=name,
            why="rmse 61.4 against 64.0: better by 2.6 (0.4 to 4.8)",
            decision_run=run,
        )
        promoter.move(asked)
        before = version
    return str(before)


def _night(
    tables: dict[Any, list[dict[str, Any]]], name: str, experiment: int, ago: int, champion: str
) -> None:
    """Add the rows of one night and its steps."""
    from understudy.contract import Kind, Tag

    began = datetime.now(UTC) - timedelta(days=ago, minutes=random.randrange(600))  # noqa: S311 -- spread, no secret
    outcome = _OUTCOMES[ago % len(_OUTCOMES)]
    dag_run = f"scheduled__{began:%Y-%m-%dT%H:%M:%S}+00:00"
    tags = {
        Tag.KIND: Kind.NIGHT.value,
        Tag.PIPELINE: name,
        Tag.DAG_ID: name,
        Tag.DAG_RUN_ID: dag_run,
        Tag.MODEL: name,
        Tag.AS_OF: began.replace(microsecond=0).isoformat(),
        Tag.OUTCOME: outcome,
        Tag.REASON: "With 46 rows, only a gain of about 6.3 could be told from luck; this one was"
        " 1.4 (-1.8 to 4.6); mae: within its bound; r2: within its bound",
        Tag.VERDICT: "HOLD",
        Tag.PRIMARY: "rmse",
        Tag.CHAMPION_BEFORE: champion,
        Tag.CHAMPION_AFTER: champion,
        Tag.COMMIT: "5f2c9a1e77b0d4c3a8e6f1029384756aabbccdde",
        Tag.REPOSITORY: "https://git.example.com/acme/models.git",
        Tag.VERSION: "main",
        Tag.FINGERPRINT: uuid.uuid4().hex * 2,
        Tag.KEY: uuid.uuid4().hex * 2,
        Tag.DESCRIPTION: "**HELD**: too few rows to tell the gain from luck. " * 6,
    }
    judged = outcome not in {"SKIPPED", "FAILED"}
    numbers = {
        f"{kind}_{metric}": 60 + random.uniform(-3, 3)  # noqa: S311 -- ditto
        for metric in _METRICS
        for kind in ("challenger", "champion", "gain", "gain_low", "gain_high")
        if judged
    }
    _run(tables, experiment, began, tags, numbers)
    for index, task in enumerate(_STEPS):
        step = {
            Tag.KIND: Kind.STEP.value,
            Tag.DAG_ID: name,
            Tag.DAG_RUN_ID: dag_run,
            Tag.TASK_ID: task,
            Tag.ENTRY_POINT: task,
            Tag.KEY: uuid.uuid4().hex * 2,
        }
        _run(tables, experiment, began + timedelta(seconds=20 * index), step, {"rmse": 61.0})


def _run(
    tables: dict[Any, list[dict[str, Any]]],
    experiment: int,
    began: datetime,
    tags: dict[Any, str],
    numbers: dict[str, float],
) -> None:
    from mlflow.store.tracking.dbmodels.models import SqlLatestMetric, SqlParam, SqlRun, SqlTag

    run, started = uuid.uuid4().hex, int(began.timestamp() * 1000)
    row = {
        "run_uuid": run,
        "name": f"night {began:%Y-%m-%d}",
        "experiment_id": experiment,
        "status": "FINISHED",
        "start_time": started,
        "end_time": started + 95_000,
        "lifecycle_stage": "active",
        "artifact_uri": f"mlflow-artifacts:/{experiment}/{run}/artifacts",
        "user_id": "airflow",
    }
    tables.setdefault(SqlRun, []).append(row)
    tables.setdefault(SqlTag, []).extend(
        {"run_uuid": run, "key": tag.value, "value": text} for tag, text in tags.items()
    )
    tables.setdefault(SqlParam, []).extend(
        {"run_uuid": run, "key": f"parameter_{index}", "value": "0.25"} for index in range(8)
    )
    stamp = {"run_uuid": run, "timestamp": started, "step": 0, "is_nan": False}
    tables.setdefault(SqlLatestMetric, []).extend(
        {**stamp, "key": key, "value": value} for key, value in numbers.items()
    )


def mounted(address: str, calls: list[str]) -> tuple[FastAPI, str]:
    """Return the pages as Airflow mounts them, and an admin's cookie."""
    from airflow.api_fastapi import app as airflow_app
    from airflow.api_fastapi.auth.managers.simple.simple_auth_manager import SimpleAuthManager
    from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser
    from airflow.utils import db
    from fastapi import FastAPI
    from mlflow.tracking import MlflowClient
    from mlflow.utils import rest_utils

    from understudy.web.app import PREFIX, application

    class Manager(SimpleAuthManager):
        """Lets everybody who is signed in read every pipeline."""

        def get_authorized_dag_ids(self, **asked: Any) -> set[str]:
            del asked
            return {f"pipeline_{number:02}" for number in range(100)}

    db.initdb()
    manager = Manager()
    airflow_app._AuthManagerState.instance = manager
    sent = rest_utils._get_http_response_with_retries

    def counted(method: str, url: str, *given: Any, **more: Any) -> Any:  # noqa: ANN401
        # What is read while nobody waits is no call of the page that was asked for.
        if not _is_later(threading.current_thread()):
            calls.append(url)
        return sent(method, url, *given, **more)

    rest_utils._get_http_response_with_retries = counted
    inner, outer = application(lambda: MlflowClient(address)), FastAPI()
    outer.mount(PREFIX, inner)
    token = manager.generate_jwt(SimpleAuthManagerUser(username="admin", role="admin"))
    return outer, token


class Asked(NamedTuple):
    """One request: milliseconds by the clock and of work, bytes, calls of MLflow, out of date."""

    took: float
    work: float
    size: int
    calls: int
    stale: bool


def measured(
    client: TestClient, path: str, times: int, before: Callable[[], None], work: Work
) -> Iterator[Asked]:
    """Yield what each request took; fewer of them where they take long."""
    end = time.monotonic() + _LINE
    for number in range(times):
        if number >= _LEAST and time.monotonic() > end:
            break
        for one in threading.enumerate():
            if _is_later(one):
                one.join(_LINE)
        before()
        work.calls.clear()
        began, worked = time.perf_counter(), work.seconds()
        answer = client.get(f"/understudy/{path}")
        took, worked = 1000 * (time.perf_counter() - began), 1000 * (work.seconds() - worked)
        assert answer.status_code == 200, (path, answer.text)
        stale = _AWAY in answer.text
        # Airflow sends it so.
        size = len(gzip.compress(answer.content, 5))
        yield Asked(took, worked, size, len(work.calls), stale)


def _is_later(thread: threading.Thread) -> bool:
    """Return whether a thread reads older nights while nobody waits."""
    return thread.name.endswith("(_later)")


class Work:
    """What this process and MLflow's do.

    Attributes:
        calls: The addresses that were asked of MLflow.
    """

    def __init__(self, address: str) -> None:
        self.calls: list[str] = []
        port = int(address.rpartition(":")[2])
        self._processes = [psutil.Process()]
        for one in psutil.net_connections("inet"):
            if one.status == "LISTEN" and one.laddr.port == port and one.pid:
                self._processes.append(psutil.Process(one.pid))

    def seconds(self) -> float:
        """Return the seconds of work so far."""
        alive = [one for one in self._processes if one.is_running()]
        return sum(sum(one.cpu_times()[:2]) for one in alive)


class Kept:
    """What the pages keep in this process."""

    def __init__(self) -> None:
        from understudy.web import reader

        found = gc.get_objects()
        self._fresh = reader._FRESH
        self._shelves = [one for one in found if isinstance(one, reader.Shelf)]
        self._nights = [one for one in found if isinstance(one, reader.Nights)]

    def nothing(self) -> None:
        """Forget everything."""
        for shelf in (*self._shelves, *self._nights):
            shelf._kept.clear()

    def too_old(self) -> None:
        """Let what changes be too old to be shown again; a server that was away is asked again."""
        for shelf in self._shelves:
            shelf._away = None
            for key, (at, seen, value) in list(shelf._kept.items()):
                if key[0] in {"overview", "pipeline", "night"}:
                    shelf._kept[key] = (at - 3 * self._fresh, seen, value)

    def as_it_is(self) -> None:
        """Change nothing."""


def table(server: TrackingServer, asked: int) -> Iterator[Line]:
    """Yield the lines of the table."""
    from fastapi.testclient import TestClient

    work = Work(server.address)
    outer, token = mounted(server.address, work.calls)
    few = max(6, asked // 4)
    with TestClient(outer) as client:
        client.cookies.set("_token", token)
        champion, small = f"dags/{LARGEST}/champion", f"dags/{SMALLEST}/champion"
        told = client.get(f"/understudy/{champion}/part").text
        dag_run = told.partition("night?run_id=")[2].partition('"')[0]
        night = f"dags/{LARGEST}/night{{0}}?run_id={dag_run}"
        _decide(server.address, unquote(dag_run))
        kept = Kept()
        for page, frame, part in (
            ("Champions", "champions", "champions/part"),
            ("Champion", champion, f"{champion}/part"),
            ("Champion, 6 nights", small, f"{small}/part"),
            ("Night, decision", night.format(""), night.format("/part")),
        ):
            client.get(f"/understudy/{part}")
            # A decision is drawn for each request.
            drawn = 300 if page.startswith("Night") else 50
            for how, path, before, budget in (
                ("frame", frame, kept.as_it_is, 50),
                ("part, kept", part, kept.as_it_is, drawn),
                ("part, too old", part, kept.too_old, 500),
                ("part, nothing kept", part, kept.nothing, 500),
            ):
                times = asked if before == kept.as_it_is else few
                yield _line(page, how, budget, list(measured(client, path, times, before, work)))
        client.get(f"/understudy/{champion}/part")
        yield from _without_mlflow(server, client, f"{champion}/part", kept, work)


def _decide(address: str, dag_run: str) -> None:
    """Give a night of the largest pipeline a decision record with many pictures."""
    from mlflow.tracking import MlflowClient
    from tests.fixtures.decision_records import KINDS

    from understudy.contract import DECISION_RECORD, DECISION_SUMMARY, Kind, Tag

    client = MlflowClient(address)
    experiment = client.get_experiment_by_name(LARGEST)
    assert experiment is not None
    (run,) = client.search_runs(
        [experiment.experiment_id],
        f"tags.`{Tag.DAG_RUN_ID}` = '{dag_run}' and tags.`{Tag.KIND}` = '{Kind.NIGHT}'",
    )
    for path, document in zip((DECISION_RECORD, DECISION_SUMMARY), KINDS["hold"](), strict=True):
        client.log_dict(run.info.run_id, dict(document or {}), path)


def _without_mlflow(
    server: TrackingServer, client: TestClient, part: str, kept: Kept, work: Work
) -> Iterator[Line]:
    """Yield what the same page costs while MLflow hangs, and when it is away."""
    from understudy.web.reader import TIMEOUT

    os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] = str(TIMEOUT)
    server.freeze()
    hung = list(measured(client, part, 2, kept.too_old, work))
    yield _line("MLflow hangs", "part, too old", 3200, hung)
    # Within the seconds for which a server that did not answer is left alone.
    soon = list(measured(client, part, 6, kept.as_it_is, work))
    yield _line("MLflow hangs", "the next ones", 50, soon)
    server.kill()
    gone = list(measured(client, part, 6, kept.too_old, work))
    yield _line("MLflow is away", "part, too old", 500, gone)


def _line(page: str, how: str, budget: float, found: Sequence[Asked]) -> Line:
    took = sorted(one.took for one in found)
    return Line(
        page,
        how,
        len(found),
        statistics.median(took),
        took[min(len(took) - 1, round(0.95 * len(took)))],
        statistics.mean(one.work for one in found),
        budget,
        max(one.size for one in found) / 1000,
        max(one.calls for one in found),
        sum(one.stale for one in found),
    )


def memory(address: str) -> list[float]:
    """Return the megabytes that the pages add to a process with Airflow's API: at first, in use."""
    program = "import sys; from bench import pages; pages.say_memory(sys.argv[1])"
    done = subprocess.run(
        [sys.executable, "-c", program, address],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=_PATIENCE,
    )
    return [float(one) for one in done.stdout.splitlines()[-1].split()]


def elsewhere(component: str) -> list[float]:
    """Return what the plug-in adds to a component: megabytes, CPU ms, modules of the pages."""
    argv = [sys.executable, "-c", _ELSEWHERE, component]
    done = subprocess.run(argv, stdout=subprocess.PIPE, text=True, check=True, timeout=_PATIENCE)
    return [float(one) for one in done.stdout.splitlines()[-1].split()]


_ELSEWHERE: Final = """
import sys, time
component = sys.argv[1]
sys.argv = ["airflow", component]
import psutil, airflow.plugins_manager, airflow.timetables.base
own = psutil.Process()
before, worked = own.memory_full_info().uss, time.process_time()
import understudy_plugin
assert len(understudy_plugin.UnderstudyPlugin.external_views) == 3
worked, added = time.process_time() - worked, own.memory_full_info().uss - before
pages = sum(name.startswith("understudy.web") for name in sys.modules)
print(f"\\n{added / 1e6:.2f} {1000 * worked:.1f} {pages}")
"""


def say_memory(address: str) -> None:
    """Write what ``memory`` returns; for a process of its own."""
    import airflow.api_fastapi.core_api.app  # noqa: F401 -- what the API server has without us
    from airflow.utils import db
    from fastapi.testclient import TestClient

    db.initdb()
    before = _megabytes()
    outer, token = mounted(address, [])
    for thread in threading.enumerate():
        if "_warm" in thread.name:  # it imports MLflow
            thread.join()
    first = _megabytes()
    with TestClient(outer) as client:
        client.cookies.set("_token", token)
        for number in range(50):
            for page in ("champions", f"dags/pipeline_{number:02}/champion"):
                client.get(f"/understudy/{page}/part")
    sys.stdout.write(f"\n{first - before:.0f} {_megabytes() - before:.0f}\n")


def _megabytes() -> float:
    return float(psutil.Process().memory_full_info().uss) / 1e6


def main(arguments: Sequence[str] | None = None) -> int:
    """Fill a store, measure, and write the table; return 1 where a budget is missed."""
    parser = argparse.ArgumentParser(prog="bench pages", allow_abbrev=False)
    parser.add_argument("--pipelines", type=int, default=50)
    parser.add_argument("--nights", type=int, default=1000)
    parser.add_argument("--asked", type=int, default=40, help="requests for each line")
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args(arguments)
    from mlflow.tracking import MlflowClient

    with tempfile.TemporaryDirectory(prefix="understudy-pages-") as folder:
        _airflow_home(Path(folder))
        uri = f"sqlite:///{folder}/mlflow.db"
        server = TrackingServer(Path(folder))
        server.start()
        try:
            began = time.monotonic()
            fill(MlflowClient(uri), uri, asked.pipelines, asked.nights)
            sys.stdout.write(f"filled in {time.monotonic() - began:.0f} s\n")
            at_first, in_use = memory(server.address)
            sys.stdout.write(f"API server: {at_first:.0f} MB more, {in_use:.0f} MB in use\n")
            added = {one: elsewhere(one) for one in ("dag-processor", "triggerer", "scheduler")}
            for one, (megabytes, took, pages) in added.items():
                told = f"{megabytes:.1f} MB, {took:.0f} ms, {pages:.0f} modules of the pages"
                sys.stdout.write(f"{one}: {told}\n")
            lines = []
            for one in table(server, asked.asked):
                _write(one)
                lines.append(one)
        finally:
            server.kill()
    if asked.json:
        asked.json.write_text(json.dumps([asdict(one) for one in lines], indent=1))
    spoiled = any(pages for _, _, pages in added.values())
    return int(spoiled or any(one.is_over for one in lines))


def _write(one: Line) -> None:
    over = "  OVER" if one.is_over else ""
    took = f"median {one.median:6.0f} p95 {one.p95:6.0f} work {one.cpu:5.0f} ms"
    stale = f", {one.stale} of {one.asked} stale" if one.stale else ""
    sys.stdout.write(
        f"{one.page:18} {one.how:20} {one.asked:3} times, {took} of {one.budget:.0f},"
        f" {one.kilobytes:5.1f} kB, {one.calls} calls{stale}{over}\n"
    )
    sys.stdout.flush()


def _airflow_home(folder: Path) -> None:
    """Give Airflow a home of its own; it reads its configuration when it is imported."""
    os.environ.update(
        AIRFLOW_HOME=str(folder / "airflow"),
        AIRFLOW__CORE__UNIT_TEST_MODE="True",
        AIRFLOW__CORE__LOAD_EXAMPLES="False",
        AIRFLOW__API_AUTH__JWT_SECRET="of the bench, and 64 characters long" * 2,
        MLFLOW_HTTP_REQUEST_MAX_RETRIES="0",
        # Until it hangs on purpose: a busy machine shows what a page costs, too.
        MLFLOW_HTTP_REQUEST_TIMEOUT="60",
        MLFLOW_DISABLE_TELEMETRY="true",
    )


if __name__ == "__main__":
    sys.exit(main())
