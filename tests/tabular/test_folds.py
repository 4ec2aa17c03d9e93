"""Folds part rows as the split does; those that cannot be used are left out and named."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pandas as pd
import pytest

from shared.errors import DataError
from tabular import models
from tabular.declaration import Column, Holdout
from tabular.facts import Facts
from tabular.folds import cut, deal
from tabular.split import with_row_ids

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
    frame = pd.DataFrame({"time": times, "x": range(len(target)), "y": target})
    return with_row_ids(frame, ["time"])[0]


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


def repeated(task: str, different: int = 200, **declared: Any) -> tuple[pd.DataFrame, Facts]:
    """Return rows of which each stands there one to four times, and their facts: no times."""
    random = np.random.default_rng(1)
    known = pd.DataFrame({"x": random.normal(size=different), "patient": range(different)})
    known["y"] = known["x"].round(0) if task == "regression" else np.where(known["x"] > 1, "A", "B")
    frame = known.iloc[random.integers(0, different, 2 * different)].reset_index(drop=True)
    identity = list(declared.get("identity", ["x"]))
    made = dataclasses.replace(facts(task), time="", holdout=Holdout(), **declared)
    return with_row_ids(frame, identity)[0], made


@pytest.mark.parametrize("task", ["regression", "classification"])
@pytest.mark.parametrize("declared", [{}, {"identity": ("patient",)}])
def test_what_the_split_keeps_together_is_in_one_fold(task: str, declared: dict[str, Any]) -> None:
    """Equal rows, and rows of one declared identity; sizes and classes are even all the same."""
    frame, known = repeated(task, **declared)
    folds = cut(frame, known, 5, 0)
    whose = frame["patient"]
    for fitted, judged in folds.parts:
        assert not set(whose.iloc[fitted]) & set(whose.iloc[judged])
        assert len(fitted) + len(judged) == len(frame)
    judges = [judged for _, judged in folds.parts]
    assert sorted(np.concatenate(judges)) == list(range(len(frame)))
    assert max(map(len, judges)) - min(map(len, judges)) <= 2
    if task == "classification":
        shares = [int((frame["y"].iloc[judged] == "A").sum()) for judged in judges]
        assert max(shares) - min(shares) <= 2
    (note,) = folds.notes
    more = int(whose.duplicated().sum())
    named = " in patient" if declared else ""
    assert note.startswith(f"{more} of 400 training rows repeat an earlier one{named}: equal ones")


def test_rows_that_differ_in_a_number_of_their_own_are_named() -> None:
    """A running number makes each row one of its own, for the split and so for the folds."""
    frame, known = repeated("regression")
    frame = frame.drop(columns="row_id").assign(number=range(len(frame)))
    frame, _ = with_row_ids(frame, ["number", "x"])
    (note,) = cut(frame, known, 5, 0).notes
    parted = int(frame["x"].duplicated().sum())
    assert note.startswith(f"{parted} training rows have the features of another row and another")


@pytest.mark.parametrize("count", [2, 5])
def test_groups_of_very_different_sizes(count: int) -> None:
    """A few patients with many rows, one with a class of its own: no fold is empty, none parted."""
    sizes = [60, 30, 20, 10, 5, 5, 5, 3, 1, 1]
    groups = pd.Series(np.repeat(range(len(sizes)), sizes))
    classes = pd.Series(np.where(groups == 3, "rare", np.where(groups.index % 3 == 0, "A", "B")))
    folds = deal(groups, classes, count, 7)
    assert groups.groupby(folds).nunique().sum() == len(sizes)
    rows = np.bincount(folds, minlength=count)
    assert rows.min() > 0
    assert rows.max() <= 100
    assert list(deal(groups, classes, count, 7)) == list(folds)


@pytest.mark.parametrize("name", ["xgboost", "random_forest", "hist_gradient_boosting"])
@pytest.mark.filterwarnings("ignore:The y_prob values do not sum to one")
def test_a_class_with_one_member(name: str) -> None:
    """It is in one fold, which others learn without it; every row judges once."""
    frame, known = repeated("classification")
    frame.loc[frame.index[~frame["row_id"].str.endswith("-1")][0], "y"] = "alone"
    folds = cut(frame, known, 5, 0, "log_loss")
    assert not folds.left_out
    judged = [frame["y"].iloc[rows] for _, rows in folds.parts]
    assert [("alone" in set(one)) for one in judged].count(True) == 1
    used = models.choose(name, "classification", {**DEFAULTS, "n_estimators": 5})
    assert np.isfinite(folds.score(name, used)["cv_log_loss"])


def test_fewer_different_rows_than_folds() -> None:
    """They are counted, not the rows."""
    frame, known = repeated("regression", different=3)
    with pytest.raises(DataError, match="the 6 training rows, 3 of them different, cannot be cut"):
        cut(frame, known, 5, 0)


@pytest.mark.parametrize(("each", "count"), [(7, 5), (50, 3), (1, 5)])
def test_rows_of_one_time_are_on_one_side(each: int, count: int) -> None:
    """As the newest window has a time wholly or not; with few times there are fewer folds."""
    frame = rows([float(number) for number in range(200)])
    frame["time"] = frame["time"].iloc[np.arange(200) // each * each].to_numpy()
    folds = cut(frame.sample(frac=1, random_state=1), facts("regression"), 5, 0)
    times = frame["time"].to_numpy()
    assert len(folds.parts) == count
    for fitted, judged in folds.parts:
        assert times[fitted].max() < times[judged].min()
    assert np.concatenate([judged for _, judged in folds.parts])[-1] == len(frame) - 1
    said = [note for note in folds.notes if "many rows have one time" in note]
    assert len(said) == (count < 5)


def test_memory_does_not_win() -> None:
    """With every row there twice, a tree that knows rows by heart beats none that learnt.

    The folds and rows that are new agree which depth is best.
    """
    random = np.random.default_rng(3)
    known = facts("regression")
    known = dataclasses.replace(known, time="", holdout=Holdout())

    def made(number: int) -> pd.DataFrame:
        x = random.uniform(-2, 2, number)
        return pd.DataFrame({"x": x, "y": np.sign(x) + random.normal(size=number)})

    once, fresh = made(150), with_row_ids(made(2000), ["x"])[0]
    twice, _ = with_row_ids(pd.concat([once, once], ignore_index=True), ["x"])
    folds = cut(twice, known, 5, 0)
    judged, new = list[float](), list[float]()
    for depth in (1, 2, 3, 5, 8, 12):
        used = models.choose("decision_tree", "regression", {**DEFAULTS, "max_depth": depth})
        judged.append(folds.score("decision_tree", used)["cv_rmse"])
        found = folds.unseen("decision_tree", used, fresh, "rmse")
        new.append(found["rmse"])
        # Of a normal error, about its deviation by the square root of twice the number.
        assert found["rmse_se"] == pytest.approx(found["rmse"] / np.sqrt(2 * len(fresh)), rel=0.6)
    assert np.argmin(judged) == np.argmin(new) == 0
    assert np.corrcoef(judged, new)[0, 1] > 0.9
