"""What two real models cost: a real store, real environments' Pythons, real processes."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

from understudy.contract import Tag
from understudy.decide.benchmark import BenchmarkEffort, BenchmarkRunner
from understudy.decide.candidates import Candidate, candidate, training_run
from understudy.errors import RegistryError, StepStoppedError
from understudy.gate.budgets import findings
from understudy.runner.settings import Settings
from understudy.spec.guards import Budgets, Limit

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient
    from tests.fixtures.git import Repository

pytestmark = [
    pytest.mark.integration,
    # MLflow and its stores about themselves, in this process.
    pytest.mark.filterwarnings("default"),
]

EFFORT = BenchmarkEffort(rounds=8, calls=5, seconds=60)


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> MlflowClient:
    """Return a client of a real store; served by SQLite, as one machine has it."""
    from understudy.store import tracking

    folder = tmp_path_factory.mktemp("mlflow")
    made = tracking.client(f"sqlite:///{folder}/mlflow.db")
    made.create_experiment("models", artifact_location=f"file://{folder}/artifacts")
    return made


@pytest.fixture(scope="module")
def rows() -> pd.DataFrame:
    """Return rows with more columns than the models take."""
    draw = np.random.default_rng(0)
    frame = pd.DataFrame(draw.normal(size=(300, 4)), columns=list("abcd"))
    return frame.assign(e=range(300), y=frame.sum(axis=1))


@pytest.fixture(scope="module")
def models(client: MlflowClient, rows: pd.DataFrame) -> dict[str, str]:
    """Log a quick small model and a slow large one, with an input example; return their addresses.

    Both take the whole numbers of ``e`` as floats.
    """
    import mlflow
    from sklearn.ensemble import RandomForestRegressor
    from sklearn.linear_model import Ridge

    mlflow.set_tracking_uri(client.tracking_uri)
    known = {"small": Ridge(), "large": RandomForestRegressor(100, n_jobs=1, random_state=0)}
    features, addresses = rows[list("abcde")].astype("float64"), {}
    experiment = client.get_experiment_by_name("models").experiment_id
    for name, model in known.items():
        with mlflow.start_run(experiment_id=experiment):
            info = mlflow.sklearn.log_model(
                model.fit(features, rows["y"]),
                name="model",
                input_example=features.head(3),
                serialization_format="cloudpickle",
                pip_requirements=[],
            )
        addresses[name] = info.model_uri
    return addresses


@pytest.fixture
def runner(client: MlflowClient, tmp_path: Path) -> Iterator[BenchmarkRunner]:
    """Return a stopwatch whose local Python is this one; nothing of it stays."""
    settings = Settings(tmp_path / "cache", tmp_path / "scratch", grace=1.0)
    yield BenchmarkRunner(client.tracking_uri, settings, EFFORT)
    assert list((tmp_path / "scratch").iterdir()) == []


@pytest.fixture
def made(repository: Repository, models: dict[str, str]) -> Any:  # noqa: ANN401 -- a function
    """Return a function that makes a candidate of a model's name."""
    repository.commit(MLproject="name: x\nentry_points: {main: {command: 'true'}}")
    here = Candidate("", "", str(repository.folder), "", env_manager="local")
    return lambda name: replace(here, name=name, uri=models[name])


def test_two_models(
    runner: BenchmarkRunner,
    made: Any,  # noqa: ANN401 -- a function
    rows: pd.DataFrame,
    tmp_path: Path,
) -> None:
    """The forest is larger and slower than the line, certainly; the other way round it is fine."""
    rows.to_parquet(tmp_path / "holdout.parquet")
    said: list[str] = []
    measured = runner.measure(
        made("large"), made("small"), [tmp_path / "holdout.parquet"], said.append
    )
    large, small = measured.challenger, measured.champion
    assert small is not None
    assert (large.error, small.error) == ("", ""), said
    assert large.size > 10 * small.size > 0
    assert large.memory > large.loading > 0
    assert (len(large.batch), large.batch_rows, len(large.single[0])) == (8, 300, 5)
    budgets = Budgets(latency_p50=Limit(growth=0.5), latency_p95=Limit("1h"))
    found = {one.guard: one for one in findings(budgets, measured)}
    assert (found["size"].result, found["latency_p50"].result) == ("failed", "failed")
    assert found["latency_p95"].result == "passed"
    turned = replace(measured, challenger=small, champion=large)
    again = {one.guard: one.result for one in findings(budgets, turned)}
    assert (again["size"], again["latency_p50"]) == ("passed", "passed")


def test_a_model_that_says_nothing_is_not_asked_the_target(
    runner: BenchmarkRunner,
    made: Any,  # noqa: ANN401 -- a function
    rows: pd.DataFrame,
    tmp_path: Path,
) -> None:
    """A foreign model without a signature, which refuses what it was not trained on."""
    import mlflow.pyfunc

    class Refusing(mlflow.pyfunc.PythonModel):  # type: ignore[misc]
        def predict(self, context: object, model_input: pd.DataFrame) -> list[float]:  # noqa: ARG002
            if list(model_input) != list("abcde"):
                raise ValueError(f"asked {list(model_input)}")
            return [0.0] * len(model_input)

    mlflow.pyfunc.save_model(tmp_path / "model", python_model=Refusing(), pip_requirements=[])
    holdout, said = tmp_path / "holdout.parquet", tmp_path / "predictions.parquet"
    named = rows.assign(row_id=rows.index.astype("str"))
    named.to_parquet(holdout)
    named[["row_id"]].assign(target=rows["y"], prediction=0.0).to_parquet(said)
    model = replace(made("small"), uri=str(tmp_path / "model"))
    costs = runner.measure(model, None, [holdout, said], lambda _line: None).challenger
    assert (costs.error, costs.batch_rows) == ("", 300)


def test_the_example_when_there_are_no_rows(runner: BenchmarkRunner, made: Any) -> None:  # noqa: ANN401
    """The challenger's own is predicted; a champion that does not load says so, and nothing else.

    Its address is one of a model that was deleted.
    """
    gone = replace(made("small"), name="7", uri="models:/m-0123456789abcdef0123456789abcdef")
    measured = runner.measure(made("small"), gone, (), lambda _line: None)
    assert measured.champion is not None
    assert "m-0123456789abcdef" in measured.champion.error
    assert (measured.challenger.error, measured.challenger.batch_rows) == ("", 3)
    assert {one.result for one in findings(Budgets(), measured)} == {"undecided"}


def test_an_environment_that_cannot_be_had(
    runner: BenchmarkRunner,
    made: Any,  # noqa: ANN401
    tmp_path: Path,
) -> None:
    """The commit is gone: that model is not measured, and says why."""
    lost = replace(made("small"), project=f"file://{tmp_path}/nowhere.git", version="f" * 40)
    measured = runner.measure(lost, None, (), lambda _line: None)
    assert measured.challenger.error.startswith("its environment cannot be had: ")


def test_stopped(runner: BenchmarkRunner, made: Any) -> None:  # noqa: ANN401
    """A killed task ends the models' processes too, whatever they are doing."""
    timer = threading.Timer(1.0, runner.stop)
    timer.start()
    with pytest.raises(StepStoppedError):
        runner.measure(made("small"), made("large"), (), lambda _line: None)
    timer.join()


def test_candidates_of_runs(client: MlflowClient) -> None:
    """A model's project is that of the step around the run that logged it."""
    experiment = client.get_experiment_by_name("models").experiment_id
    step = {Tag.KIND: "step", Tag.REPOSITORY: "https://host/r.git", Tag.SUBDIRECTORY: "sub",
            Tag.COMMIT: "c" * 40, "mlflow.project.env": "conda"}  # fmt: skip
    outer = client.create_run(experiment, tags={str(k): v for k, v in step.items()}).info.run_id
    inner = client.create_run(experiment, tags={"mlflow.parentRunId": outer}).info.run_id
    found = candidate(client, "3", "models:/m/3", inner)
    assert (found.project, found.version) == ("https://host/r.git#sub", "c" * 40)
    assert (found.name, found.uri, found.env_manager) == ("3", "models:/m/3", "conda")
    stranger = client.create_run(experiment).info.run_id
    with pytest.raises(RegistryError, match="does not say of which commit"):
        candidate(client, "3", "models:/m/3", stranger)
    with pytest.raises(RegistryError, match="is gone"):
        candidate(client, "3", "models:/m/3", "0" * 32)


def test_who_logged_a_model(client: MlflowClient, models: dict[str, str]) -> None:
    """Whatever its address; what is no address, or of nothing, says so."""
    address = models["small"]
    model_id = address.removeprefix("models:/")
    run_id = client.get_logged_model(model_id).source_run_id
    client.create_registered_model("m")
    version = client.create_model_version("m", address, run_id, model_id=model_id).version
    client.set_registered_model_alias("m", "champion", version)
    for uri in (address, f"models:/m/{version}", "models:/m@champion", f"runs:/{run_id}/model"):
        assert training_run(client, uri) == run_id
    for uri in ("models:/m/99", "models:/m-0", "models:/m@nobody", "models:/m", "/model", ""):
        with pytest.raises(RegistryError, match="is not known"):
            training_run(client, uri)
