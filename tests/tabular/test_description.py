"""From a declaration or a file of the user's to the facts: columns, features, task, times."""

from __future__ import annotations

import datetime as dt
import re
import tempfile
from pathlib import Path

import pandas as pd
import pytest

from shared.commandline import read_as_of
from shared.errors import DataError, ParameterError
from tabular.datasets import find, known
from tabular.declaration import TimeColumn, UserFile
from tabular.description import check_columns, describe, with_parameters
from tabular.facts import Facts
from tabular.packed import Part
from tabular.reading import Reading
from tabular.sources import bring
from tabular.tables import Table, read_parquet
from tabular.times import before, stamped

pytestmark = pytest.mark.unit

NAMES = ("source", "target", "identity", "time_column", "leave_out")
NOTHING = {**dict.fromkeys(NAMES, ""), "task": "auto"}


def described(frame: pd.DataFrame, **given: str) -> Facts:
    """Return the facts of a CSV of the user's."""
    data_set = with_parameters(find("csv"), {**NOTHING, "target": "price", **given})
    check_columns(data_set, frame)
    how = Reading(target=data_set.target, identity=data_set.identity)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.parquet"
        frame.to_parquet(path, index=False)
        return describe(data_set, read_parquet([Part(path, path.name)], how))


def test_every_declaration_is_complete() -> None:
    """Names agree with modules; all but the user's own files declare target, task and columns."""
    assert set(known()) >= {
        *("diabetes", "breast_cancer", "digits", "wine_quality", "bike_sharing"),
        *("world_happiness", "csv", "parquet"),
    }
    for name, data_set in known().items():
        assert data_set.name == name
        if not (isinstance(data_set.source, UserFile) and data_set.source.described):
            assert data_set.target in data_set.columns
            assert data_set.task != "auto"
            assert data_set.terms


@pytest.mark.parametrize("name", ["diabetes", "breast_cancer", "digits"])
def test_bundled_sets_fit_their_declaration(name: str, tmp_path: Path) -> None:
    """Every declared column is there and every row passes the schema."""
    from tabular.schema import check

    data_set = find(name)
    frame = bring(data_set, "", Reading(), tmp_path).table.frame
    check_columns(data_set, frame)
    facts = describe(data_set, Table(frame))
    assert set(facts.features) == set(frame.columns) - {"target"}
    assert check(frame, facts).rejected == 0


def test_bike_sharing_and_happiness_leave_out_the_target_in_disguise(
    test_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Parts and error bars of the target are no features, in the real files."""
    monkeypatch.setenv("UNDERSTUDY_DATA_MIRROR", str(test_data))
    bikes = find("bike_sharing")
    assert bikes.time
    table = stamped(bring(bikes, "", Reading(), tmp_path / "b").table, bikes.time, Reading())
    facts = describe(bikes, table)
    assert len(table.frame) == 17_379
    assert not {"casual", "registered", "instant", "dteday", "time", "cnt"} & set(facts.features)
    happy = find("world_happiness")
    source = str(test_data / "world-happiness-2021" / "world-happiness-report-2021.csv")
    frame = bring(happy, source, Reading(), tmp_path / "h").table.frame
    facts = describe(happy, Table(frame))
    assert len(frame) == 149
    assert len(facts.features) == 7
    assert len(facts.left_out) == 12


def test_wine_is_stacked_with_its_colour(
    test_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both pinned files, one table."""
    monkeypatch.setenv("UNDERSTUDY_DATA_MIRROR", str(test_data / "wine-quality"))
    frame = bring(find("wine_quality"), "", Reading(), tmp_path).table.frame
    assert frame["color"].value_counts().to_dict() == {"white": 4898, "red": 1599}
    red = bring(find("wine_quality_red"), "", Reading(), tmp_path).table.frame
    assert list(red) == [name for name in frame if name != "color"]
    assert len(red) == 1599


def test_a_users_file_is_described_by_its_values(frame: pd.DataFrame) -> None:
    """Numbers, texts, identity and columns that are no features."""
    odd = frame.assign(
        note=[f"note {row} <" for row in range(40)],
        code=["7" if row else "?" for row in range(40)],
        empty=float("nan"),
    )
    facts = described(odd, identity="id", leave_out="si*")
    assert facts.task == "regression"
    assert facts.columns["code"].kind == "number"
    assert facts.columns["colour"].kind == "text"
    assert facts.left_out == {
        "id": "the identity of the row",
        "size": "parameter leave_out",
        "empty": "no values",
    }
    assert facts.features == ("colour", "note", "code")


@pytest.mark.parametrize(
    ("target", "task", "expected"),
    [
        ("price", "auto", "regression"),
        ("colour", "auto", "classification"),
        ("kind", "auto", "classification"),
        ("kind", "regression", "regression"),
    ],
)
def test_the_task_follows_from_the_target(
    frame: pd.DataFrame, target: str, task: str, expected: str
) -> None:
    """Text and a few whole numbers are classes, unless the user says otherwise."""
    assert described(frame.assign(kind=frame["id"] % 3), target=target, task=task).task == expected


def test_whole_numbers_that_were_taken_for_classes_are_named(frame: pd.DataFrame) -> None:
    """With how to say that they are numbers; nothing is said where the user did say it."""
    marks = frame.assign(price=frame["id"] % 6 + 3)
    words = "6 classes, as it holds so many whole numbers (-P task=regression predicts a number)"
    assert described(marks).taken["price"] == words
    for task in ("regression", "classification"):
        assert "task=" not in described(marks, task=task).taken["price"]


@pytest.mark.parametrize("task", ["auto", "regression", "classification"])
@pytest.mark.parametrize("kind", ["float64", "str"])
def test_a_target_without_a_value_is_of_no_task(frame: pd.DataFrame, task: str, kind: str) -> None:
    """A column that nobody has filled in is named; it is not taken for classes."""
    nothing = frame.assign(price=pd.Series([None] * len(frame), dtype=kind))
    with pytest.raises(DataError, match="target 'price' has no value in any row"):
        described(nothing, task=task)


def test_text_cannot_be_regressed(frame: pd.DataFrame) -> None:
    """Asked for a regression on text, the message shows a value."""
    with pytest.raises(DataError, match="'colour' holds text"):
        described(frame, target="colour", task="regression")


def test_missing_columns_come_with_the_nearest_name(frame: pd.DataFrame) -> None:
    """All of them in one message."""
    words = re.escape("missing column 'prize' (did you mean 'price'?), 'key' in csv")
    with pytest.raises(DataError, match=words):
        described(frame, target="prize", identity="key")


@pytest.mark.parametrize(
    ("dataset", "given", "words"),
    [
        ("csv", {}, "'csv' needs a target"),
        ("wine_quality", {"target": "pH"}, "data set 'wine_quality' is declared"),
        ("wine_quality_red", {"source": "red.csv"}, "what was given: source. Allowed: .*MIRROR"),
        ("diabetes", {"source": "own.csv"}, "what was given: source"),
        ("diabetes", {"task": "classification"}, "what was given: task"),
    ],
)
def test_parameters_that_do_not_belong(dataset: str, given: dict[str, str], words: str) -> None:
    """A declared fact is not given again; a file of the user's needs a target."""
    with pytest.raises(ParameterError, match=words):
        with_parameters(find(dataset), {**NOTHING, **given})


def test_an_unknown_data_set() -> None:
    """The nearest name is suggested."""
    with pytest.raises(ParameterError, match=r"'diabets' \(did you mean 'diabetes'\?\)"):
        find("diabets")


def test_as_of_a_date_ends_before_its_midnight() -> None:
    """A row of 00:00 of that day is not there yet; a naive time is UTC."""
    times = pd.date_range("2026-01-01", periods=48, freq="h", tz="UTC")
    frame = pd.DataFrame({"time": times})
    assert len(before(frame, "time", read_as_of("2026-01-02"))) == 24
    assert len(before(frame, "time", read_as_of("2026-01-02T06:00:00"))) == 30
    assert len(before(frame, "time", read_as_of("2026-01-02T06:00:00+06:00"))) == 24
    assert len(before(frame, "time", read_as_of(""))) == 48
    with pytest.raises(DataError, match="not one row; the first is of 2026-01-01"):
        before(frame, "time", dt.datetime(2025, 1, 1, tzinfo=dt.UTC))
    with pytest.raises(ParameterError, match="'as_of' is 'yesterday'"):
        read_as_of("yesterday")


def test_rows_without_a_time_are_malformed() -> None:
    """They cannot be placed, so they are set aside and told."""
    frame = pd.DataFrame({"day": ["2026-01-01", "soon"], "a": [1, 2]})
    table = stamped(Table(frame), TimeColumn("day"), Reading())
    assert len(table.frame) == 1
    assert [bad.reason for bad in table.malformed] == ["no time in 'day'"]
    with pytest.raises(DataError, match="'day' holds no time"):
        stamped(Table(frame.tail(1)), TimeColumn("day"), Reading())
