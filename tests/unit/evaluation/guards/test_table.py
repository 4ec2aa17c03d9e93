"""Reading rows: kinds, digests that do not depend on storage, samples that do not on order."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from understudy.errors import DecisionError
from understudy.evaluation.guards import table as table_module
from understudy.evaluation.guards.table import RowTable, ValueKind

pytestmark = pytest.mark.unit


def written(path: Path, **columns: object) -> RowTable:
    """Return a table of arrays that was written and opened."""
    pq.write_table(pa.table(columns), path, row_group_size=3)
    return RowTable(path, "row_id")


def digests(table: RowTable) -> list[int]:
    """Return the digests of all rows."""
    return np.concatenate(list(table.digests(table.content))).tolist()


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (pa.array([1, None]), ValueKind.NUMBER),
        (pa.array([1.5, None]), ValueKind.NUMBER),
        (pa.array([True, None]), ValueKind.NUMBER),
        (pa.array([1, None], pa.decimal128(5, 2)), ValueKind.NUMBER),
        (pa.array(["a", None]), ValueKind.TEXT),
        (pa.array(["a", None]).dictionary_encode(), ValueKind.TEXT),
        (pa.array(["a", None], pa.large_string()), ValueKind.TEXT),
        (pa.array([0, None], pa.timestamp("ns")), ValueKind.TIME),
        (pa.array([0, None], pa.timestamp("s", "Europe/Berlin")), ValueKind.TIME),
        (pa.array([0, None], pa.date32()), ValueKind.TIME),
        (pa.array([None, None]), ValueKind.EMPTY),
        (pa.array([[1], None]), ValueKind.OTHER),
    ],
)
def test_kinds(tmp_path: Path, values: pa.Array, kind: ValueKind) -> None:
    """Every type is read, and what is missing stays missing."""
    table = written(tmp_path / "x.parquet", x=values)
    assert table.kinds == {"x": kind}
    assert table.column("x").isna().tolist() == [kind is ValueKind.EMPTY, True]
    assert len(digests(table)) == 2


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (pa.array([5, None]), pa.array([5.0, None])),
        (pa.array([0.0, float("nan")]), pa.array([-0.0, None])),
        (pa.array(["a", None]), pa.array(["a", None]).dictionary_encode()),
        (pa.array([10**6], pa.timestamp("us")), pa.array([1], pa.timestamp("s", "UTC"))),
    ],
)
def test_digests_are_of_values(tmp_path: Path, one: pa.Array, other: pa.Array) -> None:
    """How a value is stored does not matter."""
    tables = [written(tmp_path / f"{n}.parquet", x=x) for n, x in enumerate((one, other))]
    assert digests(tables[0]) == digests(tables[1])


def test_digests_do_not_depend_on_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Texts are hashed alone, not by their place among those of a batch."""
    texts = pa.array([f"text {n % 7}" for n in range(50)])
    table = written(tmp_path / "x.parquet", x=texts, y=pa.array(range(50)))
    whole = digests(table)
    monkeypatch.setattr(table_module, "CELLS_AT_ONCE", 10)
    assert digests(table) == whole


def test_a_sample_is_of_rows_not_of_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same rows are in it in whatever order they come, and about as many as asked."""
    monkeypatch.setattr(table_module, "SAMPLE_ROWS", 500)
    frame = pd.DataFrame({"row_id": [f"{n}-0" for n in range(5000)], "x": np.arange(5000.0)})
    samples = []
    for name, rows in (("a", frame), ("b", frame.sample(frac=1, random_state=0))):
        rows.to_parquet(tmp_path / name, index=False)
        table = RowTable(tmp_path / name, "row_id")
        samples.append(sorted(table.column("x").tolist()))
        assert table.sampled_rows == len(samples[-1])
    assert samples[0] == samples[1]
    assert 400 < len(samples[0]) < 600


def test_the_newest_time(tmp_path: Path) -> None:
    """It is UTC whatever the zone, and nothing where there is none."""
    table = written(
        tmp_path / "x.parquet",
        time=pa.array([0, 3600, None], pa.timestamp("s", "Europe/Berlin")),
        none=pa.array([None, None, None], pa.timestamp("s")),
    )
    assert table.newest("time") == pd.Timestamp("1970-01-01 01:00", tz="UTC")
    assert table.newest("none") is None
    assert table.newest("no such column") is None


def test_wrong_files(tmp_path: Path) -> None:
    """What is no table says so."""
    (tmp_path / "x").write_text("a,b")
    with pytest.raises(DecisionError, match="x cannot be read as Parquet"):
        RowTable(tmp_path / "x")
    table = written(tmp_path / "y.parquet", price=pa.array([1]))
    with pytest.raises(DecisionError, match=r"no column 'prise' \(did you mean 'price'\?\)"):
        table.column("prise")
