"""The schema check and its report: rows that fail are counted, listed and explained."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tabular.declaration import Column
from tabular.facts import Facts
from tabular.report import Report
from tabular.schema import check

pytestmark = pytest.mark.unit

FACTS = Facts(
    dataset="demo",
    task="regression",
    target="price",
    columns={
        "size": Column(minimum=0, maximum=100, nullable=True),
        "colour": Column(kind="text", choices=("red", "blue")),
        "price": Column(),
    },
    features=("size", "colour"),
    left_out={"id": "<b>identity</b>"},
)


def faulty(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the frame with one fault per row in rows 1 to 6, and a missing size in row 0."""
    sizes: list[object] = [str(size) for size in frame["size"]]
    sizes[0:5] = [None, "twelve <script>", "-1", "101", "inf"]
    prices = frame["price"].copy()
    prices[5] = np.nan
    colours = frame["colour"].copy()
    colours[6] = "green"
    return frame.assign(size=pd.Series(sizes, dtype="str"), price=prices, colour=colours)


def test_clean_rows_pass(frame: pd.DataFrame) -> None:
    """Nothing is rejected and nothing is changed."""
    checked = check(frame, FACTS)
    assert checked.rejected == 0
    assert checked.failures.empty
    assert checked.rows["size"].tolist() == frame["size"].tolist()


def test_every_fault_is_found(frame: pd.DataFrame) -> None:
    """Each row is rejected for its own reason; a missing feature that may be missing is not."""
    checked = check(faulty(frame), FACTS)
    found = list(checked.failures[["row", "column", "rule"]].itertuples(index=False, name=None))
    assert checked.rejected == 6
    assert (1, "size", "is a number") in found
    assert (2, "size", "is at least 0") in found
    assert (3, "size", "is at most 100") in found
    assert (4, "size", "is finite") in found
    assert (5, "price", "is not missing") in found
    assert (6, "colour", "is one of ['red', 'blue']") in found
    assert checked.rows["size"].dtype == "float64"
    assert len(checked.rows) == 34


def test_the_report_counts_and_escapes(frame: pd.DataFrame, tmp_path: Path) -> None:
    """JSON for machines, HTML for people, and nothing from the data becomes markup."""
    malformed = [{"line": 9, "reason": "2 fields instead of 4", "text": "<i>cut</i>"}]
    report = Report(FACTS, 41, malformed, check(faulty(frame), FACTS))
    report.write(tmp_path)
    content = json.loads((tmp_path / "schema_report.json").read_text())
    assert (content["rows"], content["rejected"]) == (41, 7)
    assert content["share"] == pytest.approx(7 / 41)
    assert {"row": 1, "column": "size", "rule": "is a number", "value": "twelve <script>"} in (
        content["rejected_rows"]
    )
    page = (tmp_path / "schema_report.html").read_text()
    assert "twelve &lt;script&gt;" in page
    assert "&lt;i&gt;cut&lt;/i&gt;" in page
    assert "<script>" not in page
    assert "<b>identity" not in page


def test_facts_survive_the_way_through_a_file(tmp_path: Path) -> None:
    """Written and read back they are equal."""
    FACTS.write(tmp_path)
    assert Facts.read(tmp_path) == FACTS
