"""A repository that was not written for us, on a real MLflow server, without Airflow.

From a training to a gate on the numbers that it logged, and to the alias; each way in which people
log models is found, or refused with a sentence that helps.
"""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from understudy.contract import key_of
from understudy.decide.decision import DecisionInputs, DecisionService, Validation
from understudy.errors import RegistryError
from understudy.gate import Basis, DecisionRecord, Gate, Metric, Score, Verdict, replay
from understudy.registry.promoter import MoveRequest, Promoter
from understudy.registry.versions import Registry
from understudy.runner.runner import Settings, StepRequest, StepRunner
from understudy.spec.entry_points import Steps
from understudy.store import tracking
from understudy.store.night import Night
from understudy.store.tracking import RunStore

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient
    from tests.fixtures.git import Repository

pytestmark = pytest.mark.integration

HABITS = Path(__file__).parents[1] / "projects" / "habits"


class Shop:
    """Trains, judges and promotes as a pipeline without a validation does."""

    def __init__(
        self,
        client: MlflowClient,
        settings: Settings,
        url: str,
        pinned_night: Callable[..., Night],
    ) -> None:
        self.client, self.settings, self.url = client, settings, url
        self.pinned_night = pinned_night
        self.runs, self.registry = RunStore(client), Registry(client)
        self.decisions = DecisionService(client, self.runs)
        self.model = f"habits {uuid.uuid4().hex[:8]}"
        self.experiment_id = self.runs.experiment(self.model)
        self.lines: list[str] = []

    def train(self, entry_point: str, **parameters: Any) -> str:
        """Run an entry point with the tests' Python; return its MLflow run."""
        request = StepRequest(
            project=self.url,
            version="",
            entry_point=entry_point,
            parameters=parameters,
            experiment_id=self.experiment_id,
            key=uuid.uuid4().hex,
            name=entry_point,
            env_manager="local",
        )
        runner = StepRunner(self.runs, self.client, self.settings)
        return runner.run(request, self.lines.append).run_id

    def judge(self, trained_in: str, gate: Gate, champion: str | None) -> DecisionRecord:
        """Judge what a run trained against a version of the model."""
        trained = self.registry.trained(trained_in)
        theirs = None
        if champion is not None:
            run_id = self.registry.version(self.model, champion).run_id
            theirs = Validation(champion, str(run_id))
        brought = DecisionInputs(Validation(trained.uri, trained.run_id), theirs)
        return self.decisions.judge(self.night(gate, champion), brought)

    def promote(self, trained_in: str, record: DecisionRecord) -> str:
        """Obey a verdict; return the champion's version."""
        assert record.verdict is Verdict.PROMOTE
        trained = self.registry.trained(trained_in)
        version = self.registry.register(self.model, trained, key_of("version", trained.uri))
        expected = None if record.champion is None else record.champion.model
        Promoter(self.client, self.runs).move(MoveRequest(self.model, version, expected, version))
        champion = self.registry.champion(self.model)
        assert champion is not None
        return str(champion.version)

    def night(self, gate: Gate, champion: str | None) -> Night:
        """Return a night without a validation."""
        run_id = self.client.create_run(self.experiment_id).info.run_id
        return self.pinned_night(
            run_id,
            self.experiment_id,
            name="habits",
            model=self.model,
            champion=champion,
            gate=gate,
            steps=Steps(validate=None),
        )


@pytest.fixture
def context(
    mlflow_uri: str,
    tmp_path: Path,
    repository: Repository,
    pinned_night: Callable[..., Night],
) -> Shop:
    """Return a shop for a repository with its MLproject at the top."""
    shutil.copytree(HABITS, repository.folder, dirs_exist_ok=True)
    repository.commit()
    settings = Settings(tmp_path / "cache", tmp_path / "s")
    return Shop(tracking.client(mlflow_uri), settings, repository.url, pinned_night)


def test_from_a_training_to_the_alias(context: Shop) -> None:
    """A first champion, a worse challenger, a better one; the record says what it rests on."""
    gate = Gate(Metric("rmse", min_gain=0.1), [Metric("rmse", at_most=0.9)])
    first = context.train("main", alpha="0.4", day="2026-01-01")
    assert any("unknown type 'datetime'" in line for line in context.lines)
    assert context.promote(first, context.judge(first, gate, None)) == "1"
    worse = context.judge(context.train("main", alpha="0.45"), gate, "1")
    assert worse.verdict is Verdict.REJECT
    better = context.train("main", alpha="0.8")
    record = context.judge(better, gate, "1")
    assert context.promote(better, record) == "2"
    assert record.basis is Basis.TRAININGS
    assert any("not on the same rows" in note for note in record.decision.notes)
    assert replay(record.to_json()).to_json() == record.to_json()
    assert (record.challenger.run_id, record.challenger.metrics["rmse"]) == (
        better,
        pytest.approx(0.2),
    )


@pytest.mark.parametrize("entry_point", ["nested", "project_in_project"])
def test_a_model_that_a_nested_run_logged(context: Shop, entry_point: str) -> None:
    """It is found, with its numbers, and those of the run around it where it has none."""
    outer = context.train(entry_point, alpha="0.4")
    trained = context.registry.trained(outer)
    assert trained.run_id != outer
    assert context.runs.is_within(trained.run_id, outer)
    assert not context.runs.is_within(outer, trained.run_id)
    record = context.judge(outer, Gate(Metric("rmse", at_most=0.7)), None)
    assert context.promote(outer, record) == "1"
    assert context.registry.version(context.model, "1").run_id == trained.run_id
    again = context.judge(outer, Gate(Metric("rmse")), "1")
    assert isinstance(again.champion, Score)
    assert again.champion.metrics == again.challenger.metrics
    assert again.challenger.metrics["rmse"] == pytest.approx(0.6)
    assert again.challenger.metrics.get("seconds") == (2 if entry_point == "nested" else None)


@pytest.mark.parametrize(
    ("entry_point", "message"),
    [
        ("search", r"'model' in 2 nested runs: trial 0\.[19] \(\w+\), trial.*in the outer run"),
        ("two", r"the models 'large', 'small', none named 'model'.*Steps\(model='large'\)"),
        ("none", r"logged no model, nor did a run nested in it.*mlflow\.start_run"),
    ],
)
def test_where_it_is_not_certain_which_model_is_meant(
    context: Shop, entry_point: str, message: str
) -> None:
    """None is taken; the message has the names and says what to write."""
    with pytest.raises(RegistryError, match=message) as caught:
        context.registry.trained(context.train(entry_point))
    assert "Allowed: " in str(caught.value)


def test_a_name_that_the_declaration_gives(context: Shop) -> None:
    """One of several, and one that is a plain artifact."""
    assert context.registry.trained(context.train("two"), "small").model_id
    plain = context.registry.trained(context.train("plain"))
    assert (plain.model_id, plain.uri) == (None, f"runs:/{plain.run_id}/model")


def test_several_steps_under_names_of_their_own(context: Shop) -> None:
    """What Steps(raw=..., model=..., inputs=...) says goes from run to run."""
    inputs = {"raw": "ratings_csv", "as_of": "day"}
    steps = Steps(
        "load_raw_data", None, "fit", None, "ratings-csv-dir", "data", "als-model", inputs
    )
    loaded = context.train(str(steps.download), **steps.renamed({"as_of": "2026-01-01"}))
    given = steps.renamed({"raw": f"runs:/{loaded}/{steps.raw}"})
    trained = context.train(steps.train, als_alpha=0.3, **given)
    assert context.client.get_run(trained).data.metrics["rows"] == 3
    assert context.registry.trained(trained, steps.model).uri == f"runs:/{trained}/als-model"


def test_a_champion_without_its_training_run(context: Shop) -> None:
    """A run that was deleted is told from one that is there."""
    run_id = context.train("plain")
    assert context.runs.exists(run_id)
    context.client.delete_run(run_id)
    assert not context.runs.exists(run_id)
    assert not context.runs.exists("0" * 32)
