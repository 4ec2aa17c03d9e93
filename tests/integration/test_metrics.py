"""What Prometheus is told, of a real MLflow server."""

from __future__ import annotations

import time
import uuid

import pytest
from mlflow.tracking import MlflowClient

from understudy.contract import Kind, Outcome, Tag
from understudy.monitoring.exporter import Observer

pytestmark = pytest.mark.integration


def test_nights_steps_and_champions_are_told(mlflow_uri: str) -> None:
    """Each night once, at zero as soon as it has begun; a champion since its registration."""
    client = MlflowClient(mlflow_uri)
    name = f"told-{uuid.uuid4().hex[:8]}"
    experiment = client.create_experiment(name)
    tags = {Tag.KIND.value: Kind.NIGHT.value, Tag.PIPELINE.value: name}
    night = client.create_run(experiment, tags=tags)
    observer = Observer(client, int(time.time() * 1000) - 1000)

    def told(metric: str, **labels: str) -> float | None:
        return observer.registry.get_sample_value(f"understudy_{metric}", labels)

    # Of a machine whose clock is ahead: it hides nothing of what ends later.
    ahead = client.create_run(experiment, tags={**tags, Tag.KIND.value: Kind.STEP.value})
    client.set_terminated(ahead.info.run_id, end_time=int((time.time() + 86_400) * 1000))
    observer.look()
    assert told("nights_total", pipeline=name, outcome="FAILED") == 0
    assert told("last_night_timestamp_seconds", pipeline=name) is None

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
        observer.look()
    assert told("nights_total", pipeline=name, outcome="PROMOTED") == 1
    assert told("verdicts_total", pipeline=name, verdict="PROMOTE") == 1
    assert told("steps_total", pipeline=name, step="train", status="FAILED") == 1
    assert told("step_seconds_total", pipeline=name, step="train") is not None
    now = pytest.approx(time.time(), abs=60)
    assert told("last_night_timestamp_seconds", pipeline=name) == now
    assert told("champion_version", model=name) == 1
    assert told("champion_since_timestamp_seconds", model=name) == now

    client.delete_registered_model_alias(name, "champion")
    observer.look()
    assert told("champion_version", model=name) is None
