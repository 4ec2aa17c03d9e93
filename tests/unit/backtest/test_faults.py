"""Nights that go wrong: which they are, what is wrong in them, and what is judged by them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from understudy.backtest import evaluation, faults
from understudy.backtest.evaluation import walk
from understudy.backtest.history import ReplayedNights
from understudy.backtest.place import PREDICTIONS, made
from understudy.backtest.plan import Fault, spoilt_nights
from understudy.errors import ProjectError
from understudy.gate import Gate, Metric

pytestmark = pytest.mark.unit

NIGHTS = [f"2012-01-{day:02}" for day in range(1, 31)]
ROWS = pd.DataFrame(
    {
        "row_id": [f"r{n}" for n in range(1000)],
        "temperature": np.arange(1000) % 40,
        "holiday": np.arange(1000) % 2,
        "count": np.arange(1000.0),
        "kind": [("a", "b", "b", "c")[n % 4] for n in range(1000)],
    }
)


def spoilt(fault: Fault, target: str, *, classes: bool = False) -> pd.DataFrame:
    """Return the rows with a fault."""
    return faults.spoilt(fault, ROWS, target, np.random.default_rng(1), classes=classes)


def test_each_fault_has_its_nights_and_the_first_night_has_none() -> None:
    """The same ones again; another fault beside it takes none of them away."""
    alone = spoilt_nights(NIGHTS, {Fault.LABELS: 0.1})
    assert len(alone) == 3
    found = spoilt_nights(NIGHTS, {**dict.fromkeys(Fault, 0.01), Fault.LABELS: 0.1})
    assert sorted(found.values()) == sorted([*[Fault.LABELS] * 3, *list(Fault)[1:]])
    assert alone.items() <= found.items()
    for end in range(6, len(NIGHTS)):
        nights = spoilt_nights(NIGHTS[:end], dict.fromkeys(Fault, 0.2))
        assert NIGHTS[0] not in nights
        assert set(nights.values()) == set(Fault)


def test_a_fifth_of_the_labels_is_wrong() -> None:
    """Numbers are far off; a class is another one, of those that there are."""
    far = spoilt(Fault.LABELS, "count")["count"] - ROWS["count"]
    assert (far != 0).mean() == pytest.approx(0.2, abs=0.03)
    assert far[far != 0].to_numpy() == pytest.approx(3 * ROWS["count"].std())
    kinds = spoilt(Fault.LABELS, "kind", classes=True)["kind"]
    assert (kinds != ROWS["kind"]).mean() == pytest.approx(0.2, abs=0.03)
    assert set(kinds) == {"a", "b", "c"}
    whole = spoilt(Fault.LABELS, "temperature")["temperature"]
    assert whole.dtype == ROWS["temperature"].dtype, "a schema must not notice it"


def test_one_feature_has_another_unit() -> None:
    """Neither the target nor a flag nor an id; its type stays."""
    found = spoilt(Fault.UNIT, "count")
    assert found["temperature"].tolist() == [round(1.8 * n + 32) for n in ROWS["temperature"]]
    pd.testing.assert_frame_equal(
        found.drop(columns="temperature"), ROWS.drop(columns="temperature")
    )
    with pytest.raises(
        ProjectError, match=r"no column of numbers.*Allowed: --inject 'labels', 'mean'"
    ):
        faults.spoilt(
            Fault.UNIT, ROWS[["row_id", "count"]], "count", np.random.default_rng(1), classes=False
        )


def test_half_of_the_rows_are_missing() -> None:
    """The larger ones of numbers; of classes unlike shares, and something of each."""
    assert spoilt(Fault.ROWS, "count")["count"].tolist() == ROWS["count"].tolist()[:500]
    left = spoilt(Fault.ROWS, "holiday", classes=True)["holiday"].value_counts()
    assert left.sum() == 500
    assert left[0] == pytest.approx(375, abs=30)


def test_a_model_that_predicts_one_thing() -> None:
    """The mean of numbers; the shares of classes and the most frequent of them."""
    numbers = pd.DataFrame({"row_id": ["x", "y"], "target": [0.0, 0.0], "prediction": [1.0, 4.0]})
    assert faults.constant(numbers) == {"prediction": 2.5}
    classes = pd.DataFrame(
        {"prediction": ["b", "a", "b"], "probability_a": [0, 1, 0.2], "probability_b": [1, 0, 0.8]}
    )
    found = faults.constant(classes)
    assert found.pop("prediction") == "b"
    assert found == pytest.approx({"probability_a": 0.4, "probability_b": 0.6})


def test_the_target_is_the_column_that_validate_copied() -> None:
    """By its values, whatever it is called; whole numbers may have become others."""
    shuffled = ROWS.sample(frac=1, random_state=0)
    for name in ("count", "temperature", "kind"):
        predicted = pd.DataFrame({"row_id": shuffled["row_id"], "target": shuffled[name]})
        if name == "temperature":
            predicted = predicted.astype({"target": float})
        assert faults.target_of(ROWS, predicted) == name
    with pytest.raises(ProjectError, match="no column that is the target"):
        faults.target_of(ROWS, predicted.assign(target="d"))


def asked(tmp_path: Path, fault: Fault, train: pd.DataFrame | None = None) -> pd.DataFrame:
    """Return what the process leaves that is asked for a fault; two of four rows are held out."""
    held_out = ROWS.iloc[[0, 2]]
    files = {name: tmp_path / f"{name}.parquet" for name in ("rows", "predictions", "train", "out")}
    held_out.to_parquet(files["rows"])
    scored = ROWS.iloc[:4].assign(
        target=lambda rows: rows["count"], prediction=[1.0, 9.0, 3.0, 9.0]
    )
    scored[["row_id", "target", "prediction"]].to_parquet(files["predictions"])
    if train is not None:
        train.to_parquet(files["train"])
    question = tmp_path / "question.json"
    paths = {name: str(path) for name, path in files.items()}
    question.write_text(json.dumps({"night": "2012-01-01", "fault": fault, **paths}))
    assert faults.main([str(question)]) == 0
    return pd.read_parquet(files["out"])


def test_the_process_makes_the_fault_of_a_night(tmp_path: Path) -> None:
    """A constant is the mean over that night's holdout alone: it knows no row to come."""
    found = asked(tmp_path, Fault.MEAN)
    assert found["prediction"].tolist() == [2.0] * 4
    assert found["target"].tolist() == [0.0, 1.0, 2.0, 3.0], "what is right stays"
    assert len(asked(tmp_path, Fault.ROWS, ROWS)) == 500
    again = [asked(tmp_path, Fault.LABELS, ROWS)["count"].tolist() for _ in range(2)]
    assert again[0] == again[1], "a night that is run again has the same fault"


def test_a_project_without_training_rows_is_told_what_it_can_have(tmp_path: Path) -> None:
    """The faults that need none."""
    with pytest.raises(
        ProjectError, match=r"train\.parquet.*Allowed: --inject 'mean', 'month'; or"
    ):
        asked(tmp_path, Fault.LABELS)


def test_the_model_with_the_fault_stands_for_that_night_alone(
    replayed: Callable[..., Any], tmp_path: Path
) -> None:
    """The gate sees it, and whoever promotes always serves by it; the nights before are as ever."""
    replay = replayed(2.0, 1.9, 1.8, 1.7)
    night = replay.plan.nights[2]
    source = replay.place.night(replay.plan.night(night)) / PREDICTIONS
    with made(replay.place.night(replay.plan.night(night, Fault.MEAN))) as folder:
        pd.read_parquet(source).assign(prediction=9.0).to_parquet(folder / PREDICTIONS)

    judged = walk(
        ReplayedNights.read(replay.place, replay.plan, {night: Fault.MEAN}), Gate(Metric("rmse"))
    )
    assert [one.verdict for one in judged] == ["PROMOTE", "PROMOTE", "REJECT", "PROMOTE"]
    assert [one.verdict for one in walk(replay.history(), Gate(Metric("rmse")))] == ["PROMOTE"] * 4
    answer = tmp_path / "answer.json"
    question = {
        "folder": str(replay.folder), "plan": json.loads(replay.plan.to_json()),
        "metric": Metric("mae").to_dict(), "rules": {}, "faults": {night: "mean"},
    }  # fmt: skip
    (tmp_path / "question.json").write_text(json.dumps(question))
    evaluation.main([str(tmp_path / "question.json"), str(answer)])
    by_night = json.loads(answer.read_text())["paths"]["always"]["by_night"]
    assert by_night == pytest.approx([2.0, 1.9, 9.0, 1.7], rel=0.01)


def test_a_night_whose_faulty_data_no_model_came_of_has_none(replayed: Callable[..., Any]) -> None:
    """The champion goes on serving."""
    replay = replayed(2.0, 1.9, 1.8)
    history = ReplayedNights.read(replay.place, replay.plan, {replay.plan.nights[1]: Fault.MONTH})
    assert [night.folder is None for night in history.nights] == [False, True, False]
