"""Reading files as they are met in the wild: nothing is lost or guessed in silence."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from shared.errors import DataError
from tabular.packed import Part
from tabular.reading import Reading
from tabular.tables import Table, read_csv, read_parquet

pytestmark = pytest.mark.unit

Write = Callable[[str], Path]


def csv_table(path: Path, **how: Any) -> Table:
    """Return what is read of one CSV file."""
    return read_csv([Part(path, path.name)], Reading(**how))


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
    table = csv_table(csv_file(text))
    assert table.frame["a"].tolist() == [1, 2]
    assert table.frame["b"].tolist() == ["x", "y"]
    assert not table.malformed


def test_rows_with_another_number_of_fields_are_collected(csv_file: Write) -> None:
    """A line that was split or cut is kept for the report with its number."""
    table = csv_table(csv_file("a,b,c\n1,2,3\n4,5\n6,7,8,9\n1,2,3\n"))
    assert len(table.frame) == 2
    assert [(bad.line, bad.reason) for bad in table.malformed] == [
        (3, "2 fields instead of 3"),
        (4, "4 fields instead of 3"),
    ]


def test_missing_values_and_a_text_among_numbers(csv_file: Write) -> None:
    """Blanks are missing, NA among numbers; one text keeps a column as it is for the check."""
    rows = "1,NA,x\n,2.5,y\n3,oops,\n" + "4,3.5,NA\n" * 6
    table = csv_table(csv_file(f"a,b,c\n{rows}"))
    frame = table.frame
    assert frame["a"].isna().tolist() == [False, True, *[False] * 7]
    assert frame["b"].tolist()[1:4] == ["2.5", "oops", "3.5"]
    assert frame["b"].isna().sum() == 1
    assert table.taken["b"].kind == "number"
    assert frame["c"].isna().sum() == 1


def test_identities_keep_their_zeros(csv_file: Write) -> None:
    """An identity is the text that it is, also where it looks like a number."""
    table = csv_table(csv_file("id,a\n7,1\n"), identity=("id",))
    assert table.frame["id"].tolist() == ["7"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is empty"),
        ("   \n", "is empty"),
        ("a,b\n", "is empty"),
        ("a,b", "is empty"),
        ("a,b\r", "is empty"),
        ("\ufeff", "is empty"),
        ("\ufeff \n\n", "is empty"),
        ("\ufeffa,b", "is empty"),
        ("<!doctype html><title>Log in</title>", "HTML page"),
        ("a,a\n1,2\n", "'a' more than once"),
    ],
)
def test_files_that_are_no_table(csv_file: Write, text: str, words: str) -> None:
    """Each is refused with what was found."""
    with pytest.raises(DataError, match=words):
        csv_table(csv_file(text))


def test_another_encoding_is_refused(tmp_path: Path) -> None:
    """Latin-1 is not guessed; the message says UTF-8."""
    path = tmp_path / "latin.csv"
    path.write_bytes("name\nM\xfcnchen\n".encode("latin-1"))
    with pytest.raises(DataError, match=r"line 2 of latin.csv is not UTF-8.*encoding=cp1252"):
        csv_table(path)


def test_parquet_types_become_plain(tmp_path: Path) -> None:
    """Truth values are 0 and 1, categories are texts; a CSV is no Parquet file."""
    path = tmp_path / "x.parquet"
    pd.DataFrame({"yes": [True, False], "c": pd.Categorical(["u", "v"])}).to_parquet(path)
    frame = read_parquet([Part(path, path.name)], Reading()).frame
    assert frame["yes"].tolist() == [1, 0]
    assert frame["c"].tolist() == ["u", "v"]
    path.write_text("a,b\n1,2\n")
    with pytest.raises(DataError, match="could not be read"):
        read_parquet([Part(path, path.name)], Reading())
