"""A backtest as its user runs it: real steps, killed in the middle, and gone on with."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

pytestmark = [
    pytest.mark.integration,
    pytest.mark.long("two backtests of six nights, of which one is killed"),
]

PROJECT = Path(__file__).parents[1] / "projects" / "drifting"
NIGHTS = 6
BAD = "2012-01-26"
"""The newest training row of the night that goes wrong, three days before it."""


@pytest.fixture
def command(tmp_path: Path) -> list[str]:
    """Return the command line of a backtest."""
    strict = tmp_path / "strict.json"
    strict.write_text(json.dumps({"primary": {"name": "rmse", "min_gain": 1000.0}}))
    words = f"--nights {NIGHTS} --holdout-days 3 --env-manager local --jobs 2 --metric rmse"
    words += " --inject rows mean --refit"
    more = ["-P", f"bad_night={BAD}", "--rules", str(strict), "--out", str(tmp_path / "out")]
    program = [sys.executable, "-m", "understudy", "backtest", str(PROJECT)]
    return [*program, *words.split(), *more]


@pytest.fixture
def variables(tmp_path: Path) -> dict[str, str]:
    """Return the variables of its process, whose cache and temporary folder are the test's own."""
    own = {"UNDERSTUDY_CACHE": str(tmp_path / "cache"), "TMPDIR": str(tmp_path)}
    return {**os.environ, **own}


def done(out: Path) -> dict[str, int]:
    """Return the nights that are complete, with what tells them from a later try."""
    files = out.glob("nights/2012*/predictions.parquet")
    return {file.parent.name: file.stat().st_mtime_ns for file in files}


def killed_in_the_middle(command: list[str], variables: dict[str, str], out: Path) -> None:
    """Start a backtest; kill it, and nothing else, when it has made some nights."""
    with subprocess.Popen(command, env=variables, stderr=subprocess.DEVNULL) as process:
        end = time.monotonic() + 300
        while len(done(out)) < 2:
            assert process.poll() is None, "it ended before it could be killed"
            assert time.monotonic() < end, "it makes no nights"
            time.sleep(0.02)
        workers = psutil.Process(process.pid).children(recursive=True)
        os.kill(process.pid, signal.SIGKILL)
    _, alive = psutil.wait_procs(workers, timeout=60)
    assert not alive, "workers outlive their backtest"


def test_a_killed_backtest_goes_on_where_it_ended(
    command: list[str], variables: dict[str, str], tmp_path: Path
) -> None:
    """No night is run twice, and the answer is that of an undisturbed one."""
    out = tmp_path / "out"
    killed_in_the_middle(command, variables, out)
    before = done(out)
    assert 2 <= len(before) < NIGHTS

    again = subprocess.run(command, env=variables, capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr
    assert f"{len(before)} of {NIGHTS} nights are there already" in again.stderr
    after = done(out)
    assert len(after) == NIGHTS
    assert before.items() <= after.items(), "a night was run twice"
    check_answer(json.loads((out / "results.json").read_text()))
    assert "promote always" in again.stdout
    assert "with a refit after each promotion it would have served" in again.stdout
    assert "<svg" in (out / "results.html").read_text()


def check_answer(result: dict[str, Any]) -> None:
    """Check that the answer is that of these data: a drift, and one night gone wrong."""
    served = {name: one["served"] for name, one in result["paths"].items()}
    rules = {one["name"]: one for one in result["rules"]}
    assert len(result["nights"]) == NIGHTS
    assert result["rows"] == [24] * NIGHTS
    assert not result["failures"]
    assert served["hindsight"] <= min(served.values())
    assert served["always"] > 10, "the bad night served"
    assert rules["default"]["served"] == pytest.approx(served["hindsight"], rel=0.03)
    assert rules["default"]["served"] < min(served["always"], served["frozen"])
    assert rules["default"]["verdicts"].count("REJECT") == 1
    assert rules["strict"]["promotions"] == 0
    assert rules["strict"]["served"] == pytest.approx(served["frozen"])
    # Models that are three days fresher serve a level that rises by one a day with less error.
    again = result["refit"]
    refitted = {one["name"]: one for one in again["rules"]}
    assert refitted["default"]["served"] < rules["default"]["served"] - 2
    assert refitted["strict"]["served"] == pytest.approx(again["paths"]["frozen"]["served"])
    assert again["paths"]["frozen"]["served"] < served["frozen"]
    faults = result["faults"]
    assert sorted(faults["injected"].values()) == ["mean", "rows"]
    assert all(faults["has_model"]), "each of them has a model of its own"
    assert faults["paths"]["frozen"]["served"] == served["frozen"], "the first night is sound"
    assert faults["paths"]["always"]["by_night"] != result["paths"]["always"]["by_night"]
