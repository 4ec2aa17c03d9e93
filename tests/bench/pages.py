"""What the pages inside Airflow's UI cost, against their budgets.

    make bench BENCH=pages
        [BENCH_ARGS='--pipelines 50 --nights 1000 --asked 40 --json FILE']

Fills an MLflow server of its own on SQLite, in a temporary folder that it removes, with nights that
never ran: one pipeline has all of ``--nights``, one has six, each other one twenty, and every night
five steps. Then asks for each page as a browser does: the frame, the part that it fetches from what
is kept, and that part when nothing is kept, or when what is kept is too old. At last the server
is slow, hangs, then ends. What the pages add to the API server's memory, and to the components that
show none, is measured in processes of its own.
"""

from __future__ import annotations

import argparse
import gc
import gzip
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import unquote

import psutil
from tests.fixtures.many_nights import LARGEST, SMALLEST, fill

from bench.tracking_server import TrackingServer

if TYPE_CHECKING:
    from fastapi import FastAPI
    from fastapi.testclient import TestClient
_LINE: Final = 30.0
"""Seconds after which a line has enough requests."""
_LEAST: Final = 3
"""Requests that it has all the same."""
_PATIENCE: Final = 600
"""Seconds that the measurement of memory may take."""
_CALLS: Final = 4
_KILOBYTES: Final = 100
_LATE: Final = 0.5
"""Seconds by which a slow MLflow is late, with each call."""
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


def mounted(address: str, asking: Callable[[], None]) -> tuple[FastAPI, str]:
    """Return the pages as Airflow mounts them, and an admin's cookie.

    Args:
        address: MLflow's.
        asking: Is called before each call of it for which a page waits.
    """
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
            asking()
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
        work.calls = 0
        began, worked = time.perf_counter(), work.seconds()
        answer = client.get(f"/understudy/{path}")
        took, worked = 1000 * (time.perf_counter() - began), 1000 * (work.seconds() - worked)
        assert answer.status_code == 200, (path, answer.text)
        stale = _AWAY in answer.text
        # Airflow sends it so.
        size = len(gzip.compress(answer.content, 5))
        yield Asked(took, worked, size, work.calls, stale)


def _is_later(thread: threading.Thread) -> bool:
    """Return whether a thread reads older nights while nobody waits."""
    return thread.name.endswith("(_later)")


class Work:
    """What this process and MLflow's do.

    Attributes:
        calls: How often a page has asked MLflow.
        late: Seconds by which MLflow answers later than it does.
    """

    def __init__(self, address: str) -> None:
        self.calls, self.late = 0, 0.0
        port = int(address.rpartition(":")[2])
        self._processes = [psutil.Process()]
        for one in psutil.net_connections("inet"):
            if one.status == "LISTEN" and one.laddr.port == port and one.pid:
                self._processes.append(psutil.Process(one.pid))

    def asking(self) -> None:
        """Count a call of MLflow, and let it be late."""
        self.calls += 1
        time.sleep(self.late)

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
    outer, token = mounted(server.address, work.asking)
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
    """Yield what the same page costs while MLflow is slow, hangs, and when it is away."""
    from understudy.web.reader import TIMEOUT

    work.late = _LATE
    slow = list(measured(client, part, 6, kept.too_old, work))
    yield _line("MLflow is slow", "part, too old", 500 + _CALLS * 1000 * _LATE, slow)
    work.late = 0.0
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
    outer, token = mounted(address, lambda: None)
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
            added = {one: elsewhere(one) for one in ("dag-processor", "triggerer", "scheduler")}
            _write_elsewhere(memory(server.address), added)
            sys.stdout.write(_HEAD)
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


def _write_elsewhere(server: Sequence[float], added: Mapping[str, Sequence[float]]) -> None:
    at_first, in_use = server
    sys.stdout.write(
        f"{'process':18} {'MB more':>8} {'ms at start':>12} {'modules of the pages':>22}\n"
        f"{'API server':18} {at_first:8.0f}   ({in_use:.0f} with all pages of 50 pipelines kept)\n"
    )
    for one, (megabytes, took, pages) in added.items():
        over = "  OVER" if pages else ""
        sys.stdout.write(f"{one:18} {megabytes:8.1f} {took:12.0f} {pages:15.0f} (of 0){over}\n")


_HEAD: Final = (
    f"\n{'page':18} {'what':20} {'times':>5} {'median':>8} {'p95 ms':>8} {'budget':>8} {'work':>6}"
    f" {f'kB of {_KILOBYTES}':>10} {f'calls of {_CALLS}':>11}\n"
)


def _write(one: Line) -> None:
    over = "  OVER" if one.is_over else ""
    stale = f"  {one.stale} of {one.asked} stale" if one.stale else ""
    sys.stdout.write(
        f"{one.page:18} {one.how:20} {one.asked:5} {one.median:8.0f} {one.p95:8.0f}"
        f" {one.budget:8.0f} {one.cpu:6.0f} {one.kilobytes:10.1f} {one.calls:11}{stale}{over}\n"
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
