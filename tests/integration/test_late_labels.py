"""Nights seen again on a real tracking store: real steps, real predictions, real records."""

from __future__ import annotations

import json
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest
from mlflow.tracking import MlflowClient
from tests.fixtures import ugly_table

from understudy.cli.main import main
from understudy.contract import MATURED_RECORD, PREDICTIONS_ARTIFACT, Kind, Outcome, Tag
from understudy.decide import benchmark
from understudy.decide.benchmark import BenchmarkEffort
from understudy.decide.decision import DecisionInputs, DecisionService, Validation
from understudy.decide.late_labels import LateLabels
from understudy.errors import (
    StepFailedError,
    StepStoppedError,
    TrackingUnavailableError,
    UnderstudyError,
)
from understudy.gate import (
    Budgets,
    Choice,
    DecisionRecord,
    Gate,
    Guards,
    LateLabelRecord,
    Learned,
    Limit,
    Metric,
    Verdict,
    learning,
)
from understudy.runner.runner import Settings, StepRequest, StepRunner
from understudy.runner.settings import CACHE_VARIABLE
from understudy.store.artifacts import seal
from understudy.store.night import Night, NightBook
from understudy.store.tracking import RunStore

if TYPE_CHECKING:
    from tests.fixtures.git import Repository

pytestmark = [
    pytest.mark.integration,
    pytest.mark.usefixtures("gate_in_this_process"),
    # MLflow's own SQLite store, opened in this process, uses what SQLAlchemy 2.1 deprecates.
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy"),
]

PROJECT = Path(__file__).parents[1] / "projects" / "drifting"
GAINS = Gate(Metric("rmse", min_gain=0.0, confidence=0.95))
DELAY = timedelta(days=7)
FIRST = datetime(2026, 1, 1, tzinfo=UTC)
ROWS = 24 * 21
TRUTH = np.random.default_rng(6).normal(0, 10, ROWS)
NOISE = np.random.default_rng(5).normal(0, 1, (3, ROWS))
HOURS = [(FIRST + timedelta(hours=hour)).replace(tzinfo=None) for hour in range(ROWS)]


def frame(model: int, before: float, later: float, since: int = 7) -> pd.DataFrame:
    """Return hourly predictions of three weeks, whose errors change on a day."""
    error = np.where(np.arange(ROWS) < 24 * since, before, later) * NOISE[model]
    columns = {"row_id": np.arange(ROWS), "time": HOURS, "target": TRUTH}
    return pd.DataFrame({**columns, "prediction": TRUTH + error})


@dataclass(frozen=True)
class Pipeline:
    """A pipeline on a real store, whose models are frames of predictions, by their address."""

    client: MlflowClient
    runs: RunStore
    experiment: str
    pinned_night: Callable[..., Night]
    frames: dict[str, pd.DataFrame | UnderstudyError] = field(default_factory=dict)
    replaced: dict[str, str] = field(default_factory=dict)

    def night(self, day: int, champion: str | None = "3") -> Night:
        """Open a night, so many days after the first row."""
        as_of = (FIRST + timedelta(days=day)).isoformat()
        tags = {Tag.PIPELINE.value: self.experiment, Tag.MODEL.value: self.experiment}
        tags[Tag.AS_OF.value] = as_of
        book = NightBook(self.client, self.runs)
        run_id = book.open(self.experiment, uuid.uuid4().hex, as_of, tags)
        pinned = {"champion": champion, "as_of": as_of, "gate": GAINS}
        return self.pinned_night(run_id, self.experiment, **pinned)

    def judged(self, day: int, ours: str = "models:/m-1", champion: str | None = "3") -> Night:
        """Judge a night on what was known that day."""
        night, shown = self.night(day, champion), slice(0, 24 * day)
        theirs = None
        if champion is not None:
            theirs = Validation(champion, self.validated(self.address(champion), shown))
        record = DecisionService(self.client, self.runs).judge(
            night, DecisionInputs(Validation(ours, self.validated(ours, shown)), theirs)
        )
        NightBook(self.client, self.runs).close(night, Outcome.HELD, record.decision.why, champion)
        return night

    def address(self, version: str) -> str:
        """Return a version's address."""
        return f"models:/{self.experiment}/{version}"

    def validated(self, address: str, rows: slice = slice(None)) -> str:
        """Log the predictions of a model, as a validation does; return the run."""
        predictions = self.frames[address]
        if isinstance(predictions, UnderstudyError):
            raise predictions
        run = self.client.create_run(self.experiment, tags={Tag.KIND.value: Kind.STEP.value})
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / PREDICTIONS_ARTIFACT
            predictions.iloc[rows].to_parquet(path, index=False)
            self.client.log_artifact(run.info.run_id, str(path))
        return str(run.info.run_id)

    def before(self, _model: str, version: str) -> str | None:
        """Return the version that a version replaced."""
        return self.replaced.get(version)

    def seen_on(self, day: int) -> list[LateLabelRecord]:
        """Complete what is due on a day; return what was seen."""
        labels = LateLabels(self.client, self.runs, self.night(day), DELAY, self.before)
        return [labels.complete(one, self.validated, print) for one in labels.due()]

    def record(self, night: Night) -> DecisionRecord:
        """Return a night's stored record, judged again from its own numbers."""
        record = DecisionService(self.client, self.runs).record(night)
        assert record is not None
        return record

    def tags(self, night: Night) -> dict[str, str]:
        """Return the tags of a night's run."""
        return dict(self.client.get_run(night.run_id).data.tags)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MlflowClient:
    """Return a client of a store of the test's own."""
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    return MlflowClient(uri)


@pytest.fixture
def pipeline(
    mlflow_uri: str, pinned_night: Callable[..., Night], monkeypatch: pytest.MonkeyPatch
) -> Pipeline:
    """Return a pipeline whose challenger is better until the night and worse after it."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_uri)
    client = MlflowClient(mlflow_uri)
    runs = RunStore(client)
    experiment = runs.experiment(f"matured {uuid.uuid4().hex}")
    made = Pipeline(client, runs, experiment, pinned_night)
    made.frames["models:/m-1"] = frame(0, 2.0, 4.0)
    made.frames[made.address("3")] = frame(1, 3.0, 3.0)
    made.frames[made.address("2")] = frame(2, 3.0, 2.0)
    return made


def test_a_promotion_that_luck_made_is_found_out(
    pipeline: Pipeline, capsys: pytest.CaptureFixture[str]
) -> None:
    """Seen once, on the rows of its week alone; the decision record stays what it was."""
    pipeline.replaced["3"] = "2"
    night = pipeline.judged(7)
    before = pipeline.client.download_artifacts(night.run_id, "decision/decision.json")
    assert pipeline.tags(night)[Tag.VERDICT] == "PROMOTE"
    assert not pipeline.seen_on(13)
    (record,) = pipeline.seen_on(14)
    assert record.choice is Choice.WRONG, record.summary()
    assert record.rows == 7 * 24
    assert record.check is not None
    assert record.check.challenger == pytest.approx(4.0, rel=0.15)
    assert record.cost == pytest.approx(1.0, abs=0.5)
    assert record.previous is not None
    assert record.previous.comparisons[0].challenger == pytest.approx(2.0, rel=0.15)
    assert record.previous.comparisons[0].gain == pytest.approx(1.0, abs=0.5)
    tags, metrics = pipeline.tags(night), pipeline.client.get_run(night.run_id).data.metrics
    assert tags[Tag.MATURED] == "wrong"
    assert metrics["matured_gain_rmse"] == -record.cost
    assert metrics["matured_previous_rmse"] < metrics["matured_champion_rmse"]
    stored = pipeline.client.download_artifacts(night.run_id, MATURED_RECORD)
    assert LateLabelRecord.of(Path(stored).read_text()).to_json() == record.to_json()
    again = pipeline.client.download_artifacts(night.run_id, "decision/decision.json")
    assert Path(before).read_text() == Path(again).read_text()
    assert not pipeline.seen_on(14)
    assert main(["matured", pipeline.experiment, "--since", "2026-01-08"]) == 0
    said = capsys.readouterr().out
    assert "2026-01-08  PROMOTE  wrong   rmse" in said
    assert "1 nights: 0 right, 1 wrong, 0 undecided" in said
    assert main(["matured", pipeline.experiment, "--json"]) == 0
    (shown,) = map(json.loads, capsys.readouterr().out.splitlines())
    assert shown["about"]["verdict"] == "PROMOTE"
    assert main(["matured", pipeline.experiment, "--since", "2026-01-09"]) == 1


@pytest.mark.parametrize(
    ("later", "verdict", "choice"),
    [(2.0, "PROMOTE", "right"), (3.0, "PROMOTE", "undecided")],
)
def test_a_promotion_that_was_right_and_one_that_nobody_can_tell(
    pipeline: Pipeline, later: float, verdict: str, choice: str
) -> None:
    """By the night's own rules and confidence."""
    pipeline.frames["models:/m-1"] = frame(0, 2.0, later)
    night = pipeline.judged(7)
    (record,) = pipeline.seen_on(14)
    assert (record.about.verdict, record.choice) == (Verdict(verdict), Choice(choice))
    assert pipeline.tags(night)[Tag.MATURED] == choice


def test_a_rejected_challenger_that_would_have_served_better(pipeline: Pipeline) -> None:
    """What the gate turned down is scored as well."""
    pipeline.frames["models:/m-1"] = frame(0, 6.0, 2.0)
    night = pipeline.judged(7)
    assert pipeline.tags(night)[Tag.VERDICT] == "REJECT"
    (record,) = pipeline.seen_on(14)
    assert record.choice is Choice.WRONG
    assert record.cost == pytest.approx(1.0, abs=0.5)


def test_a_first_model_is_seen_by_its_absolute_rules(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There was no other model to serve."""
    monkeypatch.setattr(
        sys.modules[__name__], "GAINS", Gate(Metric("rmse", min_gain=0.0, at_most=3.5))
    )
    pipeline.judged(7, champion=None)
    (record,) = pipeline.seen_on(14)
    assert (record.choice, record.cost) == (Choice.WRONG, None)


def failed(exit_code: int) -> StepFailedError:
    """Return the error of a validation that ended with a code."""
    return StepFailedError("it cannot be loaded", allowed="a", action="b", exit_code=exit_code)


def test_a_challenger_that_is_gone_is_told_and_recorded(
    pipeline: Pipeline, capsys: pytest.CaptureFixture[str]
) -> None:
    """Once: it will not come back. Neither will a champion, whose night stays undecided."""
    nights = [pipeline.judged(7), pipeline.judged(8)]
    pipeline.frames["models:/m-1"] = failed(65)
    first, second = pipeline.seen_on(15)
    assert {first.choice, second.choice} == {Choice.UNDECIDED}
    assert "the challenger models:/m-1: it cannot be loaded" in first.reason
    assert [pipeline.tags(one)[Tag.MATURED] for one in nights] == ["undecided"] * 2
    assert not pipeline.seen_on(15)
    pipeline.frames["models:/m-1"] = frame(0, 2.0, 4.0)
    pipeline.judged(9)
    pipeline.frames[pipeline.address("3")] = failed(1)
    (third,) = pipeline.seen_on(16)
    assert third.choice is Choice.UNDECIDED
    assert "the champion 3 could not be scored: it cannot be loaded" in third.reason
    assert main(["matured", pipeline.experiment]) == 0
    assert "3 nights: 0 right, 0 wrong, 3 undecided" in capsys.readouterr().out


def test_rows_that_did_not_come_and_rows_without_a_time(pipeline: Pipeline) -> None:
    """The reason names the span and what there is instead."""
    pipeline.judged(7)
    early = {name: rows.iloc[: 24 * 7] for name, rows in pipeline.frames.items()}  # type: ignore[union-attr]
    pipeline.frames.update(early)
    (record,) = pipeline.seen_on(14)
    assert (record.choice, record.rows) == (Choice.UNDECIDED, 0)
    assert "no row has a time after 2026-01-08T00:00:00+00:00" in record.reason
    assert "they are from 2026-01-01T00:00:00 to 2026-01-07T23:00:00" in record.reason
    pipeline.judged(6)
    for name, rows in pipeline.frames.items():
        pipeline.frames[name] = rows.drop(columns="time")  # type: ignore[union-attr]
    (record,) = pipeline.seen_on(13)
    assert record.choice is Choice.UNDECIDED
    assert "lack a column 'time'" in record.reason


def test_what_may_pass_is_not_recorded(pipeline: Pipeline) -> None:
    """A server that is away, a task that is stopped: another night sees it."""
    night = pipeline.judged(7)
    for error in (TrackingUnavailableError, StepStoppedError):
        pipeline.frames["models:/m-1"] = error("away", allowed="a", action="b")
        with pytest.raises(error):
            pipeline.seen_on(14)
        assert not pipeline.tags(night)[Tag.MATURED]


def test_records_and_runs_that_are_gone(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A night that was deleted is no night; one whose record was lost is undecided for good."""
    lost, deleted = pipeline.judged(7), pipeline.judged(7)
    pipeline.client.delete_run(deleted.run_id)
    monkeypatch.setattr("understudy.decide.late_labels.DECISION_RECORD", "decision/gone.json")
    (record,) = pipeline.seen_on(14)
    assert record.about.night == lost.run_id
    assert "The decision record of the night is gone" in record.reason
    assert record.about.verdict is Verdict.PROMOTE
    pipeline.client.log_text(lost.run_id, "{}", MATURED_RECORD)
    assert main(["matured", pipeline.experiment]) == 1
    assert f"{MATURED_RECORD} has changed since" in capsys.readouterr().err
    pipeline.client.delete_tag(lost.run_id, seal(MATURED_RECORD))
    assert main(["matured", pipeline.experiment]) == 1
    assert "left out: Found no such record" in capsys.readouterr().err


def test_a_night_that_is_judged_anew_is_seen_anew(pipeline: Pipeline) -> None:
    """What was seen belonged to the other verdict."""
    night = pipeline.judged(7)
    pipeline.seen_on(14)
    ours, theirs = (pipeline.validated(one) for one in ("models:/m-1", pipeline.address("3")))
    brought = DecisionInputs(Validation("models:/m-1", ours), Validation("3", theirs))
    DecisionService(pipeline.client, pipeline.runs).judge(night, brought)
    assert pipeline.tags(night)[Tag.MATURED] == ""
    assert len(pipeline.seen_on(14)) == 1


def test_a_later_night_learns_from_what_was_seen(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the night after the one that saw it; its record says so, and is replayed."""
    gate = Gate(Metric("rmse"), learn=Learned(most=0.2))
    monkeypatch.setattr(sys.modules[__name__], "GAINS", gate)
    monkeypatch.setattr(learning, "BURN_IN", 1)
    first = pipeline.judged(7)
    assert pipeline.tags(first)[Tag.LESSON] == ""
    pipeline.seen_on(14)
    unit, lesson = json.loads(pipeline.tags(first)[Tag.LESSON])
    assert (unit, lesson["least"]) == (["rmse", "", "error"], 0.0)
    assert lesson["gain"] == pytest.approx(-1.0, abs=0.5)
    # The night that saw it was judged before it saw it: so is whoever judges that night again.
    records = {day: pipeline.record(pipeline.judged(day)) for day in (14, 15)}
    told = {day: record.learned for day, record in records.items()}
    assert told[14] is not None
    assert told[15] is not None
    assert (told[14].chosen, told[14].lessons) == (0.03, ())
    assert [one.gain for one in told[15].lessons] == [lesson["gain"]]
    assert told[15].chosen in {0.0, 0.03, 0.2}
    assert records[15].gate.primary.tolerance == told[15].chosen
    assert f"the tolerance {told[15].chosen:g} judges" in records[15].decision.notes[0]
    assert main(["replay", records[15].context["night"]]) == 0
    # Rules about another metric, or in another unit, have nothing to learn from it.
    absolute = Gate(Metric("rmse", tolerance=0.03), learn=Learned())
    monkeypatch.setattr(sys.modules[__name__], "GAINS", absolute)
    other = pipeline.record(pipeline.judged(16)).learned
    assert other is not None
    assert other.lessons == ()


@dataclass(frozen=True)
class Real:
    """A project run for real, step by step, on a store of its own."""

    client: MlflowClient
    runs: RunStore
    runner: StepRunner
    experiment: str
    project: Path = PROJECT

    def step(self, entry_point: str, **parameters: str) -> str:
        """Run a step; return its MLflow run."""
        request = StepRequest(
            project=str(self.project),
            version="",
            entry_point=entry_point,
            parameters=parameters,
            experiment_id=self.experiment,
            key=uuid.uuid4().hex,
            name=entry_point,
            env_manager="local",
        )
        return self.runner.run(request, print).run_id

    def data(self, as_of: str, **parameters: str) -> str:
        """Return the address of the rows that there are as of a date."""
        raw = self.step("download", as_of=as_of, **parameters)
        return f"runs:/{self.step('preprocess', raw=f'runs:/{raw}/raw')}/data"

    def scored(self, data: str) -> Callable[[str], str]:
        """Return what scores a model on rows."""
        return lambda model_uri: self.step("validate", data=data, model_uri=model_uri)


@pytest.fixture
def real(store: MlflowClient, tmp_path: Path) -> Iterator[Real]:
    """Return the project on a store in files."""
    import mlflow

    # MLflow's registry in files asks the process's own store for a model, whatever the client's is.
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(store.tracking_uri)
    settings = Settings(cache=tmp_path / "cache", scratch=tmp_path / "scratch")
    runs = RunStore(store)
    place = (tmp_path / "artifacts").as_uri()
    experiment = str(store.create_experiment("drifting", artifact_location=place))
    yield Real(store, runs, StepRunner(runs, store, settings), experiment)
    mlflow.set_tracking_uri(before)


def test_real_steps_score_the_models_of_a_past_night(
    real: Real, pinned_night: Callable[..., Night]
) -> None:
    """The gate held a newer model back; the level went on drifting, so it would have been right."""
    gate = Gate(Metric("rmse", min_gain=2.0, confidence=0.6))
    real.client.create_registered_model("drifting")
    early = real.data("2012-01-12")
    for bad_night in ("2012-01-08", ""):
        trained = real.step("train", data=early, bad_night=bad_night)
        real.client.create_model_version("drifting", f"runs:/{trained}/model", trained)
    data = real.data("2012-01-20")
    challenger = f"runs:/{real.step('train', data=data)}/model"
    score = real.scored(data)
    book = NightBook(real.client, real.runs)
    tags = {Tag.PIPELINE.value: "drifting", Tag.MODEL.value: "drifting"}
    named = {"name": "drifting", "model": "drifting", "champion": "2"}
    night = pinned_night("", real.experiment, gate=gate, **named)
    opened = [
        replace(night, as_of=as_of, run_id=book.open(
            real.experiment, as_of, as_of, {**tags, Tag.AS_OF.value: as_of}
        ))
        for as_of in ("2012-01-20T00:00:00+00:00", "2012-01-23T00:00:00+00:00")
    ]  # fmt: skip
    brought = DecisionInputs(
        Validation(challenger, score(challenger)), Validation("2", score("models:/drifting/2"))
    )
    record = DecisionService(real.client, real.runs).judge(opened[0], brought)
    assert record.verdict is Verdict.PROMOTE, record.decision.why
    later = real.scored(real.data("2012-01-23"))
    labels = LateLabels(
        real.client, real.runs, opened[1], timedelta(days=3), lambda _model, _version: "1"
    )
    (due,) = labels.due()
    seen = labels.complete(due, later, print)
    assert seen.choice is Choice.RIGHT, seen.summary()
    assert seen.rows == 3 * 24 - 1
    assert seen.previous is not None
    assert not seen.previous.reason
    assert (seen.previous.comparisons[0].gain or 0) < 0
    stored = real.client.download_artifacts(opened[0].run_id, MATURED_RECORD)
    assert json.loads(Path(stored).read_text())["hindsight"]["verdict"] == "PROMOTE"


@pytest.mark.long("eleven real steps, and two models measured")
@pytest.mark.timeout(1800)
def test_a_night_of_rows_with_gaps_is_measured_and_seen_again(
    real: Real,
    pinned_night: Callable[..., Night],
    repository: Repository,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its budgets are judged on rows of which every column has some missing, and so is the past."""
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    monkeypatch.setattr(benchmark, "EFFORT", BenchmarkEffort(rounds=6, calls=3))
    real = replace(real, project=PROJECT.parents[2] / "mlproject" / "tabular")

    def rows(day: int) -> str:
        source = tmp_path / f"{day}.csv"
        source.write_bytes(ugly_table.csv(day))
        columns = {"target": ugly_table.PRICE, "time_column": ugly_table.TIME}
        given = {**columns, "identity": ugly_table.IDENTITY, "source": str(source)}
        return real.data(ugly_table.as_of(day), dataset="csv", separator=";", **given)

    early = rows(45)
    commit = repository.commit(MLproject="name: x\nentry_points: {main: {command: 'true'}}")
    tags = {Tag.REPOSITORY.value: repository.url, Tag.COMMIT.value: commit}
    trained = [real.step("train", data=early, model="decision_tree", max_depth=n) for n in "14"]
    for run in trained:
        for name, value in {**tags, "mlflow.project.env": "local"}.items():
            real.client.set_tag(run, name, value)
    outputs = [real.client.get_run(run).outputs.model_outputs for run in trained]
    addresses = [f"models:/{models[0].model_id}" for models in outputs]
    real.client.create_registered_model("prices")
    real.client.create_model_version(
        "prices", addresses[0], trained[0], model_id=outputs[0][0].model_id
    )
    budgets = Budgets(
        size=Limit("200MB"),
        memory=Limit("16GB", growth=9.0),
        latency_p95=Limit("60s", growth=99.0),
    )
    gate = Gate(Metric("rmse", min_gain=0.0), budgets=budgets, guards=Guards())
    named = {"name": "prices", "model": "prices", "champion": "1"}
    night, book = (
        pinned_night("", real.experiment, gate=gate, **named),
        NightBook(real.client, real.runs),
    )
    opened = []
    for day in (45, 50):
        as_of = f"{ugly_table.as_of(day)}T00:00:00+00:00"
        about = {Tag.PIPELINE.value: "prices", Tag.MODEL.value: "prices", Tag.AS_OF.value: as_of}
        run_id = book.open(real.experiment, as_of, as_of, about)
        opened.append(replace(night, as_of=as_of, run_id=run_id))
    score = real.scored(early)
    brought = DecisionInputs(
        Validation(addresses[1], score(addresses[1])),
        Validation("1", score("models:/prices/1")),
        early,
    )
    record = DecisionService(real.client, real.runs).judge(opened[0], brought)
    assert record.verdict is Verdict.PROMOTE, record.decision.why
    assert record.evidence is not None
    found = {one.guard: one.result for one in record.evidence.findings}
    assert {found[name] for name in ("size", "memory", "latency_p95")} == {"passed"}, found
    assert record.measurement is not None
    assert record.measurement.champion is not None
    assert record.measurement.champion.batch_rows == record.measurement.challenger.batch_rows > 100
    labels = LateLabels(real.client, real.runs, opened[1], timedelta(days=5), lambda *_: None)
    (due,) = labels.due()
    seen = labels.complete(due, real.scored(rows(50)), print)
    assert seen.choice is Choice.RIGHT, seen.summary()
    assert seen.rows > 20
