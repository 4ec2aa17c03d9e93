"""Interleavings on a real MLflow server; the one in memory answers as it does."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from mlflow.entities import RunTag, ViewType
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient
from tests.fixtures.interleaving import (
    SET,
    Actor,
    Chooser,
    World,
    by_lot,
    faults,
    made_time,
    scripted,
)
from tests.fixtures.memory_mlflow import MemoryClient, MemoryServer

if TYPE_CHECKING:
    from tests.fixtures.model_registry import RegisteredModel

pytestmark = pytest.mark.integration


class Transcript:
    """What a server answers to the calls of the registry, as far as the registry looks at it."""

    def __init__(self, client: Any) -> None:  # noqa: ANN401 -- a client, or what stands in for one
        self.client, self.lines = client, list[tuple[str, object]]()
        self.name = uuid.uuid4().hex
        self.experiment = str(client.create_experiment(self.name))
        self.run = str(client.create_run(self.experiment, tags={"a": "1"}).info.run_id)

    def ask(self, call: str, *words: object, **more: object) -> None:
        """Make a call; note what came of it."""
        try:
            answer = getattr(self.client, call)(*words, **more)
        except MlflowException as error:
            self.lines.append((call, error.error_code))
        else:
            self.lines.append((call, _plain(call, answer)))

    def registry(self) -> None:
        """Ask all that is about models."""
        name = self.name
        for _ in range(2):
            self.ask("create_registered_model", name)
            self.ask("create_model_version", name, f"runs:/{self.run}/model", self.run)
        for alias, version in (("champion", "1"), ("champion", "2"), ("previous", "1")):
            self.ask(SET, name, alias, version)
            self.ask("get_registered_model", name)
        self.ask(SET, name, "champion", "9")
        self.ask(SET, f"{name} no", "champion", "1")
        self.ask("set_registered_model_tag", name, "t", "v")
        self.ask("set_registered_model_tag", f"{name} no", "t", "v")
        self.ask("set_model_version_tag", name, "1", "t", "v")
        self.ask("set_model_version_tag", name, "9", "t", "v")
        for _ in range(2):
            self.ask("delete_registered_model_alias", name, "previous")
        self.ask("delete_registered_model_alias", f"{name} no", "previous")
        self.ask("get_model_version", name, "1")
        self.ask("get_model_version", name, "9")
        for _ in range(2):
            self.ask("delete_model_version", name, "2")
            self.ask("get_registered_model", name)
        self.ask("create_model_version", name, f"runs:/{self.run}/model", self.run)
        self.ask("delete_registered_model_tag", name, "t")
        self.ask("get_registered_model", name)
        self.ask("get_registered_model", f"{name} no")

    def runs(self) -> None:
        """Ask all that is about runs."""
        run = self.run
        for value in ("one", "one", "two"):
            self.ask("log_param", run, "00000001", value)
        self.ask("log_batch", run, tags=[RunTag("b", "2")])
        self.ask("update_run", run, status="FINISHED")
        self.ask("log_param", run, "00000002", "also of a run that has ended")
        self.ask("get_run", run)
        for wanted in ("1", "2"):
            for view in (ViewType.ACTIVE_ONLY, ViewType.ALL):
                condition = f"tags.`a` = '{wanted}' and tags.`b` = '2'"
                self.ask("search_runs", [self.experiment], condition, run_view_type=view)
        self.ask("delete_run", run)
        for view in (ViewType.ACTIVE_ONLY, ViewType.ALL):
            self.ask("search_runs", [self.experiment], "tags.`a` = '1'", run_view_type=view)
        self.ask("log_param", run, "00000003", "of a deleted run")
        self.ask("log_param", run, "00000001", "one")
        self.ask("get_run", run)
        self.ask("restore_run", run)
        self.ask("log_param", run, "00000003", "of one that came back")
        self.ask("get_run", run)
        self.ask("get_run", "0" * 32)
        self.ask("log_param", "0" * 32, "00000001", "one")
        self.ask("create_experiment", self.name)
        self.ask("get_experiment_by_name", f"{self.name} no")


def _plain(call: str, answer: Any) -> object:  # noqa: ANN401 -- any answer
    """Return what both servers must agree on: no ids and times, which each makes itself."""
    if call == "search_runs":
        return [_plain("get_run", run) for run in answer]
    if call == "get_run":
        tags = {name: value for name, value in answer.data.tags.items() if "mlflow." not in name}
        return (tags, dict(answer.data.params), answer.info.lifecycle_stage, answer.info.status)
    if call == "get_registered_model":
        aliases = {name: str(version) for name, version in answer.aliases.items()}
        return (aliases, dict(answer.tags))
    if call in {"get_model_version", "create_model_version"}:
        return (str(answer.version), dict(answer.tags))
    return None


def test_the_same_calls_have_the_same_answers(mlflow_uri: str) -> None:
    """All that the registry calls: what it answers, what it refuses, and by which code."""
    real, memory = Transcript(MlflowClient(mlflow_uri)), Transcript(memory_client())
    for one in (real, memory):
        one.registry()
        one.runs()
    assert len(real.lines) > 50
    for theirs, ours in zip(real.lines, memory.lines, strict=True):
        assert theirs == ours


def memory_client() -> MemoryClient:
    """Return a client of a new server in memory."""
    return MemoryClient(MemoryServer(lambda: uuid.uuid4().hex))


@pytest.fixture
def on_server(
    registered_model: Callable[[int], RegisteredModel], monkeypatch: pytest.MonkeyPatch
) -> Callable[[Chooser], World]:
    """Return what makes a world on a real server."""
    made_time(monkeypatch)

    def world(choose: Chooser) -> World:
        model = registered_model(7)
        return World(choose, real=model.client, model=model.name)

    return world


def check(on_server: Callable[[Chooser], World], seed: int) -> None:
    """Check one order by lot."""
    world = by_lot(seed, on_server)
    world.run()
    assert not faults(world), (seed, world.trail)


def test_a_refused_move_crowns_nobody_on_a_server(on_server: Callable[[Chooser], World]) -> None:
    """One that stalls past the patience, and another that stalls, too, as in memory."""
    world = on_server(scripted(("ann", SET, 2), ("ben", SET, 2)))
    world.mover(Actor("ann"), "2")
    world.mover(Actor("ben"), "3")
    world.run()
    assert not faults(world), world.trail
    assert world.champion() == "2"
    assert sorted(world.told.values()) == ["no", "yes"]


def test_orders_by_lot_on_a_server(on_server: Callable[[Chooser], World]) -> None:
    """A few."""
    for seed in range(3):
        check(on_server, seed)


@pytest.mark.long("thirty orders, each of a hundred calls of a server")
@pytest.mark.parametrize("seed", range(3, 33))
def test_many_orders_by_lot_on_a_server(on_server: Callable[[Chooser], World], seed: int) -> None:
    """As in memory."""
    check(on_server, seed)
