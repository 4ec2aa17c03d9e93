"""Nights of the bench on the team stack: Dag files of the quick project, Airflow's interface."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any, Final

import httpx
from tests.fixtures.team_stack import Team, eventually

FINISHED: Final = ("success", "failed")
REACHED: Final = (*FINISHED, "running", "up_for_retry", "upstream_failed", "skipped")
_DAG: Final = '''"""An Airflow Dag of the bench."""
from datetime import datetime

from understudy import Gate, Metric, Project, pipeline

dag = pipeline(
    "{name}",
    project=Project("{{{{ var.value.understudy_repository }}}}#tests/projects/number"),
    schedule={schedule!r},
    start=datetime.fromisoformat({start!r}),
    env_manager="local",
    parameters={{"factor": 1.0, "broken": "no"}},
    gate=Gate(Metric("rmse", min_gain=0.0)),
    rehearsal=None,
    skip_unchanged=False,
    retries=2,
)
'''


def names_of(count: int) -> list[str]:
    """Return the names of so many Dags."""
    return [f"bench_{number:04}" for number in range(count)]


def write_dags(team: Team, count: int, due: datetime | None = None) -> list[str]:
    """Write so many Dag files, in place of all others, and return the Dags' names.

    Args:
        team: the stack that reads them.
        count: so many.
        due: when the first night of each is, and one every day after it; None for none.
    """
    folder = team.folder / "dags"
    names = names_of(count)
    schedule = f"{due.minute} {due.hour} * * *" if due else None
    start = (due or datetime(2026, 1, 1, tzinfo=UTC)).isoformat()
    for file in folder.glob("bench_*.py"):
        file.unlink()
    for name in names:
        text = _DAG.format(name=name, schedule=schedule, start=start)
        (folder / f"{name}.py").write_text(text, "utf-8")
    return names


class Nights:
    """Starts nights and waits for them, as somebody at Airflow's UI would."""

    def __init__(self, team: Team) -> None:
        self._http = httpx.Client(base_url=team.address("AIRFLOW"), timeout=120, trust_env=False)
        body = {"username": "admin", "password": team.secret("login/airflow")}
        answer = self._http.post("/auth/token", json=body).raise_for_status()
        self._http.headers["authorization"] = f"Bearer {answer.json()['access_token']}"

    def get(self, path: str, **query: Any) -> Any:  # noqa: ANN401 -- JSON
        """Return what Airflow says; asked again while it is away."""

        def asked() -> Any:  # noqa: ANN401 -- ditto
            answer = self._http.get(f"/api/v2/{path}", params=query)
            return answer.json() if answer.is_success else None

        return eventually(asked, 300)

    def unpause(self, names: list[str], limit: float = 900) -> None:
        """Wait until Airflow knows all of these Dags, and let them run."""

        def known() -> bool:
            asked = (self._http.get(f"/api/v2/dags/{name}") for name in {names[0], names[-1]})
            if not all(answer.is_success for answer in asked):
                return False
            return int(self.get("dags", limit=1)["total_entries"]) >= len(names)

        eventually(known, limit)
        query = {"dag_id_pattern": "bench_%", "exclude_stale": "true"}
        self._http.patch("/api/v2/dags", params=query, json={"is_paused": False}).raise_for_status()

    def trigger(self, name: str) -> str:
        """Start a night; return its id."""
        body = {"logical_date": None, "conf": {"force": True}}
        answer = self._http.post(f"/api/v2/dags/{name}/dagRuns", json=body).raise_for_status()
        return str(answer.json()["dag_run_id"])

    def tasks(self, name: str, run_id: str) -> dict[str, Any]:
        """Return the task instances of a night by name; of mapped ones, the last."""
        found = self.get(f"dags/{name}/dagRuns/{run_id}/taskInstances")["task_instances"]
        return {one["task_id"]: one for one in found}

    def reached(self, name: str, run_id: str, task: str, limit: float = 1800) -> None:
        """Wait until a task of a night runs, or has ended, or the night has."""

        def there() -> bool:
            if self.get(f"dags/{name}/dagRuns/{run_id}")["state"] in FINISHED:
                return True
            return self.tasks(name, run_id)[task]["state"] in REACHED

        eventually(there, limit, 0.5)

    def end(self, name: str, run_id: str, limit: float = 1800) -> dict[str, Any]:
        """Wait until a night is over, and return its Dag run."""

        def over() -> Any:  # noqa: ANN401 -- ditto
            run = self.get(f"dags/{name}/dagRuns/{run_id}")
            return run if run["state"] in FINISHED else None

        return dict(eventually(over, limit, 1))

    def counts(self, state: str) -> int:
        """Return how many Dag runs of all Dags are in a state."""
        return int(self.get("dags/~/dagRuns", state=state, limit=1)["total_entries"])

    def first_tasks_started(self, since: datetime) -> list[str]:
        """Return when the first task of each night started that began after a moment: ISO times."""
        starts: list[str | None] = []
        query = {"task_id": "pin", "start_date_gte": since.isoformat(), "limit": 100}
        while True:
            page = self.get("dags/~/dagRuns/~/taskInstances", **query, offset=len(starts))
            found = page["task_instances"]
            starts += [one["start_date"] for one in found]
            if not found or len(starts) >= page["total_entries"]:
                return [start for start in starts if start]  # the filter lets those without pass


def seconds_since(begin: float) -> float:
    """Return rounded seconds since a monotonic time."""
    return round(time.monotonic() - begin, 1)
