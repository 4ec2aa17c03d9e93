"""How the team stack grows: with workers, with Dag files, with pipelines due at once, with runs."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from tests.stack.team import Team, eventually

from bench.team_nights import Nights, seconds_since, write_dags

PIPELINES: Final = 24
"""Nights of the measurement of nights per hour."""
PARSED: Final = (100, 300, 1000)
DUE: Final = 500
RUNS: Final = (1_000, 10_000, 100_000)
_PARSE: Final = """
import json, resource, time
begin, cpu = time.monotonic(), time.process_time()
from airflow.dag_processing.dagbag import DagBag
imported = time.monotonic() - begin
bag = DagBag("/opt/understudy/dags")
assert not bag.import_errors, bag.import_errors
print(json.dumps({"files": len(bag.dags), "import s": round(imported, 1),
  "all s": round(time.monotonic() - begin, 1), "cpu s": round(time.process_time() - cpu, 1),
  "MiB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024}))
"""
_GROW: Final = """
INSERT INTO runs (run_uuid, name, source_type, source_name, entry_point_name, user_id, status,
  start_time, end_time, source_version, lifecycle_stage, artifact_uri, experiment_id, deleted_time)
SELECT md5(random()::text || number), 'grown', 'UNKNOWN', '', '', 'bench', 'FINISHED',
  start_time - number * 1000, end_time - number * 1000, '', 'active', artifact_uri, experiment_id,
  NULL
FROM generate_series(1, {count}) AS number,
  LATERAL (SELECT * FROM runs WHERE name <> 'grown' ORDER BY start_time LIMIT 1) AS model;
INSERT INTO tags (key, value, run_uuid)
SELECT tags.key, tags.value, grown.run_uuid
FROM runs AS grown, tags
WHERE grown.name = 'grown'
  AND tags.run_uuid = (SELECT run_uuid FROM runs WHERE name <> 'grown' ORDER BY start_time LIMIT 1)
  AND tags.key IN ('understudy.kind', 'understudy.pipeline', 'understudy.fingerprint')
ON CONFLICT DO NOTHING;
ANALYZE;
"""


def hourly(team: Team, _rounds: int) -> list[dict[str, Any]]:
    """Nights per hour with 1, 2 and 4 workers."""
    names = write_dags(team, PIPELINES)
    nights = Nights(team)
    nights.unpause(names)
    measured = []
    for workers in (1, 2, 4):
        team.compose("up", "--detach", "--wait", "--no-build", "--scale", f"worker={workers}")
        begin = time.monotonic()
        runs = [(name, nights.trigger(name)) for name in names]
        states = [nights.end(*one)["state"] for one in runs]
        seconds = seconds_since(begin)
        good = states.count("success")
        rate = round(good * 3600 / seconds)
        measured.append({"workers": workers, "nights": good, "s": seconds, "per hour": rate})
    return measured


def parsing(team: Team, _rounds: int) -> list[dict[str, Any]]:
    """Seconds and memory of a process that reads so many Dag files."""
    measured = []
    for count in PARSED:
        write_dags(team, count)
        said = team.compose("exec", "-T", "dag-processor", "python", "-c", _PARSE).decode()
        measured.append(json.loads(said.splitlines()[-1]))
    return measured


def midnight(team: Team, _rounds: int) -> list[dict[str, Any]]:
    """From the moment that pipelines are due until the last has begun."""
    due = (datetime.now(UTC) + timedelta(minutes=15)).replace(second=0, microsecond=0)
    names = write_dags(team, DUE, f"{due.minute} {due.hour} * * *")
    nights = Nights(team)
    nights.unpause(names, 1500)
    left = (due - datetime.now(UTC)).total_seconds()
    time.sleep(max(left, 0))
    eventually(lambda: len(nights.first_tasks_started()) >= DUE, 7200, 15)
    starts = sorted(map(datetime.fromisoformat, nights.first_tasks_started()))
    delays = [(start - due).total_seconds() for start in starts]
    return [
        {"pipelines": DUE, "ready before due s": round(left)},
        {"first s": delays[0], "median s": delays[len(delays) // 2], "last s": delays[-1]},
    ]


def history(team: Team, rounds: int) -> list[dict[str, Any]]:
    """Time of a night and of the history's command while MLflow's runs grow."""
    write_dags(team, 1)
    nights = Nights(team)
    nights.unpause(["bench_0000"])
    nights.end("bench_0000", nights.trigger("bench_0000"))
    measured, there = [], 0
    for runs in RUNS:
        _sql(team, _GROW.format(count=runs - there))
        there = runs
        for _ in range(rounds):
            run_id = nights.trigger("bench_0000")
            nights.end("bench_0000", run_id)
            tasks = nights.tasks("bench_0000", run_id)
            begin = time.monotonic()
            team.compose("exec", "-T", "worker", "understudy", "history", "bench_0000")
            seconds = {name: tasks[name]["duration"] for name in ("pin", "gate", "report")}
            measured.append({"runs": runs, **seconds, "history s": seconds_since(begin)})
    return measured


def _sql(team: Team, statements: str) -> None:
    psql = ["psql", "-U", "postgres", "-v", "ON_ERROR_STOP=1", "-q", "mlflow"]
    team.compose("exec", "-T", "postgres", *psql, content=statements.encode())
