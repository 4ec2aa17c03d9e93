"""A client of Airflow's REST interface, version 2, as far as the local stack needs it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import httpx

from understudy.devstack.processes import StackError

FINISHED = frozenset({"success", "failed"})
"""The states of a Dag run that has ended."""
# Entries per request: the most that the server gives by default ([api] maximum_page_limit).
_PAGE = 100

Json = dict[str, Any]


@dataclass(frozen=True)
class Account:
    """Where the server is, and whose account is used."""

    url: str
    user: str
    password: str


class AirflowApi:
    """A logged-in client; logs in at the first call.

    Raises:
        httpx.TransportError: from every method, when the server does not answer.
        StackError: from every method, when the server refuses the call.
    """

    def __init__(self, account: Account) -> None:
        self._account = account
        # A proxy of the user's has no business with a loopback address.
        self._http = httpx.Client(base_url=account.url, timeout=30, trust_env=False)

    def close(self) -> None:
        """Closes the connections."""
        self._http.close()

    def health(self) -> dict[str, str]:
        """The status of each component that has one: `healthy`, `unhealthy`, or empty."""
        content = _content(self._http.get("/api/v2/monitor/health"))
        return {name: (part or {}).get("status") or "" for name, part in content.items()}

    def import_errors(self) -> list[Json]:
        """Dag files that could not be imported: `filename`, `stack_trace`, `timestamp`."""
        return list(self._pages("/api/v2/importErrors", "import_errors"))

    def plugin_errors(self) -> list[Json]:
        """Plug-ins that could not be imported: `source`, `error`."""
        return list(self._pages("/api/v2/plugins/importErrors", "import_errors"))

    def dags(self) -> list[Json]:
        """All Dags that are not stale."""
        return list(self._pages("/api/v2/dags", "dags"))

    def dag(self, dag_id: str) -> Json:
        """One Dag."""
        return self._get(f"/api/v2/dags/{dag_id}")

    def pause(self, dag_id: str, *, paused: bool) -> None:
        """Pauses a Dag, or unpauses it."""
        path = f"/api/v2/dags/{dag_id}"
        _content(self._http.patch(path, json={"is_paused": paused}, headers=self._authorization()))

    def dag_runs(self, dag_id: str) -> list[Json]:
        """All runs of a Dag, the earliest first."""
        path = f"/api/v2/dags/{dag_id}/dagRuns"
        return list(self._pages(path, "dag_runs", order_by="run_after"))

    def task_instances(self, dag_id: str, run_id: str) -> list[Json]:
        """The task instances of one Dag run."""
        path = f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances"
        return list(self._pages(path, "task_instances"))

    def task_log(self, instance: Mapping[str, Any]) -> list[str]:
        """The lines of the log of a task instance's last try."""
        run = f"/api/v2/dags/{instance['dag_id']}/dagRuns/{instance['dag_run_id']}"
        path = f"{run}/taskInstances/{instance['task_id']}/logs/{instance['try_number']}"
        # By default only the first fragment of a log is returned.
        answer = self._get(path, map_index=instance["map_index"], full_content="true")
        return [_log_line(part) for part in answer.get("content", [])]

    def _pages(self, path: str, key: str, **query: str) -> Iterator[Json]:
        offset, total = 0, 1
        while offset < total:
            page = self._get(path, limit=_PAGE, offset=offset, **query)
            yield from page[key]
            offset, total = offset + _PAGE, page["total_entries"]

    def _get(self, path: str, **query: str | int) -> Json:
        return _content(self._http.get(path, params=query, headers=self._authorization()))

    def _authorization(self) -> dict[str, str]:
        # A token is good for 24 h (Airflow 3.3), which is longer than any demo or test.
        if "authorization" not in self._http.headers:
            body = {"username": self._account.user, "password": self._account.password}
            token = _content(self._http.post("/auth/token", json=body))["access_token"]
            self._http.headers["authorization"] = f"Bearer {token}"
        return {"accept": "application/json"}


def moment(text: str | None) -> datetime | None:
    """A time of the interface, which is ISO 8601 in UTC; None for none."""
    return datetime.fromisoformat(text) if text else None


def _log_line(part: Mapping[str, Any] | str) -> str:
    if isinstance(part, str):
        return part
    details = part.get("error_detail") or []
    errors = [f"{one.get('exc_type')}: {one.get('exc_value')}" for one in details]
    return " ".join([str(part.get("event", "")), *errors])


def _content(answer: httpx.Response) -> Json:
    if answer.is_error:
        raise StackError(
            f"{answer.request.method} {answer.request.url.path} was answered with "
            f"{answer.status_code}: {answer.text[:500]}",
            allowed="an answer of Airflow's REST interface, version 2",
            action="look into the log of the api-server",
        )
    content: Json = answer.json()
    return content
