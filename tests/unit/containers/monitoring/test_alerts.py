"""The alerts fire when they should: Prometheus' own tool says so, where it is installed."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from mlflow.tracking import MlflowClient
from prometheus_client import generate_latest

from understudy.monitoring.exporter import Observer

pytestmark = pytest.mark.unit

FOLDER = Path(__file__).parents[4] / "plugins" / "understudy" / "containers" / "monitoring"
NOBODY = MlflowClient("http://127.0.0.1:1")
TOLD = set(re.findall(r"# TYPE (\S+) ", generate_latest(Observer(NOBODY, 0).registry).decode()))


def _named(expression: str) -> set[str]:
    return set(re.findall(r"understudy_\w+", expression))


def _promtool(*arguments: str | Path) -> None:
    if (promtool := shutil.which("promtool")) is None:
        pytest.skip("promtool is not here (Debian: apt-get install prometheus)")
    done = subprocess.run([promtool, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def _queries() -> list[str]:
    panels = json.loads((FOLDER / "dashboard.json").read_text("utf-8"))["panels"]
    return [target["expr"] for panel in panels for target in panel["targets"]]


def test_promtool_agrees() -> None:
    """Each alert with series for which it fires, and with series for which it does not."""
    _promtool("test", "rules", Path(__file__).with_name("alerts_test.yml"))


def test_promtool_reads_every_query_of_the_dashboard(tmp_path: Path) -> None:
    """As rules, with what Grafana would put for its variables."""
    shown = (query.replace("$pipeline", ".*").replace("$__interval", "1m") for query in _queries())
    rules = [{"record": f"panel:{number}", "expr": query} for number, query in enumerate(shown)]
    file = tmp_path / "rules.yml"
    file.write_text(json.dumps({"groups": [{"name": "panels", "rules": rules}]}), "utf-8")
    _promtool("check", "rules", file)


def test_every_alert_asks_for_something_that_is_told() -> None:
    """A metric that is misspelt would never fire."""
    rules = yaml.safe_load((FOLDER / "alerts.yml").read_text("utf-8"))["groups"][0]["rules"]
    names = set().union(*(_named(rule["expr"]) for rule in rules))
    assert names
    assert names <= TOLD


def test_every_panel_shows_something_that_is_told() -> None:
    """Ours; those of Airflow and MLflow are theirs to name."""
    names = set().union(*map(_named, _queries()))
    assert names == TOLD
