"""Who gets what of every route of the pages, by Airflow's own two auth managers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.fixtures.beside import FAB, PEOPLE, RIGHTS, installed
from tests.fixtures.machine import CHECKOUT

pytestmark = [
    pytest.mark.integration,
    pytest.mark.long("installs the environment of the team's image, and starts two Airflow APIs"),
    pytest.mark.timeout(1800),
]
SIMPLE = "airflow.api_fastapi.auth.managers.simple.simple_auth_manager.SimpleAuthManager"
ROLES = ("viewer", "user", "op", "admin")
Table = dict[str, dict[str, str]]


def table(folder: Path, python: Path, manager: str, *told: object) -> Table:
    """Return what everybody gets: by route, then by person."""
    variables = {
        **{name: text for name, text in os.environ.items() if "AIRFLOW" not in name},
        "AIRFLOW_HOME": str(folder),
        "AIRFLOW__CORE__AUTH_MANAGER": manager,
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__API_AUTH__JWT_SECRET": "of the tests, and 64 characters long" * 2,
        "AIRFLOW__FAB__CONFIG_FILE": str(folder / "webserver_config.py"),
        # Nobody listens there: a page says so, and is a page all the same.
        "MLFLOW_TRACKING_URI": "http://127.0.0.1:9",
    }
    done = subprocess.run(
        [python, CHECKOUT / "tests" / "programs" / "route_rights.py"],
        env=variables,
        input=json.dumps(told),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    found: Table = json.loads(done.stdout.splitlines()[-1])
    return found


def test_what_everybody_gets_of_every_route(tmp_path: Path) -> None:
    """Enumerated from the application that Airflow mounts; it is what docs/pages.md says."""
    programs = installed(tmp_path / "team")
    by_name = table(tmp_path / "fab", programs / "python", FAB, PEOPLE, RIGHTS)
    roles = {role: [role] for role in ROLES}
    by_role = table(tmp_path / "simple", Path(sys.executable), SIMPLE, roles, {})
    documented = (CHECKOUT / "docs" / "pages.md").read_text()
    assert list(by_name) == list(by_role)
    assert sum(route.startswith("/understudy/") for route in by_name) >= 7
    # Without "can read on Plugins" FAB shows no tab; the simple manager lets everybody read them.
    tabs, simple = by_name.pop("tabs: GET /api/v2/plugins"), by_role.popitem()[1]
    assert [name for name in tabs if tabs[name] == "403"] == ["bare"]
    assert [name for name in simple if simple[name] != "yes"] == ["nobody"]
    for route, got in by_name.items():
        assert by_role[route]["nobody"] == got["nobody"]
        assert got["bare"] == got["vera"] == by_role[route]["viewer"], route
        acting = {*(got[one] for one in ("ursula", "omar", "ada"))}
        assert acting == {by_role[route][one] for one in ("user", "op", "admin")} == {"yes"}, route
        cells = (got[one] for one in ("nobody", "otto", "vera", "ursula"))
        assert f"| `{route}` | {' | '.join(cells)} |" in documented
