"""``understudy init project``: what it writes passes its own test, and no guard holds it."""

from __future__ import annotations

import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import mlflow
import pandas as pd
import pytest

from understudy.cli.main import main
from understudy.evaluation.guards.data import find
from understudy.gate import Guards

pytestmark = pytest.mark.integration


def test_a_new_project_s_own_test_passes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As its README says, in this environment."""
    monkeypatch.chdir(tmp_path)
    assert main(["init", "project", "my-model"]) == 0
    argv = [sys.executable, "-m", "pytest", "-q", "-p", "no:xdist", "-p", "no:cacheprovider"]
    done = subprocess.run(
        argv, cwd=tmp_path / "my-model", capture_output=True, text=True, check=False
    )
    assert "1 passed" in done.stdout, done.stdout + done.stderr


def test_its_rows_hold_no_first_night(
    tmp_path: Path, mlflow_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are enough for the guards, and for a model that is better than the mean.

    Ten rows were HELD by the guard of rows, after they had been REJECTED for an r2 below 0.
    """
    monkeypatch.setattr(mlflow.tracking.fluent, "_active_experiment_id", None, raising=False)
    mlflow.set_tracking_uri(mlflow_uri)
    assert main(["init", "project", str(tmp_path / "mine")]) == 0
    steps = runpy.run_path(str(tmp_path / "mine" / "steps.py"))["STEPS"]
    _, raw = ran(steps["download"], "raw", source=str(tmp_path / "mine" / "rows.csv"), as_of="")
    _, data = ran(steps["preprocess"], "data", raw=raw)
    findings = find(Guards(), Path(data), None).findings
    assert {one.guard for one in findings} >= {"rows", "leakage"}
    assert {one.result for one in findings} == {"passed"}
    trained, _ = ran(steps["train"], "", data=data, alpha=1.0)
    model = f"runs:/{trained}/model"
    _, scored = ran(steps["validate"], "predictions.parquet", data=data, model_uri=model)
    predictions = pd.read_parquet(scored)
    # Else the rehearsal has no row to ask for: it only starts the model.
    asked = pd.read_parquet(Path(data, "holdout.parquet"))["row_id"]
    assert set(asked) == set(predictions["row_id"])
    errors = predictions["target"] - predictions["prediction"]
    assert (errors**2).mean() < predictions["target"].var(ddof=0) / 2


def ran(step: Callable[..., None], artifact: str, **given: object) -> tuple[str, str]:
    """Run a step as one run; return the run, and where its artifact lies."""
    with mlflow.start_run() as active:
        step(**given)
    run_id = active.info.run_id
    path = f"runs:/{run_id}/{artifact}"
    return run_id, mlflow.artifacts.download_artifacts(path) if artifact else ""
