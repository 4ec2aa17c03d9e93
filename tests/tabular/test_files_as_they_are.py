"""Every file of tests/fixtures/wild_*.py is read right, or refused in three parts."""

from __future__ import annotations

import math
import re
import runpy
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from tests.fixtures.wild_cases import CASES, ODD, quoted_line_ends
from tests.fixtures.wild_tables import KINDS, Kind

from shared.errors import StepError
from tabular import download
from tabular.facts import Facts
from tabular.tables import Table
from understudy.cli.main import main

pytestmark = pytest.mark.unit

READ = [kind for kind in (*KINDS, *CASES, *ODD) if not kind.refused]
REFUSED = [kind for kind in (*KINDS, *CASES, *ODD) if kind.refused]
DEFAULTS = {option.name: option.default for option in download.OPTIONS}


def delivered(source: Path, folder: Path, **given: str) -> tuple[Facts, Table]:
    """Return what `download` makes of a file whose target is y, unless said otherwise."""
    values = {**DEFAULTS, "dataset": "csv", "target": "y", "source": str(source), **given}
    facts, delivery = download.delivered(values, folder / "incoming")
    return facts, delivery.table


def plain(value: Any) -> Any:  # noqa: ANN401 -- any cell
    """Return a cell as the fixtures write it: None where it is missing."""
    return None if pd.isna(value) else value


def same(cells: pd.Series, right: Sequence[Any]) -> bool:
    """Whether the cells are these values, to the last digit that a float has."""
    pairs = list(zip(map(plain, cells.tolist()), right, strict=True))
    return all(
        math.isclose(cell, value, rel_tol=1e-12)
        if isinstance(value, float) and cell is not None
        else cell == value
        for cell, value in pairs
    )


@pytest.mark.parametrize("kind", READ, ids=[kind.name for kind in READ])
def test_a_file_is_read_right(kind: Kind, tmp_path: Path) -> None:
    """Every value; which columns are used, as numbers or texts; which lines are no rows."""
    check_read(kind, tmp_path)


def check_read(kind: Kind, folder: Path) -> None:
    """Check all that a file says."""
    folder.mkdir(exist_ok=True)
    given = {"source": str(kind.write(folder)), **kind.given}
    facts, table = delivered(Path(given.pop("source")), folder, **given)
    for name, right in kind.right.items():
        assert same(table.frame[name], right), name
    used = set(kind.right) - set(kind.left_out)
    assert {*facts.features, facts.target} == used
    assert len(table.malformed) == kind.malformed
    texts = {name for name in used if any(isinstance(value, str) for value in kind.right[name])}
    faulty = {"b"} if "fault" in kind.name else set()
    assert {name for name in used if facts.columns[name].kind == "text"} == texts - faulty
    # Each column that is used is in the words for the log and the run.
    assert used <= set(facts.taken)


OPTIONS = {"time_column": "time", "identity": "id"}
"""Of `understudy init dag`, where they are not called as the parameter is."""
ASKED = ("time_column", "time_format", "identity", "decimal", "encoding")


@pytest.mark.parametrize("kind", READ, ids=[kind.name for kind in READ])
def test_what_init_writes_down_reads_it_so(
    kind: Kind, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`understudy init dag` finds the separator; a night reads what it looked at."""
    monkeypatch.chdir(tmp_path)
    given = {"dataset": "csv", **kind.given}
    source = kind.write(tmp_path)
    if source.suffix != f".{given['dataset']}":
        pytest.skip("init tells the form by the name, and looks into no folder")
    asked = [
        f"--{OPTIONS.get(name, name).replace('_', '-')}={given[name]}"
        for name in ASKED
        if name in given
    ]
    words = ["init", "dag", "p", f"--data={source}", f"--target={given.get('target', 'y')}", *asked]
    assert main(words) == 0
    found = runpy.run_path("dags/p.py")["dag"].get_task("pin").pipeline.parameters
    check_read(replace(kind, given={**given, **found}, write=lambda _folder: source), tmp_path)


@pytest.mark.parametrize("kind", REFUSED, ids=[kind.name for kind in REFUSED])
def test_or_refused_by_name_with_a_way_out(kind: Kind, tmp_path: Path) -> None:
    """What was found, what is allowed and what to do; not worth another try."""
    with pytest.raises(StepError) as raised:
        delivered(kind.write(tmp_path), tmp_path, **kind.given)
    assert raised.value.exit_code == 65
    assert re.search(kind.refused, str(raised.value), re.DOTALL)
    assert re.search(r"\. Allowed: .+\. Next: .+\.$", str(raised.value), re.DOTALL)


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("padding", [0, 1, 39])
def test_a_quoted_line_end_at_the_end_of_a_block(padding: int, end: str, tmp_path: Path) -> None:
    """No row is cut in two where the reader's block ends, whatever its offset."""
    check_read(quoted_line_ends(padding, end), tmp_path)


@pytest.mark.long("reads 52,001 rows eighty times")
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_quoted_line_end_at_every_offset(end: str, tmp_path: Path) -> None:
    """Of 40 paddings 13 were once read wrong in silence."""
    for padding in range(40):
        check_read(quoted_line_ends(padding, end), tmp_path / str(padding))


def test_numbers_that_may_be_codes_are_said(tmp_path: Path) -> None:
    """12E3 is a number to every reader, and a code to whoever wrote it: the log shows it."""
    source = tmp_path / "t.csv"
    source.write_text(
        "a,x,y\n" + "".join(f"1.5e-{i % 7},{i % 9}E{i % 8},{i % 5}\n" for i in range(60))
    )
    facts, _ = delivered(source, tmp_path)
    assert facts.taken["x"] == "number (0E0 is 0, unless it is a code)"
    assert facts.taken["a"] == "number"
    facts, table = delivered(source, tmp_path / "again", column_types="x:text")
    assert table.frame["x"].tolist()[:2] == ["0E0", "1E1"]


def test_a_class_that_is_called_na_is_a_class(tmp_path: Path) -> None:
    """Words that often mean "missing" are values among texts, also in the target."""
    rows = [f"{('NA', 'DE', 'FR')[i % 3]},{i},{('None', 'NA', 'null')[i // 20]}" for i in range(60)]
    path = tmp_path / "t.csv"
    path.write_text("\n".join(["country,x,y", *rows]))
    facts, table = delivered(path, tmp_path)
    assert facts.task == "classification"
    assert table.frame["y"].value_counts().to_dict() == {"None": 20, "NA": 20, "null": 20}
    assert table.frame["country"].isna().sum() == 0
    _, table = delivered(path, tmp_path / "again", missing_words="NA")
    assert table.frame["y"].value_counts().to_dict() == {"None": 20, "null": 20}
    assert table.frame["country"].isna().sum() == 20


@pytest.mark.parametrize("packed", ["frame.parquet", "frame.csv"])
def test_the_index_of_a_filtered_frame_is_no_feature(packed: str, tmp_path: Path) -> None:
    """It is left out, and said: it rises with the target in sorted rows and means nothing later."""
    frame = pd.DataFrame({"x": range(600), "y": [i * 2 for i in range(600)]})
    filtered, path = frame[frame.x % 7 < 3], tmp_path / packed
    if path.suffix == ".csv":
        filtered.to_csv(path)
    else:
        filtered.to_parquet(path)
    facts, table = delivered(path, tmp_path, dataset=path.suffix[1:])
    assert facts.features == ("x",)
    assert list(table.frame.columns) == ["x", "y"]
    assert any("index that pandas writes" in why for why in facts.left_out.values())


def test_an_hour_that_a_zone_has_twice_is_no_time(tmp_path: Path) -> None:
    """Of a naive 02:30 at the end of daylight saving nobody knows which one it was."""
    hours = pd.date_range("2026-10-25 00:30", periods=60, freq="h")
    path = tmp_path / "t.csv"
    pd.DataFrame({"t": hours, "x": range(60), "y": range(60)}).to_csv(path, index=False)
    facts, table = delivered(path, tmp_path, time_column="t", time_zone="Europe/Berlin")
    assert len(table.frame) == 59
    assert [line.reason for line in table.malformed] == ["no time in 't'"]
    assert table.frame["t"][2] == pd.Timestamp("2026-10-25 02:30", tz="UTC")
    assert "Europe/Berlin" in facts.taken["t"]


@pytest.mark.parametrize("given", ["identity", "leave_out"])
def test_a_row_id_of_the_users_gives_way_to_ours(given: str, tmp_path: Path) -> None:
    """Where it is no feature: its values stay, under another name."""
    path = tmp_path / "t.csv"
    path.write_text("row_id,x,y\n" + "".join(f"r{i},{i},{i % 7}\n" for i in range(60)))
    facts, table = delivered(path, tmp_path, **{given: "row_id"})
    assert "row_id" not in table.frame
    assert table.frame["row_id of the file"].tolist()[:2] == ["r0", "r1"]
    assert facts.identity == (("row_id of the file",) if given == "identity" else ())
    assert facts.features == ("x",)
