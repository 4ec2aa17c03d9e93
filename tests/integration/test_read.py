"""``understudy.read`` and the notebook that uses it, on nights as MLflow has them."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime

import matplotlib as mpl
import pandas as pd
import pytest
from mlflow.tracking import MlflowClient
from tests.fixtures.machine import CHECKOUT
from tests.fixtures.recorded_nights import USUAL, RecordedPipeline

from understudy import read
from understudy.errors import TrackingRefusedError

pytestmark = pytest.mark.integration

NOTEBOOK = CHECKOUT / "docs" / "notebooks" / "nights.ipynb"
CHECK = {
    "metric": "rmse",
    "rule": "tolerance",
    "bound": 0.03,
    "slice": "",
    "needed": 1.9,
    "challenger": 63.3,
    "champion": "inf",
    "gain": 2.6,
    "interval": {"low": 0.4, "high": 4.8, "confidence": 0.7},
    "result": "passed",
    "reason": "rmse 63.3 beats 66",
}


@pytest.fixture(autouse=True)
def _server(mlflow_uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Name the server, as a person does."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_uri)


@pytest.fixture(scope="module")
def pipeline(mlflow_uri: str) -> RecordedPipeline:
    """Return a pipeline with a night of each outcome, one of which has a record."""
    made = RecordedPipeline(MlflowClient(mlflow_uri), f"read {uuid.uuid4().hex}")
    made.usual(len(USUAL))
    recorded = made.night("HELD")
    made.decided(recorded, {"checks": [CHECK]}, None)
    return made


def test_nights_have_what_they_logged(pipeline: RecordedPipeline) -> None:
    """All of them, in order, with NaN and '' for what was not logged."""
    nights = read.nights(pipeline.name)
    assert tuple(nights["outcome"]) == (*USUAL, "HELD")
    assert str(nights["as_of"].dt.tz) == "UTC"
    assert nights["as_of"].is_monotonic_increasing
    skipped, held = nights.iloc[2], nights.iloc[3]
    assert skipped["verdict"] == ""
    assert pd.isna(skipped["challenger"])
    assert held["champion"] - held["challenger"] == pytest.approx(held["gain"])
    assert held["gain_low"] < held["gain"] < held["gain_high"]
    assert held["seconds"] == 95
    some = read.nights(pipeline.name, until=datetime(2026, 1, 3, tzinfo=UTC))
    assert len(some) == 3


def test_decisions_have_a_row_for_each_check(pipeline: RecordedPipeline) -> None:
    """And one without a check for a night whose record is gone."""
    decisions = read.decisions(pipeline.name)
    *gone, last = decisions.to_dict("records")
    assert {one["result"] for one in gone} == {""}
    assert (last["metric"], last["gain_low"], last["champion"]) == ("rmse", 0.4, float("inf"))
    assert last["outcome"] == "HELD"


def test_moves_are_those_of_the_history(pipeline: RecordedPipeline) -> None:
    """With '' for no champion."""
    moves = read.moves(pipeline.name)
    assert list(moves["before"]) == ["", "1"]
    assert list(moves["after"]) == ["1", "2"]
    assert set(moves["state"]) == {"moved"}
    with pytest.raises(TrackingRefusedError, match="There is no registered model"):
        read.moves("nobody's")


def test_without_nights_the_columns_are_the_same(pipeline: RecordedPipeline) -> None:
    """So that a report of a new pipeline does not fail."""
    for function in (read.nights, read.decisions):
        none = function(f"{pipeline.name} none")
        assert none.empty
        assert none.dtypes.equals(function(pipeline.name).dtypes)


@pytest.fixture
def _no_window() -> Iterator[None]:
    """Draw into memory."""
    before = mpl.get_backend()
    mpl.use("agg")
    yield
    import matplotlib.pyplot as plt

    plt.close("all")
    mpl.use(before)


@pytest.mark.usefixtures("_no_window")
def test_the_notebook_runs(pipeline: RecordedPipeline) -> None:
    """From its first cell to its last, with three pictures; it is stored without outputs."""
    import matplotlib.pyplot as plt

    names: dict[str, object] = {}
    for cell in json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]:
        if cell["cell_type"] == "code":
            assert not cell["outputs"]
            code = "".join(cell["source"]).replace('"diabetes"', repr(pipeline.name))
            exec(compile(code, str(NOTEBOOK), "exec"), names)  # noqa: S102 -- our own notebook
    assert len(plt.get_fignums()) == 3
