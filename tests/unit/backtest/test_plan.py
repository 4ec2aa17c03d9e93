"""What is replayed: moments, identities, and projects that cannot be."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from understudy.backtest import plan as plans
from understudy.backtest.plan import Plan
from understudy.errors import ParameterError, ProjectError

pytestmark = pytest.mark.unit

TABULAR = {
    "download": ["dataset", "as_of"],
    "preprocess": ["raw", "holdout_days"],
    "train": ["data", "model"],
    "validate": ["data", "model_uri"],
}
PLAN = Plan(
    project="/project",
    commit="",
    code="abc",
    parameters={"dataset": "bikes"},
    nights=("2012-01-01", "2012-01-02"),
    end="2012-01-03",
    holdout_days=14.0,
    env_manager="uv",
)


def test_nights_end_where_the_rows_do() -> None:
    """The last night serves the last day."""
    nights = plans.nights_until(plans.moment("2012-03-02"), 3, timedelta(days=1))
    assert nights == ("2012-02-28", "2012-02-29", "2012-03-01")


def test_nights_of_half_a_day_are_times() -> None:
    """Midnights are dates, as people write them."""
    nights = plans.nights_until(plans.moment("2012-03-02"), 2, timedelta(hours=12))
    assert nights == ("2012-03-01", "2012-03-01T12:00:00Z")


@pytest.mark.parametrize("newest", ["2012-12-31T23:00:00+00:00", "2012-12-31", "2012-12-31 05:00"])
def test_the_end_is_the_midnight_after_the_newest_row(newest: str) -> None:
    """As of then the newest row is there, too."""
    assert plans.written(plans.day_after(newest)) == "2013-01-01"


def test_the_pool_holds_every_nights_newest_window() -> None:
    """Two nights to serve, and the window before the first."""
    assert PLAN.pool_days == 2 + 14


def test_a_plan_is_what_its_json_says() -> None:
    """Workers read it from a file."""
    assert Plan.from_json(PLAN.to_json()) == PLAN


@pytest.mark.parametrize(
    "other",
    [
        {"code": "def"},
        {"parameters": {"dataset": "bikes", "model": "other"}},
        {"holdout_days": 7.0},
        {"end": "2012-01-04"},
        {"env_manager": "local"},
    ],
)
def test_whatever_changes_a_night_changes_its_name(other: dict[str, object]) -> None:
    """A night of another plan never stands for one of this."""
    assert replace(PLAN, **other).night("2012-01-01") != PLAN.night("2012-01-01")


def test_another_order_of_parameters_is_the_same_backtest() -> None:
    """It goes on where it ended."""
    one = replace(PLAN, parameters={"a": "1", "b": "2"})
    assert one.base == replace(PLAN, parameters={"b": "2", "a": "1"}).base


@pytest.mark.parametrize(
    ("entry_points", "parameters", "error", "message"),
    [
        ({"main": []}, {}, ProjectError, "no entry points 'download', 'preprocess'"),
        ({**TABULAR, "download": ["dataset"]}, {}, ProjectError, "takes no 'as_of'"),
        (TABULAR, {"modle": "x"}, ParameterError, "did you mean 'model'"),
        (TABULAR, {"as_of": "2012-01-01"}, ParameterError, "every night fills in"),
    ],
)
def test_what_cannot_be_replayed_is_refused(
    entry_points: dict[str, list[str]],
    parameters: dict[str, str],
    error: type[Exception],
    message: str,
) -> None:
    """Before anything runs, by name."""
    with pytest.raises(error, match=message):
        plans.check(entry_points, parameters)


def test_a_project_like_ours_is_replayed() -> None:
    """Nothing is raised."""
    plans.check(TABULAR, {"dataset": "bikes", "model": "x"})


def test_a_wrong_date_is_named() -> None:
    """With what would have been one."""
    with pytest.raises(ParameterError, match="'yesterday' is no ISO 8601 date"):
        plans.moment("yesterday")
