"""Runs, registry and records on a real MLflow server, with answers that get lost on the way."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager

import pytest
from mlflow.entities import Dataset, DatasetInput
from mlflow.tracking import MlflowClient

from understudy.contract import Tag
from understudy.errors import RegistryError, TrackingUnavailableError
from understudy.registry.versions import Registry, TrainedModel
from understudy.store.night import NightBook
from understudy.store.tracking import RunSpec, RunStore, log_inputs

pytestmark = pytest.mark.integration
Losing = Callable[[str, str], AbstractContextManager[str]]


@pytest.fixture
def client(mlflow_uri: str) -> MlflowClient:
    """Return a client of the real server."""
    return MlflowClient(mlflow_uri)


@pytest.fixture
def runs(client: MlflowClient) -> RunStore:
    """Return the store under test."""
    return RunStore(client)


@pytest.fixture
def experiment(runs: RunStore) -> str:
    """Return an experiment of the test's own."""
    return runs.experiment(f"test {uuid.uuid4().hex}")


def model_of(client: MlflowClient, experiment: str) -> TrainedModel:
    """Return a model that a real run logged as plain artifacts."""
    run_id = client.create_run(experiment).info.run_id
    client.log_text(run_id, "flavors: {}\n", "model/MLmodel")
    return Registry(client).trained(run_id)


def test_the_same_key_is_the_same_run(runs: RunStore, experiment: str) -> None:
    """A second call finds the run of the first and sets it RUNNING again."""
    spec = RunSpec(experiment, "key", "name", {"a": "b"})
    first = runs.ensure(spec)
    runs.end(first, "FAILED", "x" * 10_000)
    assert runs.ensure(spec) == first
    run = runs.get(first)
    assert run.info.status == "RUNNING"
    assert run.data.tags["a"] == "b"
    assert len(run.data.tags[Tag.ERROR]) == 5000


def test_a_lost_answer_leaves_one_run(
    losing_first_answer: Losing,
    mlflow_uri: str,
    runs: RunStore,
    experiment: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """MLflow's client repeats the POST whose answer was lost; the twin it made is removed."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_BACKOFF_JITTER", "0")
    with losing_first_answer(mlflow_uri, "runs/create") as address:
        made = RunStore(MlflowClient(address)).ensure(RunSpec(experiment, "k", "n"))
    (only,) = runs.tagged(experiment, Tag.KEY, "k")
    assert only.info.run_id == made


def test_racing_creators_agree_on_one_run(mlflow_uri: str, runs: RunStore, experiment: str) -> None:
    """Two tries of one task that overlap end with one run."""
    spec = RunSpec(experiment, "raced", "n")
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda _: RunStore(MlflowClient(mlflow_uri)).ensure(spec), range(6)))
    assert len(runs.tagged(experiment, Tag.KEY, "raced")) == 1


def test_abandoned_runs_are_ended_and_the_living_one_is_not(
    runs: RunStore, experiment: str
) -> None:
    """What a dead worker left RUNNING becomes KILLED with a reason."""
    made = [
        runs.ensure(RunSpec(experiment, key, key, {Tag.PIPELINE: "wine"}))
        for key in ("a", "b", "c")
    ]
    runs.end(made[0], "FINISHED")
    assert runs.end_abandoned(experiment, Tag.PIPELINE, "wine", keep=made[2]) == [made[1]]
    states = [runs.get(run_id).info.status for run_id in made]
    assert states == ["FINISHED", "KILLED", "RUNNING"]


@pytest.mark.parametrize("sweeping", [False, True])
def test_what_a_dead_one_had_begun_itself_is_ended_with_it(
    client: MlflowClient, runs: RunStore, experiment: str, *, sweeping: bool
) -> None:
    """However deep, also below a run that has ended; that of a person beside it is not touched."""
    dag_run = {Tag.DAG_RUN_ID.value: "night", Tag.PIPELINE.value: "wine"}
    dead = runs.ensure(RunSpec(experiment, "dead", "dead", dag_run))
    ended = runs.ensure(RunSpec(experiment, "ended", "ended", parent_run_id=dead))
    runs.end(ended, "FINISHED")
    deep = runs.ensure(RunSpec(experiment, "deep", "deep", parent_run_id=ended))
    gone = client.create_run(experiment).info.run_id
    beside = runs.ensure(RunSpec(experiment, "beside", "beside", parent_run_id=gone))
    if sweeping:
        swept = NightBook(client, runs).sweep(experiment, "wine", lambda name: name == "night")
    else:
        swept = runs.end_abandoned(experiment, Tag.PIPELINE, "wine")
    assert swept == [dead]
    states = [runs.get(run_id).info.status for run_id in (dead, deep, beside)]
    assert states == ["KILLED", "KILLED", "RUNNING"]


def test_a_server_that_is_away_is_named_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says what to check, and that a retry may help."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    with pytest.raises(TrackingUnavailableError, match="Next: check the server") as caught:
        RunStore(MlflowClient("http://127.0.0.1:9")).experiment("x")
    assert caught.value.can_retry


def test_a_deleted_experiment_is_restored(client: MlflowClient, runs: RunStore) -> None:
    """Somebody deleted it in MLflow's UI; the next night goes on."""
    name = f"deleted {uuid.uuid4().hex}"
    first = runs.experiment(name)
    client.delete_experiment(first)
    assert runs.experiment(name) == first


def test_no_champion_is_told_from_an_outage(
    client: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model or alias that is missing means None; a server that is away never does."""
    registry = Registry(client)
    name = f"model {uuid.uuid4().hex}"
    assert registry.champion(name) is None
    client.create_registered_model(name)
    assert registry.champion(name) is None
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    with pytest.raises(TrackingUnavailableError):
        Registry(MlflowClient("http://127.0.0.1:9")).champion(name)


def test_registering_again_makes_no_second_version(
    losing_first_answer: Losing, mlflow_uri: str, client: MlflowClient, experiment: str
) -> None:
    """Neither a repeated call nor a lost answer changes which version it is."""
    name, trained = f"model {uuid.uuid4().hex}", model_of(client, experiment)
    with losing_first_answer(mlflow_uri, "model-versions/create") as address:
        first = Registry(MlflowClient(address)).register(name, trained, "key")
    assert Registry(client).register(name, trained, "key") == first


def test_a_training_run_without_a_model_is_refused(client: MlflowClient, experiment: str) -> None:
    """The message says what the run must log."""
    run_id = client.create_run(experiment).info.run_id
    with pytest.raises(RegistryError, match=r"logged no model.*name='model'"):
        Registry(client).trained(run_id)


def test_a_model_belongs_to_one_pipeline(client: MlflowClient) -> None:
    """A second pipeline of that model is refused, before and while it registers."""
    registry, name = Registry(client), f"model {uuid.uuid4().hex}"
    registry.refuse_foreign(name, "wine")
    for _ in range(2):
        registry.claim(name, "wine")
    registry.refuse_foreign(name, "wine")
    with pytest.raises(RegistryError, match=r"belongs to the pipeline wine.*give .* a model="):
        registry.refuse_foreign(name, "beer")
    with pytest.raises(RegistryError, match="belongs to the pipeline wine"):
        registry.claim(name, "beer")


def test_runs_that_log_one_data_set_at_once_all_have_it(
    client: MlflowClient, experiment: str
) -> None:
    """As challenger and champion do; MLflow's server lets one win and refuses the others."""
    runs = [client.create_run(experiment).info.run_id for _ in range(8)]
    for number in range(6):
        data = [DatasetInput(Dataset("rows", f"digest {number}", "local", "{}"))]
        with ThreadPoolExecutor(len(runs)) as pool:
            list(pool.map(lambda run, data=data: log_inputs(client, run, data, []), runs))
    logged = [client.get_run(run).inputs.dataset_inputs for run in runs]
    assert [len(one) for one in logged] == [6] * len(runs)
