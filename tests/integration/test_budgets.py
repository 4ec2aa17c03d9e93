"""Nights whose rules have budgets, on a real MLflow server with real models, large and small."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

from understudy.cli.main import main
from understudy.contract import DECISION_PAGE, Kind, Tag
from understudy.decide import benchmark
from understudy.decide.benchmark import BenchmarkEffort, BenchmarkRunner
from understudy.decide.decision import DecisionInputs, Validation
from understudy.errors import StepStoppedError
from understudy.gate import Budgets, DecisionRecord, Gate, Limit, Metric, Verdict
from understudy.runner.settings import CACHE_VARIABLE

if TYPE_CHECKING:
    from tests.fixtures.git import Repository
    from tests.fixtures.nights import Pipeline

pytestmark = [
    pytest.mark.integration,
    # MLflow about itself, in this process: it logs models here.
    pytest.mark.filterwarnings("default"),
]

BUDGETS = Budgets(
    size=Limit("200MB", growth=4.0),
    memory=Limit(),
    latency_p95=Limit("10s", growth=0.5, level="reject"),
)
RMSE = Metric("rmse", confidence=0.95)
GATE = Gate(RMSE, budgets=BUDGETS)


@dataclass(frozen=True)
class Trained:
    """Two models that a project trained, by their addresses: one more than ten times the other."""

    small: str
    large: str
    rows: str


@pytest.fixture
def trained(pipeline: Pipeline, repository: Repository) -> Trained:
    """Log a line and a forest as steps of a commit would, and the rows of a night."""
    import mlflow
    from sklearn.ensemble import RandomForestRegressor
    from sklearn.linear_model import Ridge

    commit = repository.commit(MLproject="name: x\nentry_points: {main: {command: 'true'}}")
    tags = {Tag.KIND: Kind.STEP.value, Tag.REPOSITORY: repository.url, Tag.COMMIT: commit}
    stated = {name.value: value for name, value in tags.items()} | {"mlflow.project.env": "local"}
    draw = np.random.default_rng(0)
    rows = pd.DataFrame(draw.normal(size=(200, 4)), columns=list("abcd")).assign(row_id="r")
    target, addresses = rows[list("abcd")].sum(axis=1), []
    mlflow.set_tracking_uri(pipeline.client.tracking_uri)
    # So many trees that a machine that does much else cannot hide how slow they are.
    for model in (Ridge(), RandomForestRegressor(500, n_jobs=1, random_state=0)):
        with mlflow.start_run(experiment_id=pipeline.experiment, tags=stated):
            info = mlflow.sklearn.log_model(
                model.fit(rows[list("abcd")], target),
                name="model",
                input_example=rows[list("abcd")].head(3),
                serialization_format="cloudpickle",
                pip_requirements=[],
            )
        addresses.append(info.model_uri)
    return Trained(*addresses, pipeline.table(train=rows, holdout=rows.assign(target=target)))


@pytest.fixture(autouse=True)
def execution(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Measure a little only; nothing of it stays."""
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    monkeypatch.setattr(benchmark, "EFFORT", BenchmarkEffort(rounds=12, calls=5, seconds=60))


def champion_of(pipeline: Pipeline, address: str) -> str:
    """Register a model; return its version."""
    model, client = pipeline.experiment, pipeline.client
    model_id = address.removeprefix("models:/")
    run_id = client.get_logged_model(model_id).source_run_id
    client.create_registered_model(model)
    return str(client.create_model_version(model, address, run_id, model_id=model_id).version)


def told(record: DecisionRecord) -> dict[str, str]:
    """Return how each budget came out."""
    assert record.evidence is not None
    return {one.guard: one.result for one in record.evidence.findings if one.level != "warn"}


@pytest.mark.usefixtures("gate_in_this_process")
def test_a_better_model_that_costs_too_much(
    pipeline: Pipeline,
    trained: Trained,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """It is larger, which holds, and slower, which rejects; both are kept and judged again."""
    night = pipeline.night("2026-01-01", GATE)
    ours = Validation(trained.large, pipeline.validated("", pipeline.predicted(2.0)).run_id)
    version = champion_of(pipeline, trained.small)
    theirs = Validation(version, pipeline.validated("", pipeline.predicted(3.0, 1)).run_id)
    said: list[str] = []
    record = pipeline.decisions().judge(
        night, DecisionInputs(ours, theirs, trained.rows), said.append
    )
    assert record.verdict is Verdict.REJECT, (record.decision, said)
    assert told(record) == {"size": "failed", "latency_p95": "failed"}
    assert "latency_p95: " in record.decision.why
    assert record.measurement is not None
    assert record.measurement.champion is not None
    assert record.measurement.challenger.size > 10 * record.measurement.champion.size > 0
    assert record.measurement.challenger.batch_rows == 200
    metrics = pipeline.client.get_run(night.run_id).data.metrics
    assert metrics["challenger_size"] == record.measurement.challenger.size
    assert metrics["challenger_latency_p95"] > metrics["champion_latency_p95"] > 0
    page = pipeline.client.download_artifacts(night.run_id, DECISION_PAGE)
    assert "times the champion" in Path(page).read_text(encoding="utf-8")
    # The machine and the minute of that night are gone: nothing is measured again.
    monkeypatch.setattr(BenchmarkRunner, "measure", lambda *_: pytest.fail("it was measured again"))
    assert main(["replay", night.run_id]) == 0
    lenient = Gate(RMSE, budgets=Budgets(size=Limit("200MB"), latency_p95=Limit("10s")))
    (tmp_path / "lenient.json").write_text(json.dumps(lenient.to_dict()))
    assert main(["replay", night.run_id, "--rules", str(tmp_path / "lenient.json")]) == 0
    assert "Verdict then: REJECT\nVerdict: PROMOTE" in capsys.readouterr().out


@pytest.mark.usefixtures("gate_in_this_process")
def test_two_runs_on_a_command_line(
    pipeline: Pipeline, trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The runs of two validations say which models these are; the small one costs less."""
    (tmp_path / "rules.json").write_text(json.dumps(GATE.to_dict()))
    runs = []
    for address, predictions in (
        (trained.small, pipeline.predicted(2.0)),
        (trained.large, pipeline.predicted(3.0, 1)),
    ):
        runs.append(pipeline.validated("", predictions).run_id)
        pipeline.client.log_param(runs[-1], "model_uri", address)
    given = ["gate", "--rules", str(tmp_path / "rules.json"), "--out", str(tmp_path / "out.json")]
    code = main([*given, "--challenger", runs[0], "--champion", runs[1]])
    assert code == 0, capsys.readouterr()
    stored = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
    found = {one["guard"]: one["result"] for one in stored["evidence"]["findings"]}
    assert (found["size"], found["latency_p95"]) == ("passed", "passed")
    assert main(["replay", str(tmp_path / "out.json")]) == 0


@pytest.mark.usefixtures("gate_in_this_process")
def test_models_that_cannot_be_measured(pipeline: Pipeline, trained: Trained) -> None:
    """Each says why, and does what the rules say of that; no night fails of it."""
    night = pipeline.night("2026-01-01", GATE)
    ours = Validation(trained.small, pipeline.validated("", pipeline.predicted(2.0)).run_id)
    lost = Validation("models:/m-" + "0" * 32, ours.run_id)
    theirs = Validation("7", pipeline.validated("", pipeline.predicted(3.0, 1)).run_id)
    for challenger, name in ((ours, "7"), (lost, lost.model)):
        record = pipeline.decisions().judge(night, DecisionInputs(challenger, theirs, trained.rows))
        assert record.verdict is Verdict.PROMOTE, record.decision.why
        said = f"size: not measured: {name}: "
        assert any(note.startswith(said) for note in record.decision.notes), record.decision.notes
    assert record.measurement is not None
    assert "is not known" in record.measurement.challenger.error


@pytest.mark.usefixtures("gate_in_this_process")
def test_a_task_that_is_killed_measures_no_further(pipeline: Pipeline, trained: Trained) -> None:
    """Within the seconds that Airflow gives it; there is no verdict."""
    night, decisions = pipeline.night("2026-01-01", GATE), pipeline.decisions()
    ours = Validation(trained.small, pipeline.validated("", pipeline.predicted(2.0)).run_id)
    stopped: list[float] = []

    def stop() -> None:
        stopped.append(time.monotonic())
        decisions.stop()

    def note(line: str) -> None:
        if line.startswith("Measuring"):
            threading.Timer(0.5, stop).start()

    with pytest.raises(StepStoppedError):
        decisions.judge(night, DecisionInputs(ours, None, trained.rows), note)
    assert time.monotonic() - stopped[0] < 5
    assert Tag.VERDICT not in pipeline.tags(night)
