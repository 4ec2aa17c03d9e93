"""``understudy backtest``: what its words mean, and what it refuses before anything runs."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from understudy.backtest.place import BacktestFolder
from understudy.backtest.results import beside
from understudy.cli.backtest import within
from understudy.cli.main import main

if TYPE_CHECKING:
    from understudy.backtest.replay import BacktestRequest

pytestmark = pytest.mark.unit


@pytest.fixture
def wanted(monkeypatch: pytest.MonkeyPatch) -> list[BacktestRequest]:
    """Keep what is asked of a backtest instead of running it."""
    kept: list[BacktestRequest] = []

    def keep(wanted: BacktestRequest, *_: object) -> None:
        kept.append(wanted)
        raise KeyboardInterrupt

    monkeypatch.setattr("understudy.backtest.replay.backtest", keep)
    return kept


def understudy(tmp_path: Path, *words: str) -> int:
    """Run the console script."""
    return main(["backtest", *words, "--nights", "3", "--out", str(tmp_path / "out")])


def test_words_become_what_is_wanted(tmp_path: Path, wanted: list[BacktestRequest]) -> None:
    """Values may hold an equals sign."""
    rules = tmp_path / "careful.json"
    rules.write_text(json.dumps({"primary": {"name": "mae", "min_gain": 1.0}}))
    words = ["--dataset", "bikes", "-P", "model=a=b", "--rules", str(rules), "--every", "12h"]
    assert understudy(tmp_path, str(tmp_path), *words) == 130
    [asked] = wanted
    assert asked.project == str(tmp_path)
    assert asked.parameters == {"dataset": "bikes", "model": "a=b"}
    assert asked.every == timedelta(hours=12)
    assert asked.metric.name == "mae", "the first rules' primary metric"
    assert list(asked.rules) == ["default", "careful"]
    assert asked.rules["default"].primary.min_gain is None, "without the bounds of the others"


def test_files_of_one_name_are_told_apart(tmp_path: Path, wanted: list[BacktestRequest]) -> None:
    """By their whole path."""
    paths = [tmp_path / "a" / "rules.json", tmp_path / "b" / "rules.json"]
    for path in paths:
        path.parent.mkdir()
        path.write_text(json.dumps({"primary": {"name": "mae"}}))
    understudy(tmp_path, "p", "--rules", *map(str, paths))
    assert list(wanted[0].rules) == ["default", *map(str, paths)]


def test_without_rules_the_default_is_compared_with_stricter_laxer_and_learned_ones(
    tmp_path: Path, wanted: list[BacktestRequest]
) -> None:
    """Else there would be nothing to recommend."""
    understudy(tmp_path, "p", "--metric", "rmse")
    bounds = [one.decisive for one in wanted[0].rules.values()]
    assert [(m.min_gain, m.max_loss, m.tolerance) for m in bounds] == [
        (None, None, 0.03), (0.0, None, None), (None, 0.05, None), (None, None, 0.03),
    ]  # fmt: skip
    assert [one.learn is not None for one in wanted[0].rules.values()] == [False] * 3 + [True]
    assert not wanted[0].faults


def test_faults_have_their_shares(tmp_path: Path, wanted: list[BacktestRequest]) -> None:
    """A hundredth of the nights each, where nobody says."""
    understudy(tmp_path, "p", "--metric", "rmse", "--inject", "all", "labels:0.05")
    assert wanted[0].faults == {
        "labels": 0.05, "unit": 0.01, "rows": 0.01, "month": 0.01, "mean": 0.01,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["p"], "Neither --metric nor --rules"),
        (["p", "--metric", "rmse", "-P", "model"], "'model' is no parameter"),
        (["p", "--metric", "rmse", "--every", "often"], "'often' is no duration"),
        (["p", "--metric", "profit"], "which way is better"),
        (["p", "--metric", "rmse", "--inject", "lables"], "did you mean 'labels'"),
        (["p", "--metric", "rmse", "--inject", "unit:2"], "at most 0.2"),
        (["p", "--metric", "rmse", "--inject", "unit:few"], "'unit:few' is no fault"),
        (["p", "--rules", "nowhere.json"], "there is no file nowhere.json"),
        (["/nowhere", "--metric", "rmse"], "There is no folder|no MLproject|/nowhere"),
    ],
)
def test_what_cannot_be_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    """With one message, and no folder full of nothing."""
    assert understudy(tmp_path, *words) == 1
    said = capsys.readouterr().err
    assert any(part in said for part in message.split("|")), said
    assert not BacktestFolder(tmp_path / "out").plan.exists()


@pytest.mark.parametrize("width", [60, 80, 100])
def test_its_table_is_as_wide_as_the_terminal(width: int) -> None:
    """What does not fit stands below its row; else it is as in a file."""
    titles = ("", "served", "above hindsight", "promoted", "held", "rejected")
    rows = [("promote when the number is better", "48594", "0.00%", "4", "", "12")]
    lines = within(width, titles, rows)
    assert max(map(len, lines)) <= width
    assert ("    rejected: 12" in lines) == (width <= 80)
    assert list(lines) == beside(titles, rows) or width <= 80
