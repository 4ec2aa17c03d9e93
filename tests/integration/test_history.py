"""``understudy history`` as people call it, on a real MLflow server."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from understudy.cli.main import main
from understudy.contract import CHAMPION

if TYPE_CHECKING:
    from tests.fixtures.model_registry import RegisteredModel


pytestmark = pytest.mark.integration


@pytest.fixture
def model(
    registered_model: Callable[[int], RegisteredModel], monkeypatch: pytest.MonkeyPatch
) -> RegisteredModel:
    """Return a model that was moved twice by nights, and once by somebody else, unnoticed."""
    made = registered_model(3)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", made.uri)
    made.move("1", None)
    made.promoter().move(replace(made.wanted("2", "1"), actor="wine night 2", why="rmse 4 < 5"))
    made.client.set_registered_model_alias(made.name, CHAMPION, "3")
    return made


def test_it_shows_every_move(model: RegisteredModel, capsys: pytest.CaptureFixture[str]) -> None:
    """Also what somebody else did and nobody has put on record; nothing is written by that."""
    before = model.record()
    assert main(["history", model.name]) == 0
    first, titles, _, *rows = capsys.readouterr().out.splitlines()
    assert first.startswith(f"{model.name}: version 3 is champion since 20")
    assert titles.split() == ["move", "when", "(UTC)", "from", "to", "cause", "who", "why"]
    assert [row[0] for row in rows if row[0] != " "] == ["1", "2", "3"]
    assert "wine night 2" in rows[1]
    assert "rmse 4 < 5" in rows[1]
    assert " .. " in rows[2]
    assert "outside" in rows[2]
    assert model.record() == before


def test_it_says_what_was_in_production_then(
    model: RegisteredModel, capsys: pytest.CaptureFixture[str]
) -> None:
    """At a moment between two moves, and before all of them."""
    second = model.history().moves[1]
    assert second.ending is not None
    assert main(["history", model.name, f"--at={second.ending.at}"]) == 0
    assert capsys.readouterr().out in {
        "version 2\n",
        "version 2, or already version 3: the move was noticed later\n",
    }
    model.promoter().settle(model.name)
    assert main(["history", model.name, f"--at={datetime.now(UTC).isoformat()}"]) == 0
    assert capsys.readouterr().out == "version 3\n"
    assert main(["history", model.name, "--at=2020-01-01"]) == 1
    assert "is before the history of" in capsys.readouterr().err


def test_it_prints_json_for_programs(
    model: RegisteredModel, capsys: pytest.CaptureFixture[str]
) -> None:
    """One document per move, the last ones or all."""
    assert main(["history", model.name, "--json", "--last=1"]) == 0
    (last,) = map(json.loads, capsys.readouterr().out.splitlines())
    assert (last["number"], last["after"], last["cause"]) == (3, "3", "outside")
    assert main(["history", model.name, "--json", "--last=0"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 3


def test_a_model_without_a_history_has_none(
    mlflow_uri: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One that does not exist is a mistake, which names the one that was meant."""
    from mlflow.tracking import MlflowClient

    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_uri)
    name = f"unmoved {uuid.uuid4().hex}"
    MlflowClient(mlflow_uri).create_registered_model(name)
    assert main(["history", name]) == 0
    assert capsys.readouterr().out == f"{name}: no champion, and none on record\n"
    for command in (["history", f"{name}x"], ["rollback", f"{name}x", "--why=it is worse"]):
        assert main(command) == 1
        said = capsys.readouterr().err
        assert f"no registered model '{name}x' (did you mean '{name}'?)" in said
