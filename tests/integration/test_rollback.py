"""Rollbacks on a real MLflow server: what they move, whom they name, what they keep out."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from mlflow.tracking import MlflowClient

from understudy.cli.main import main
from understudy.contract import CHAMPION, PREVIOUS, Tag
from understudy.errors import RegistryError
from understudy.registry.history import MoveCause, Scope, Trained
from understudy.registry.promoter import Promoter
from understudy.registry.rehearsal import Rehearser
from understudy.registry.rehearsal_cases import QUESTIONS
from understudy.registry.rollback import RollbackRequest, Rollbacks
from understudy.spec.pipeline import Rehearsal
from understudy.store.tracking import RunStore

if TYPE_CHECKING:
    from tests.fixtures.model_registry import RegisteredModel
    from tests.fixtures.rehearsal import RehearsalSetup

pytestmark = pytest.mark.integration


def nobody(terms: Rehearsal) -> Rehearser:
    """Rehearse nothing: the model cannot be served."""
    raise AssertionError(terms)


def rollbacks(uri: str) -> Rollbacks:
    """Return what rolls back without a rehearsal."""
    client = MlflowClient(uri)
    runs = RunStore(client)
    return Rollbacks(client, runs, Promoter(client, runs), nobody)


@pytest.fixture
def model(registered_model: Callable[[int], RegisteredModel]) -> RegisteredModel:
    """Return a model whose champion is version 3, and was 2 and 1 before."""
    made = registered_model(4)
    for version, before in (("1", None), ("2", "1"), ("3", "2")):
        made.move(version, before)
    return made


def request(model: RegisteredModel, **fields: object) -> RollbackRequest:
    """Return a rollback."""
    plain = RollbackRequest(model.name, "it is slow", "ann", "key", rehearse=False)
    return replace(plain, **fields)  # type: ignore[arg-type]


def test_back_to_the_champion_before(model: RegisteredModel) -> None:
    """The alias moves as for a promotion; who and why is on record; a repeated try does nothing."""
    made = rollbacks(model.uri).make(request(model), print)
    assert (made.version, made.replaced) == ("2", "3")
    assert rollbacks(model.uri).make(request(model), print).version == "2"
    assert model.aliases() == {CHAMPION: "2", PREVIOUS: "3"}
    last = model.history().moves[-1].move
    assert (last.cause, last.actor, last.why) == (MoveCause.ROLLBACK, "ann", "it is slow")
    assert len(model.moves()) == 4


def test_what_was_rolled_back_does_not_return_by_itself(model: RegisteredModel) -> None:
    """By version; by commit, until a day. Brought back by a person, it is free again."""
    rollbacks(model.uri).make(request(model), print)
    now = datetime.now(UTC)
    assert model.history().blocked(Trained("3"), now) is not None
    assert model.history().blocked(Trained("4"), now) is None
    rollbacks(model.uri).make(request(model, key="again", to="3"), print)
    assert model.history().blocked(Trained("3"), now) is None


def test_the_commit_is_that_of_the_night(model: RegisteredModel) -> None:
    """Found by the decision that the version names."""
    run_id = model.client.create_run("0", tags={Tag.COMMIT: "c0ffee", Tag.FINGERPRINT: "f"})
    model.client.set_model_version_tag(model.name, "3", Tag.DECISION_RUN, run_id.info.run_id)
    until = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    rollbacks(model.uri).make(request(model, scope=Scope.COMMIT, until=until), print)
    history = model.history()
    assert history.blocked(Trained("9", commit="c0ffee"), datetime.now(UTC)) is not None
    assert history.blocked(Trained("9", fingerprint="f"), datetime.now(UTC)) is not None
    later = datetime.now(UTC) + timedelta(days=2)
    assert history.blocked(Trained("9", commit="c0ffee"), later) is None


@pytest.mark.parametrize(
    ("to", "message"),
    [("3", "Version 3 of .* is the champion"), ("99", "There is no version '99'")],
)
def test_what_cannot_be_returned_to(model: RegisteredModel, to: str, message: str) -> None:
    """It says why, and nothing moves."""
    with pytest.raises(RegistryError, match=message):
        rollbacks(model.uri).make(request(model, to=to), print)
    assert model.aliases()[CHAMPION] == "3"


def test_the_first_champion_has_nothing_before_it(
    registered_model: Callable[[int], RegisteredModel],
) -> None:
    """Nor has a model without one."""
    model = registered_model(1)
    for champion in ("None", "1"):
        with pytest.raises(RegistryError, match=f"no other champion than {champion}"):
            rollbacks(model.uri).make(request(model), print)
        model.client.set_registered_model_alias(model.name, CHAMPION, "1")


def test_versions_that_somebody_deleted_are_passed_over(
    model: RegisteredModel, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also the champion itself; where none is left, it says so."""
    for version in ("3", "2"):
        model.client.delete_model_version(model.name, version)
    made = rollbacks(model.uri).make(request(model), print)
    assert (made.version, made.replaced) == ("1", None)
    said = capsys.readouterr().out
    assert [f"Version {version} of {model.name} was" in said for version in "321"] == [1, 1, 0]
    assert model.aliases()[CHAMPION] == "1"
    with pytest.raises(RegistryError, match="that is still there: 3, 2 were deleted"):
        rollbacks(model.uri).make(request(model, key="again"), print)


def test_a_champion_whose_alias_was_taken_away_returns(model: RegisteredModel) -> None:
    """It is the last one that was in production."""
    model.client.delete_registered_model_alias(model.name, CHAMPION)
    assert rollbacks(model.uri).make(request(model), print).version == "3"


def test_the_command_rehearses_and_moves(
    rehearsal_setup: RehearsalSetup,
    registered_model: Callable[[int], RegisteredModel],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The version answers the questions of its first rehearsal, on the terms of that."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", rehearsal_setup.client.tracking_uri)
    monkeypatch.setenv("UNDERSTUDY_CACHE", str(rehearsal_setup.settings.cache))
    client = rehearsal_setup.client
    first = client.get_model_version(rehearsal_setup.model, "1")
    model = registered_model(0)
    for _ in range(2):
        client.create_model_version(model.name, first.source, model_id=first.source.split("/")[-1])
    terms = rehearsal_setup.rehearser(rows=1, latency=timedelta(minutes=5))
    candidate = replace(rehearsal_setup.candidate(), model=model.name)
    terms.rehearse(candidate, rehearsal_setup.spec("before"), print)
    model.move("1", None)
    model.move("2", "1")
    assert main(["rollback", model.name, "--why", "numbers look odd", "--block", "commit"]) == 0
    said = capsys.readouterr().out
    assert "1 questions from the model's input example: all answers as offline" in said
    assert said.splitlines()[-1] == f"{model.name}: version 1 is champion; it replaced 2"
    last = model.history().moves[-1].move
    assert last.block is not None
    assert last.block.scope is Scope.COMMIT
    kept = client.download_artifacts(last.rehearsal_run, QUESTIONS)
    assert json.loads(Path(kept).read_text())["source"] == "the model's input example"
    assert main(["rollback", model.name, "--why", "x", "--to", "1"]) == 1
    assert "Version 1 of" in capsys.readouterr().err
    assert model.promoter().look(model.name).champion == "1"
