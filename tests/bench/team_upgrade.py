"""The team stack restored from a backup, and started over the tables of an older Airflow."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path
from typing import Any, Final

from tests.fixtures.team_stack import CHECKOUT, Team

from bench.team_nights import Nights, seconds_since, write_dags

NIGHT: Final = "bench_0000"
EARLIER: Final = "3.2.0"
"""Airflow whose tables are made of those of this one, for the migration to bring up to date."""
_SCRIPTS: Final = CHECKOUT / "plugins" / "understudy" / "containers"


def upgrade(team: Team, _rounds: int) -> list[dict[str, Any]]:
    """Restore a backup into an empty stack; then take its tables back, and bring them up again."""
    write_dags(team, 1)
    measured = [_night(team, "a new stack")]
    _run(team, "backup.sh", team.folder / "backup")
    team.remove()
    begin = time.monotonic()
    _run(team, "restore.sh", team.folder / "backup")
    seconds = seconds_since(begin)
    measured.append({**_night(team, "restored"), "s to healthy": seconds})
    team.compose("down")
    team.compose("up", "--detach", "--wait", "postgres")
    back = ("airflow", "db", "downgrade", "--to-version", EARLIER, "--yes")
    team.compose("run", "--rm", "-T", "--no-deps", "migrations", *back)
    seconds = round(team.up(), 1)
    told = {
        **_night(team, f"tables of Airflow {EARLIER} brought up to date"),
        "s to healthy": seconds,
    }
    return [*measured, told]


def _night(team: Team, what: str) -> dict[str, Any]:
    """Run a night; return how it ended, and what the history says of the champion."""
    nights = Nights(team)
    nights.unpause([NIGHT])
    ended = nights.end(NIGHT, nights.trigger(NIGHT))
    history = team.compose(
        "exec", "-T", "--user=understudy", "worker", "understudy", "history", NIGHT
    ).decode()
    assert "is champion since" in history, history
    return {"under": what, "night": ended["state"], "champion": history.splitlines()[0]}


def _run(team: Team, script: str, folder: Path) -> None:
    files = {"COMPOSE_ENV_FILES": str(team.folder / "env"), "COMPOSE_FILE": ":".join(team.files)}
    command = ["sh", _SCRIPTS / script, folder]
    subprocess.run(command, cwd=CHECKOUT, env={**os.environ, **files}, check=True)
