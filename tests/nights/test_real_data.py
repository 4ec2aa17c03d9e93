"""Nights of real data: wine quality and bike sharing, as their Dags say."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from understudy.gate import replay

if TYPE_CHECKING:
    from tests.fixtures.airflow import Installation

pytestmark = [
    pytest.mark.integration,
    pytest.mark.long("seven nights of thousands of rows; those of the main lane have a made table"),
    pytest.mark.usefixtures("real_data", "pipelines"),
]

NIGHT = "scheduled__2026-01-{:02}T00:00:00+00:00"
BIKE_NIGHT = "scheduled__2012-12-{:02}T00:00:00+00:00"
BIKE_NIGHTS = range(22, 25)
OUTCOMES = {"PROMOTED", "HELD", "REJECTED"}
PREDICT = """
import json, sys
import mlflow, pandas
model = mlflow.pyfunc.load_model(sys.argv[1])
rows = pandas.read_csv(sys.argv[2], sep=";").head(5)
print(json.dumps([float(value) for value in model.predict(rows.assign(color="red"))]))
"""


@pytest.fixture(scope="module")
def pipelines(installation: Installation) -> None:
    """Let the scheduler begin with all of these pipelines, at the same time."""
    installation.unpause("bike_sharing")
    installation.unpause("wine")
    installation.trigger("wine_costs", "small")


def test_two_nights_of_real_wine_end_with_a_champion_that_predicts_raw_rows(
    installation: Installation, real_data: Path
) -> None:
    """The alias resolves, and the model behind it takes rows as they are in the public file."""
    for day in (1, 2):
        assert installation.wait("wine", NIGHT.format(day), 600) == "success"
    outcomes = installation.outcomes("wine")
    assert outcomes[0] == "PROMOTED"
    assert set(outcomes) <= OUTCOMES
    installation.check_ended("wine")
    rehearsed = installation.runs("wine", "tags.`understudy.kind` = 'rehearsal'")
    assert len(rehearsed) == outcomes.count("PROMOTED")
    assert all(run.data.metrics["p95_ms"] > 0 for run in rehearsed)
    environment = {**os.environ, "MLFLOW_TRACKING_URI": installation.stack.addresses().mlflow}
    command = [sys.executable, "-c", PREDICT, "models:/wine@champion"]
    command.append(str(real_data / "wine-quality" / "winequality-red.csv"))
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    predicted = json.loads(done.stdout.splitlines()[-1])
    assert len(predicted) == 5
    assert all(3 < value < 9 for value in predicted)


def test_a_better_model_that_costs_too_much_is_held(
    installation: Installation,
) -> None:
    """Both real models are measured within the night; six times the trees are too large."""
    assert installation.wait("wine_costs", "small", 600) == "success"
    installation.trigger("wine_costs", "large", n_estimators=60)
    assert installation.wait("wine_costs", "large", 600) == "success"
    assert installation.outcomes("wine_costs") == ["PROMOTED", "HELD"]
    assert installation.champion("wine_costs") == "1"
    night = installation.runs("wine_costs", "tags.`understudy.kind` = 'night'")[-1]
    record = replay(installation.record(night))
    assert "size" in record.decision.why
    assert record.evidence is not None
    found = {one.guard: one for one in record.evidence.findings if "challenger" in one.numbers}
    results = {name: found[name].result for name in ("memory", "latency_p50", "latency_p95")}
    assert set(results.values()) == {"passed"}, results
    assert found["size"].result == "failed"
    for name in (*results, "size"):
        ours, theirs = found[name].numbers["challenger"], found[name].numbers["champion"]
        assert float(str(ours)) > 0, name
        assert float(str(theirs)) > 0, name
        assert night.data.metrics[f"challenger_{name}"] == ours
        assert night.data.metrics[f"champion_{name}"] == theirs
    installation.check_ended("wine_costs")


def test_nights_of_real_bike_sharing(installation: Installation) -> None:
    """Each night trains on the month before its newest week; the champion is always one of them."""
    for day in BIKE_NIGHTS:
        assert installation.wait("bike_sharing", BIKE_NIGHT.format(day), 900) == "success"
    nights = installation.nights("bike_sharing")
    outcomes = installation.outcomes("bike_sharing")
    assert len(outcomes) == len(BIKE_NIGHTS)
    assert outcomes[0] == "PROMOTED"
    assert set(outcomes) <= OUTCOMES
    moves = [tags["understudy.champion.after"] for tags in nights]
    assert moves == sorted(moves, key=int)
    assert installation.champion("bike_sharing") == moves[-1]
    rows = [
        int(run.data.tags["data.rows"])
        for run in installation.runs("bike_sharing", "tags.`understudy.entry_point` = 'download'")
    ]
    assert rows == sorted(rows)
    assert len(set(rows)) == len(BIKE_NIGHTS)
    installation.check_ended("bike_sharing")


def test_a_real_night_is_judged_on_predictions_and_can_be_judged_again(
    installation: Installation,
) -> None:
    """In the gate's own environment that night, on the tests' Python now: the same numbers."""
    night = installation.runs("bike_sharing", "tags.`understudy.kind` = 'night'")[-1]
    record = replay(installation.record(night))
    assert record.basis == "predictions on the same rows"
    assert record.evidence is not None
    assert record.evidence.comparisons[0].interval is not None
    environment = {**os.environ, "MLFLOW_TRACKING_URI": installation.stack.addresses().mlflow}
    command = [sys.executable, "-m", "understudy", "replay", night.info.run_id]
    done = subprocess.run(command, env=environment, check=False, capture_output=True, text=True)
    assert "Nothing differs from the stored record." in done.stdout, done.stdout + done.stderr
    assert done.returncode == 0


def test_the_two_real_pipelines_ran_at_once(installation: Installation) -> None:
    """One pipeline's nights do not wait for another's."""
    spans = {}
    for dag_id, first in (("wine", NIGHT.format(1)), ("bike_sharing", BIKE_NIGHT.format(22))):
        run = installation.run(dag_id, first)
        spans[dag_id] = [datetime.fromisoformat(run[key]) for key in ("start_date", "end_date")]
    assert spans["wine"][0] < spans["bike_sharing"][1]
    assert spans["bike_sharing"][0] < spans["wine"][1]
