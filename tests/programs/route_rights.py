"""Prints what people get of every route of the pages and of every call that their buttons make.

Run with AIRFLOW_HOME and the auth manager's variables set; people and their roles come as JSON.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from airflow.api_fastapi.app import create_app, get_auth_manager
from airflow.configuration import conf
from airflow.utils import db
from starlette.testclient import TestClient

DAG = "paged"
CALLS = (
    ("trigger: POST .../dagRuns", "POST", f"/api/v2/dags/{DAG}/dagRuns"),
    (
        "answer: PATCH .../hitlDetails",
        "PATCH",
        f"/api/v2/dags/{DAG}/dagRuns/one/taskInstances/approve/-1/hitlDetails",
    ),
    ("roll back: POST .../rollback/dagRuns", "POST", "/api/v2/dags/rollback/dagRuns"),
    ("tabs: GET /api/v2/plugins", "GET", "/api/v2/plugins"),
)


def main() -> None:
    """Write the table as one line of JSON: a row for each route, an entry for each person."""
    people, rights = json.load(sys.stdin)
    db.initdb()
    if "Fab" in conf.get("core", "auth_manager"):
        add_people(people, rights)
    app = create_app(apps="core")
    # What a page answers is asked for, and not whether Airflow knows the Dag.
    with TestClient(app, raise_server_exceptions=False) as client:
        tokens = {"nobody": ""} | {name: token(client, name, people[name]) for name in people}
        client.cookies.clear()
        table = {
            shown: {name: got(client, tokens[name], method, path) for name in tokens}
            for shown, method, path in (*routes(app), *CALLS)
        }
    sys.stdout.write(f"\n{json.dumps(table)}\n")


def routes(app: Any) -> list[tuple[str, str, str]]:  # noqa: ANN401 -- FastAPI's
    """Return each route of the mounted pages: as it is shown, its method, an address of it."""
    (mounted,) = (one for one in app.routes if getattr(one, "path", "") == "/understudy")
    return [
        (
            f"/understudy{one.path}",
            method,
            f"/understudy{one.path}".replace("{dag_id}", DAG).replace("{name}", "pages.js"),
        )
        for one in mounted.app.routes
        for method in one.methods
    ]


def got(client: TestClient, token: str, method: str, path: str) -> str:
    """Return "yes" or the status of a refusal; what is asked to be done is nonsense."""
    answer = client.request(
        method,
        path,
        json=None if method == "GET" else {"nonsense": True},
        headers={"Authorization": f"Bearer {token}"} if token else {},
    )
    assert answer.status_code in {200, 401, 403, 422}, (path, answer.status_code, answer.text)
    return str(answer.status_code) if answer.status_code in {401, 403} else "yes"


def token(client: TestClient, name: str, roles: list[str]) -> str:
    """Return what somebody is given who signs in."""
    manager: Any = get_auth_manager()
    if "Fab" not in type(manager).__name__:
        from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser

        (role,) = roles
        return str(manager.generate_jwt(SimpleAuthManagerUser(username=name, role=role)))
    told = client.post("/auth/token", json={"username": name, "password": name})
    return str(told.json()["access_token"])


def add_people(people: dict[str, list[str]], rights: dict[str, list[list[str]]]) -> None:
    """Give FAB's database the people, whose passwords are their names, and their further roles."""
    from airflow.providers.fab.auth_manager.cli_commands.utils import get_application_builder

    with get_application_builder() as builder:
        manager = builder.sm
        for role, granted in rights.items():
            made = manager.add_role(role)
            for action, resource in granted:
                manager.add_permission_to_role(made, manager.create_permission(action, resource))
        for name, roles in people.items():
            found = [manager.find_role(role) for role in roles]
            mail = f"{name}@example.com"
            assert manager.add_user(name, name, "Doe", mail, found, password=name), name


if __name__ == "__main__":
    main()
