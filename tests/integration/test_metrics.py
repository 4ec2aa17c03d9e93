"""What Prometheus is told, of a real MLflow server."""

from __future__ import annotations

import time
import uuid

import pytest
from mlflow.tracking import MlflowClient

from understudy.contract import Kind, Outcome, Tag
from understudy.monitoring.figures import Observer

pytestmark = pytest.mark.integration


def test_nights_steps_and_champions_are_told(mlflow_uri: str) -> None:
    """Each night once, at zero as soon as it has begun; a champion since its registration."""
    client = MlflowClient(mlflow_uri)
    name = f"told-{uuid.uuid4().hex[:8]}"
    experiment = client.create_experiment(name)
    tags = {Tag.KIND.value: Kind.NIGHT.value, Tag.PIPELINE.value: name}
    night = client.create_run(experiment, tags=tags)
    observer = Observer(client, int(time.time() * 1000) - 1000)
    figures = observer.look()
    assert figures.nights[name, "FAILED"] == 0
    assert (name, "FAILED") in figures.nights
    assert (name,) not in figures.last_night

    step = {**tags, Tag.KIND.value: Kind.STEP.value, Tag.ENTRY_POINT.value: "train"}
    run = client.create_run(experiment, tags=step)
    client.set_terminated(run.info.run_id, "FAILED")
    client.set_tag(night.info.run_id, Tag.OUTCOME.value, Outcome.PROMOTED.value)
    client.set_tag(night.info.run_id, Tag.VERDICT.value, "PROMOTE")
    client.set_terminated(night.info.run_id)
    client.create_registered_model(name)
    version = client.create_model_version(name, f"runs:/{night.info.run_id}/m", night.info.run_id)
    client.set_registered_model_alias(name, "champion", version.version)
    for _ in range(2):
        figures = observer.look()
    assert figures.nights[name, "PROMOTED"] == 1
    assert figures.verdicts[name, "PROMOTE"] == 1
    assert figures.steps[name, "train", "FAILED"] == 1
    assert figures.last_night[(name,)] == pytest.approx(time.time(), abs=60)
    assert figures.champions[name].version == "1"
    assert figures.champions[name].since == pytest.approx(time.time(), abs=60)
