"""The team stack under faults and load, started for real: docker-compose.yaml in containers.

    make bench BENCH=team [BENCH_ARGS='full older upgrade faults hourly parsing history midnight
        --rounds 3 --json FILE']

Starts the stack from the image of this checkout and removes it afterwards; parts that need no stack
of their own share one. What was measured is printed as JSON; a part that fails is told, and the
next one begins. tests/fixtures/team_stack.py says which images have to be there;
UNDERSTUDY_OLDER_IMAGE names the one whose worker the part ``older`` starts.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import traceback
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from typing import Any, Final

import httpx
from tests.fixtures.team_stack import Team, build, images

from bench import team_faults, team_scale, team_upgrade

Part = Callable[[Team, int], list[dict[str, Any]]]
PARTS: Final[dict[str, Part]] = {
    "full": team_faults.full_store,
    "older": team_faults.older_worker,
    "upgrade": team_upgrade.upgrade,
    "faults": team_faults.run,
    "hourly": team_scale.hourly,
    "parsing": team_scale.parsing,
    "history": team_scale.history,
    "midnight": team_scale.midnight,  # the last, because it leaves hours of work
}


FILES: Final = {"full": "tests/bench/team_small_store.yaml", "older": "tests/bench/team_older.yaml"}
"""Compose file that a part adds."""
OLDER: Final = "UNDERSTUDY_OLDER_IMAGE"


@contextmanager
def started(chosen: dict[str, str], *files: str) -> Iterator[Team]:
    """Yield a stack whose Dag files are in a folder of its own, still empty."""
    with tempfile.TemporaryDirectory(prefix="bench-team-") as name:
        folder = Path(name)
        (folder / "dags").mkdir()
        folder.chmod(0o755)
        team = Team(folder, f"understudy-bench-{uuid.uuid4().hex[:6]}")
        team.files += ["tests/bench/team.yaml", *files]
        team.settings["UNDERSTUDY_BENCH_DAGS"] = str(folder / "dags")
        # A small store has room for volumes, which are made only where a whole one fits.
        team.settings["UNDERSTUDY_STORE_VOLUME_MB"] = "16"
        if OLDER in os.environ:
            team.settings[OLDER] = os.environ[OLDER]
        team.prepare(chosen)
        try:
            team.up()
            yield team
        finally:
            team.remove()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the parts that were asked for."""
    parser = argparse.ArgumentParser(prog="bench team", description="The team stack under faults.")
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], default=[*PARTS])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    chosen = images()
    build(chosen["UNDERSTUDY_PYTHON_IMAGE"])
    measured: dict[str, list[dict[str, Any]]] = {}
    for file, names in groupby(options.parts, FILES.get):
        with started(chosen, *filter(None, [file])) as team:
            for name in names:
                measured[name] = _measured(name, team, options.rounds)
                sys.stdout.write(f"{name}: {json.dumps(measured[name])}\n")
                sys.stdout.flush()
                if options.json:
                    options.json.write_text(json.dumps(measured, indent=1), "utf-8")
    return int(any("failed" in one for part in measured.values() for one in part))


def _measured(name: str, team: Team, rounds: int) -> list[dict[str, Any]]:
    try:
        return PARTS[name](team, rounds)
    except (AssertionError, httpx.HTTPError, subprocess.CalledProcessError) as error:
        traceback.print_exception(error)
        return [{"failed": f"{type(error).__name__}: {error}"[:500]}]
