"""Every way in which a file of predictions can be wrong has its defined answer."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.errors import DecisionError
from understudy.evaluation import load, predictions


def test_a_file_and_a_frame_are_the_same(
    classification: Callable[..., pd.DataFrame], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Batches are put together as one; text, numbers, times (in UTC) and gaps survive."""
    monkeypatch.setattr(predictions, "_BATCH", 7)
    frame = classification(
        50,
        region=["north", None] * 25,
        age=[1.5, np.nan] * 25,
        when=pd.date_range("2026-01-01", periods=50),
        kind=pd.Categorical(["x", "y"] * 25),
        flag=[True, False] * 25,
    )
    table = pa.Table.from_pandas(frame)
    in_berlin = table["when"].cast(pa.timestamp("us", "Europe/Berlin"))
    table = table.set_column(table.schema.get_field_index("when"), "when", in_berlin)
    pq.write_table(table, tmp_path / "predictions.parquet", row_group_size=11)
    from_file, from_frame = load(tmp_path / "predictions.parquet"), load(frame)
    assert from_file.rows_sha256 == from_frame.rows_sha256
    shown = predictions.frame_of(from_file)
    pd.testing.assert_frame_equal(shown, predictions.frame_of(from_frame))
    in_order = shown.sort_values("when", ignore_index=True)
    assert in_order["region"].isna().tolist() == [False, True] * 25
    assert in_order["kind"].tolist() == ["x", "y"] * 25
    assert in_order["flag"].tolist() == ["true", "false"] * 25
    assert in_order["when"].iloc[0] == pd.Timestamp("2026-01-01")
    np.testing.assert_array_equal(in_order["age"], frame["age"])


@given(st.permutations(range(12)))
def test_the_order_of_rows_is_forgotten(
    regression: Callable[..., pd.DataFrame], order: list[int]
) -> None:
    """The same rows give the same arrays and the same digest."""
    frame = regression(12)
    shuffled = load(frame.iloc[order])
    assert shuffled.rows_sha256 == load(frame).rows_sha256
    np.testing.assert_array_equal(shuffled.target.data, load(frame).target.data)


@pytest.mark.parametrize("column", ["row_id", "target"])
def test_the_digest_is_of_ids_and_targets(
    regression: Callable[..., pd.DataFrame], column: str
) -> None:
    """Another id or another target is another holdout; another prediction is not."""
    frame = regression(5)
    changed = load(frame.assign(**{column: frame[column] + 100})).rows_sha256
    assert changed != load(frame).rows_sha256
    assert load(frame.assign(prediction=0.0)).rows_sha256 == load(frame).rows_sha256


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"row_id": [1, 1, 2, 2]}, "2 of 4 rows repeat the row_id of another"),
        ({"row_id": ["a", None, "b", "c"]}, "1 of 4 rows have no row_id"),
        ({"target": [1, np.nan, np.inf, 2]}, "2 of 4 rows have no finite target"),
        ({"target": ["a", None, "b", "b"]}, "1 of 4 rows have no finite target"),
        ({"weight": [1, -1, 1, -1]}, "2 of 4 weights are below zero"),
        ({"weight": [1, np.nan, 1, 1]}, "1 of 4 weights are missing or infinite"),
        ({"weight": [0, 0, 0, 0]}, "all weights are zero"),
    ],
)
def test_rows_that_cannot_be_compared(
    regression: Callable[..., pd.DataFrame], change: dict[str, Any], message: str
) -> None:
    """They are read, and say what is wrong with them."""
    assert load(regression(4).assign(**change)).problems == (message,)


def test_an_empty_holdout(regression: Callable[..., pd.DataFrame]) -> None:
    """No row is no evidence, and no error."""
    assert load(regression(4).iloc[:0]).problems == ("the holdout is empty",)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f[["row_id"]], "the frame lacks 'prediction', 'target'; it has 'row_id'"),
        (lambda f: f.assign(row_id=[0.5, 1.5, 2.5]), "row_id of the frame .* double"),
        (lambda f: f.assign(weight=list("abc")), "'weight' .* holds no numbers"),
        (lambda f: f.assign(probability_a=list("abc")), "'probability_a' .* no numbers"),
        (lambda f: f.assign(target=[[1], [2], [3]]), "target of the frame .* list"),
    ],
)
def test_what_are_no_predictions(
    regression: Callable[..., pd.DataFrame],
    change: Callable[[pd.DataFrame], pd.DataFrame],
    message: str,
) -> None:
    """The message names the column, and what it has to be."""
    frame = change(regression(3))
    with pytest.raises(DecisionError, match=f"{message}.*Allowed: .*Next: "):
        load(frame)


def test_a_file_that_is_none(tmp_path: Path) -> None:
    """Missing, and something else."""
    (tmp_path / "text").write_text("row_id,target")
    for name in ("text", "nothing"):
        with pytest.raises(DecisionError, match=re.escape(str(tmp_path / name))):
            load(tmp_path / name)


def test_a_file_that_breaks_off(regression: Callable[..., pd.DataFrame], tmp_path: Path) -> None:
    """Its head and its schema can be read, its rows cannot."""
    path = tmp_path / "predictions.parquet"
    regression(5000).to_parquet(path)
    content = bytearray(path.read_bytes())
    content[100:-5000] = bytes(len(content) - 5100)
    path.write_bytes(content)
    with pytest.raises(DecisionError, match="Found no predictions in"):
        load(path)


def test_columns_of_no_use_are_left_out(regression: Callable[..., pd.DataFrame]) -> None:
    """They do not keep the predictions from being read, and a note says so."""
    found = load(regression(3).assign(more=[[1], [2], [3]]))
    assert found.others == {}
    assert found.notes == ("columns that are no numbers, text or times: 'more'",)


def test_free_text_is_left_out_unless_asked_for(
    regression: Callable[..., pd.DataFrame], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A column with a text per row would take the memory of all of them."""
    monkeypatch.setattr(predictions, "MAX_NAMES", 3)
    frame = regression(9, customer=list("abcdefghi"), region=list("abcabcabc"))
    found = load(frame)
    assert set(found.others) == {"region"}
    assert found.notes == ("free text is not sliced by: 'customer'",)
    assert set(load(frame, keep=["customer"]).others) == {"customer", "region"}
    assert set(load(frame, others=[]).others) == set()
