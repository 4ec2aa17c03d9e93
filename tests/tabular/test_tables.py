"""Reading files as they are met in the wild: nothing is lost or guessed in silence."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from tabular.errors import DataError
from tabular.tables import read_csv, read_parquet

pytestmark = pytest.mark.unit

Write = Callable[[str], Path]


@pytest.mark.parametrize(
    "text",
    [
        "a,b\n1,x\n2,y\n",
        "\ufeffa,b\r\n1,x\r\n2,y\r\n",
        "a,b\r\r\n1,x\r\r\n2,y\r\r\n",
        "a,b\n\n1,x\n\n\n2,y",
        "a,b\n 1 ,x\n2 ,y\n",
        "a,b\r1,x\r2,y\r",
    ],
    ids=["plain", "BOM and CRLF", "doubled CRLF", "blank lines", "stray spaces", "CR"],
)
def test_forms_of_one_table(csv_file: Write, text: str) -> None:
    """All of them are the same two rows."""
    table = read_csv(csv_file(text), ",")
    assert table.frame["a"].tolist() == [1, 2]
    assert table.frame["b"].tolist() == ["x", "y"]
    assert not table.malformed


def test_rows_with_another_number_of_fields_are_collected(csv_file: Write) -> None:
    """A line that was split or cut is kept for the report with its number."""
    table = read_csv(csv_file("a,b,c\n1,2,3\n4,5\n6,7,8,9\n1,2,3\n"), ",")
    assert len(table.frame) == 2
    assert [(bad.line, bad.reason) for bad in table.malformed] == [
        (3, "2 fields instead of 3"),
        (4, "4 fields instead of 3"),
    ]


def test_missing_values_and_a_text_among_numbers(csv_file: Write) -> None:
    """NA and blanks are missing; one text keeps the whole column as text for the schema check."""
    frame = read_csv(csv_file("a,b,c\n1,NA,x\n,2.5,y\n3,oops,\n"), ",").frame
    assert frame["a"].isna().tolist() == [False, True, False]
    assert frame["b"].tolist()[1:] == ["2.5", "oops"]
    assert frame["c"].isna().sum() == 1


def test_identities_keep_their_zeros(csv_file: Write) -> None:
    """'007' is not 7."""
    assert read_csv(csv_file("id,a\n007,1\n"), ",", ("id",)).frame["id"].tolist() == ["007"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is empty"),
        ("   \n", "is empty"),
        ("a,b\n", "is empty"),
        ("<!doctype html><title>Log in</title>", "HTML page"),
        ("a,a\n1,2\n", "'a' more than once"),
    ],
)
def test_files_that_are_no_table(csv_file: Write, text: str, words: str) -> None:
    """Each is refused with what was found."""
    with pytest.raises(DataError, match=words):
        read_csv(csv_file(text), ",")


def test_another_encoding_is_refused(tmp_path: Path) -> None:
    """Latin-1 is not guessed; the message says UTF-8."""
    path = tmp_path / "latin.csv"
    path.write_bytes("name\nM\xfcnchen\n".encode("latin-1"))
    with pytest.raises(DataError, match=r"(?i)invalid utf-?8.*save the file again as UTF-8"):
        read_csv(path, ",")


def test_parquet_types_become_plain(tmp_path: Path) -> None:
    """Truth values are 0 and 1, categories are texts; a CSV is no Parquet file."""
    path = tmp_path / "x.parquet"
    pd.DataFrame({"yes": [True, False], "c": pd.Categorical(["u", "v"])}).to_parquet(path)
    frame = read_parquet(path).frame
    assert frame["yes"].tolist() == [1, 0]
    assert frame["c"].tolist() == ["u", "v"]
    path.write_text("a,b\n1,2\n")
    with pytest.raises(DataError, match="could not be read"):
        read_parquet(path)
