"""How the team stack grows: with workers, with Dag files, with pipelines due at once, with runs."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from tests.fixtures.team_stack import SLOTS, Team, eventually

from bench.team_nights import Nights, seconds_since, write_dags

PIPELINES: Final = 12
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
CREATE TEMP TABLE model AS
  SELECT runs.* FROM runs JOIN LATERAL (
    SELECT value AS kind FROM tags WHERE tags.run_uuid = runs.run_uuid AND key = 'understudy.kind'
  ) AS kinds ON kind IN ('night', 'step') WHERE name IS DISTINCT FROM 'grown' LIMIT 6;
INSERT INTO runs (run_uuid, name, source_type, source_name, entry_point_name, user_id, status,
  start_time, end_time, source_version, lifecycle_stage, artifact_uri, experiment_id, deleted_time)
SELECT md5(random()::text || number), 'grown', 'UNKNOWN', '', '', 'bench', 'FINISHED',
  start_time - number * 86400, end_time - number * 86400, run_uuid, 'active', artifact_uri,
  experiment_id, NULL
FROM generate_series(1, {count} / 6) AS number, model;
INSERT INTO tags (key, value, run_uuid)
SELECT tags.key, CASE WHEN tags.key IN ('understudy.key', 'understudy.fingerprint',
  'understudy.reuse_key', 'understudy.dag_run_id', 'understudy.holdout')
  THEN left(md5(grown.run_uuid) || tags.value, 64) ELSE tags.value END, grown.run_uuid
FROM runs AS grown JOIN tags ON tags.run_uuid = grown.source_version
WHERE grown.name = 'grown'
  AND tags.key LIKE 'understudy.%'
ON CONFLICT DO NOTHING;
INSERT INTO model_versions (workspace, name, version, creation_time, last_updated_time, user_id,
  current_stage, source, run_id, status)
SELECT workspace, name, (SELECT max(version) FROM model_versions) + number, creation_time,
  last_updated_time, user_id, current_stage, source, run_id, status
FROM generate_series(1, {count} / 10) AS number,
  LATERAL (SELECT * FROM model_versions ORDER BY version LIMIT 1) AS model;
INSERT INTO model_version_tags (workspace, name, version, key, value)
SELECT version.workspace, version.name, version.version, tag.key, tag.value || version.version
FROM model_versions AS version, model_version_tags AS tag
WHERE tag.version = (SELECT min(version) FROM model_versions)
ON CONFLICT DO NOTHING;
ANALYZE;
"""
"""Runs like those of the first night, with keys of their own, and a tenth as many versions."""


def hourly(team: Team, _rounds: int) -> list[dict[str, Any]]:
    """Nights per hour with 1, 2 and 4 workers."""
    names = write_dags(team, PIPELINES)
    nights = Nights(team)
    nights.unpause(names)
    measured = []
    for workers in (1, 2, 4):
        team.configure(UNDERSTUDY_PARALLEL_TASKS=str(workers * SLOTS))
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
    due = (datetime.now(UTC) + timedelta(minutes=6)).replace(second=0, microsecond=0)
    names = write_dags(team, DUE, due)
    nights = Nights(team)
    nights.unpause(names, 1500)
    left = (due - datetime.now(UTC)).total_seconds()
    time.sleep(max(left, 0))
    eventually(lambda: len(nights.first_tasks_started(due)) >= DUE, 7200, 15)
    starts = sorted(map(datetime.fromisoformat, nights.first_tasks_started(due)))
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
            team.compose(
                "exec", "-T", "--user=understudy", "worker", "understudy", "history", "bench_0000"
            )
            seconds = {name: tasks[name]["duration"] for name in ("pin", "gate", "report")}
            measured.append({"runs": runs, **seconds, "history s": seconds_since(begin)})
    return measured


def _sql(team: Team, statements: str) -> None:
    psql = ["psql", "-U", "postgres", "-v", "ON_ERROR_STOP=1", "-q", "mlflow"]
    team.compose("exec", "-T", "postgres", *psql, content=statements.encode())
