"""Folds that cannot be used are left out and named, or refused before the first trial."""

from __future__ import annotations

import pandas as pd
import pytest

from shared.errors import DataError
from tabular import models
from tabular.declaration import Column, Holdout
from tabular.facts import Facts
from tabular.folds import cut

pytestmark = pytest.mark.unit

DEFAULTS = {option.name: option.default for option in models.OPTIONS}


def facts(task: str) -> Facts:
    """Return the facts of hourly rows of which the newest are held out."""
    columns = {"x": Column(), "y": Column(kind="text" if task == "classification" else "number")}
    holdout = Holdout("newest", 1.0)
    return Facts("demo", task, "y", columns, ("x",), time="time", holdout=holdout)  # type: ignore[arg-type]


def rows(target: list[str] | list[float]) -> pd.DataFrame:
    """Return rows of an hour each."""
    times = pd.date_range("2026-01-01", periods=len(target), freq="h", tz="UTC")
    return pd.DataFrame({"time": times, "x": range(len(target)), "y": target})


# Single-precision shares of XGBoost do not sum to one in double precision.
@pytest.mark.filterwarnings("ignore:The y_prob values do not sum to one")
@pytest.mark.parametrize("name", ["xgboost", "logistic_regression"])
def test_a_fold_that_has_seen_one_class(name: str) -> None:
    """A class that came late: the earliest fold knows one alone; the others judge every model."""
    late = rows(["A" if n < 60 else "AB"[n % 2] for n in range(200)])
    folds = cut(late, facts("classification"), 5, 0, "cv_accuracy")
    assert list(folds.left_out) == ["fold 1 of 5 is fitted on class 'A' only"]
    assert len(folds.parts) == 4
    given = {} if name == "logistic_regression" else {"n_estimators": 5}
    used = models.choose(name, "classification", {**DEFAULTS, **given})
    assert 0 <= folds.score(name, used)["cv_accuracy"] <= 1


def test_a_fold_that_lacks_a_class_does_not_judge_by_areas() -> None:
    """It does by what it defines."""
    early = rows([*("AB" * 40), *("A" * 48), *("AB" * 16)])
    folds = cut(early, facts("classification"), 4, 0, "roc_auc")
    assert list(folds.left_out) == [
        "fold 3 of 4 is judged without class 'B', which roc_auc needs",
    ]
    assert not cut(early, facts("classification"), 4, 0, "log_loss").left_out


@pytest.mark.parametrize(
    ("metric", "target", "why"),
    [
        ("r2", [1.0, 2.0] * 30 + [3.0] * 60, "by one value of the target, of which there is no r2"),
        ("mape", [1.0] * 60 + [0.0] * 60, "by a target of zero, of which there is no mape"),
    ],
)
def test_numbers_that_a_fold_does_not_define(metric: str, target: list[float], why: str) -> None:
    """Found before the first trial, as only the targets decide."""
    with pytest.raises(DataError, match=f"no fold can be used: fold 1 of 2 .*{why}"):
        cut(
            rows([1.0, *target[61:]] if metric == "r2" else target),
            facts("regression"),
            2,
            0,
            metric,
        )
    assert cut(rows(target), facts("regression"), 2, 0, "rmse").parts


def test_no_fold_at_all() -> None:
    """All know one class only: nothing is tried."""
    last = rows([*("A" * 110), *("B" * 10)])
    with pytest.raises(
        DataError, match=r"fold 2 of 2 is fitted on class 'A' only.*Next: pass fewer"
    ):
        cut(last, facts("classification"), 2, 0)
