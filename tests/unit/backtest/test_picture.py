"""The page and the table: complete, readable without the tool, and safe to open."""

from __future__ import annotations

import itertools
import re
from typing import Any

import pytest

from understudy.backtest.picture import page, trailing
from understudy.backtest.results import sentence, table

pytestmark = pytest.mark.unit


def path(served: float | None, serving: list[int]) -> dict[str, Any]:
    """Return what the evaluation says about one way to promote."""
    changes = sum(a != b for a, b in itertools.pairwise(serving))
    by_night = [served] * len(serving)
    return {"served": served, "by_night": by_night, "serving": serving, "promotions": changes}


def answer(name: str = "mine", served: float | None = 10.2, **more: Any) -> dict[str, Any]:
    """Return a backtest's answer."""
    verdicts = {"verdicts": ["PROMOTE", "HOLD", "REJECT"], "reasons": ["", "", ""], "rules": {}}
    return {
        "metric": {"name": "rmse", "lower_is_better": True},
        "plan": {"project": "https://host/repo.git"},
        "nights": ["2012-01-01", "2012-01-02", "2012-01-03"],
        "rows": [24, 24, 24],
        "how": "over all served rows",
        "failures": {},
        "paths": {
            "frozen": path(40.0, [0, 0, 0]),
            "always": path(11.0, [0, 1, 2]),
            "point": path(10.5, [0, 1, 1]),
            "hindsight": path(10.0, [0, 1, 1]),
        },
        "rules": [{"name": name, **path(served, [0, 0, 2]), **verdicts}],
        **more,
    }


def test_the_table_shows_rules_beside_the_references() -> None:
    """Rules first, then the references from the best one down."""
    lines = list(table(answer()))
    assert "rmse that was served" in lines[0]
    assert re.search(r"^mine\s+10\.2\s+2\.00%\s+1\s+1\s+1$", lines[2])
    assert [line.split("  ")[0] for line in lines[3:-1]] == [
        "best choice in hindsight",
        "promote when the number is better",
        "promote always",
        "first model frozen",
    ]


@pytest.mark.parametrize(
    ("served", "said"),
    [
        (10.2, "mine: 2.0% above hindsight, and better than each way without rules"),
        (10.5, "mine: 5.0% above hindsight; not better than: promote when the number is better"),
        (50.0, "promote always, first model frozen"),
        (None, "mine: ; not better than"),
    ],
)
def test_one_sentence_says_whether_rules_are_good(served: float | None, said: str) -> None:
    """Against each reference, and near enough to hindsight."""
    assert said in sentence(answer(served=served), "mine")


def test_more_is_better_for_some_metrics() -> None:
    """Then better is more."""
    found = answer(served=9.9)
    found["metric"] = {"name": "r2", "lower_is_better": False}
    for name, served in {"hindsight": 10.0, "point": 9.0, "always": 8.0, "frozen": 1.0}.items():
        found["paths"][name]["served"] = served
    assert "1.0% above hindsight, and better than each" in sentence(found, "mine")


def test_nothing_on_the_page_comes_unescaped() -> None:
    """Nor does it load anything."""
    evil = "<script>alert(1)</script>"
    found = answer(evil, failures={"2012-01-02": evil})
    found["plan"]["project"] = evil
    text = page(found)
    assert "<script" not in text
    assert text.count("&lt;script&gt;") >= 4
    assert not re.findall(r"(?:src|href)=", text), "it loads nothing"


def test_a_page_is_drawn_of_nights_without_numbers() -> None:
    """A gap, not a failure."""
    found = answer(served=None)
    assert "<svg" in page(found)


def test_a_curve_begins_when_its_window_is_full() -> None:
    """A mean of fewer would be another number."""
    assert trailing([1.0, 3.0, None, 5.0], 2) == [None, 2.0, 3.0, 5.0]
    assert trailing([1.0], 28) == [1.0]
