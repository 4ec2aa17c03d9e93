"""Fingerprints, row ids, content digest and split: stable for ever, whatever the order or type."""

from __future__ import annotations

import hashlib
import random

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.errors import DataError, ParameterError
from tabular.identity import SALT, content_sha256, fingerprints, row_ids, split_positions
from tabular.split import Split, split, with_row_ids

pytestmark = pytest.mark.unit

CELLS = st.one_of(st.text(max_size=5), st.sampled_from(["\x00", "\x1f", "\\", "\\0"]))
ROWS = st.lists(st.tuples(CELLS, st.floats(allow_nan=False, allow_infinity=False)), min_size=1)


def as_frame(rows: list[tuple[str, float]]) -> pd.DataFrame:
    """Return rows of a text and a number."""
    return pd.DataFrame(
        {
            "text": pd.Series([row[0] for row in rows], dtype="object"),
            "number": [row[1] for row in rows],
        }
    )


def test_the_fingerprint_is_pinned() -> None:
    """A change here would move rows between training and holdout on every installation."""
    frame = pd.DataFrame({"a": [5, 6], "b": ["x", None]})
    assert [p.tobytes().hex()[:16] for p in fingerprints(frame, ["a", "b"])] == [
        "ecf7faffbc0c9bae",
        "504f6a2833ebf271",
    ]


def test_a_number_has_one_identity_in_every_type() -> None:
    """5, 5.0 and a nullable 5 are one row."""
    kinds = ["int64", "float64", "Int64", "Float64", "int8"]
    frames = [pd.DataFrame({"a": pd.Series([5], dtype=kind)}) for kind in kinds]
    assert len({fingerprints(one, ["a"]).tobytes() for one in frames}) == 1


@given(ROWS)
@settings(max_examples=60, deadline=None)
def test_different_rows_have_different_fingerprints(rows: list[tuple[str, float]]) -> None:
    """Equal rows agree, others do not: separators inside texts do not confuse them."""
    prints = fingerprints(as_frame(rows), ["text", "number"])
    assert len(np.unique(prints, axis=0)) == len({(text, number + 0.0) for text, number in rows})


@given(ROWS, st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None)
def test_a_row_keeps_its_part_whatever_comes_with_it(
    rows: list[tuple[str, float]], order: random.Random
) -> None:
    """More rows, fewer rows, another order: the position of a row stays the same."""
    columns = ["text", "number"]
    alone = {row: split_positions(fingerprints(as_frame([row]), columns))[0] for row in rows}
    shuffled = list(rows)
    order.shuffle(shuffled)
    together = split_positions(fingerprints(as_frame(shuffled), columns))
    assert [alone[row] for row in shuffled] == list(together)
    assert all(0 <= position < 1 for position in together)


@given(ROWS)
@settings(max_examples=60, deadline=None)
def test_row_ids_are_unique(rows: list[tuple[str, float]]) -> None:
    """Duplicated rows get different numbers."""
    ids = row_ids(fingerprints(as_frame(rows * 2), ["text", "number"]))
    assert len(set(ids)) == 2 * len(rows)


def test_the_content_digest_sees_every_cell(frame: pd.DataFrame) -> None:
    """A changed cell, name, order or missing value changes it; a copy and another type do not."""
    digest = content_sha256(frame)
    assert content_sha256(frame.copy()) == digest
    assert content_sha256(frame.astype({"id": "float64"})) == digest
    others = [
        frame.rename(columns={"size": "length"}),
        frame[::-1],
        frame.assign(size=frame["size"].where(frame["id"] != 39)),
        frame.assign(colour=frame["colour"].where(frame["id"] != 39, "green")),
        frame[["size", "id", "colour", "price"]],
    ]
    assert len({digest, *map(content_sha256, others)}) == len(others) + 1


DIGEST = "97d36495b404d2236f44a33e676ffc9d00338842897e0635ef9cf1766f38291e"


@given(st.lists(st.one_of(st.none(), CELLS), max_size=8), st.integers(0, 3))
@settings(max_examples=60, deadline=None)
def test_texts_are_digested_as_they_lie(cells: list[str | None], start: int) -> None:
    """The same digest as of one Python object after another, of a slice of a column as well."""
    texts = pd.Series(cells, dtype="str")
    objects = texts.astype("object")
    for part in (slice(None), slice(start, None)):
        frame, plain = texts[part].to_frame("t"), objects[part].to_frame("t")
        assert content_sha256(frame) == content_sha256(plain)


TIMES = ["2026-01-31 23:59:59", "1969-12-31 00:00:01", "2026-03-29 01:30:00", None]


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("zone", [None, "UTC", "Europe/Berlin"])
@pytest.mark.parametrize("further", ["1700-01-01 00:00:00", "2026-01-01 00:00:00.25"])
def test_times_are_digested_as_they_are_written(unit: str, zone: str | None, further: str) -> None:
    """The same digest as of one Python object after another, whatever the unit and the zone."""
    times = pd.Series(pd.to_datetime([*TIMES, further], format="ISO8601")).dt.tz_localize(zone)
    frame = times.dt.as_unit(unit).to_frame("t")
    assert content_sha256(frame) == content_sha256(frame.astype("object"))
    assert content_sha256(frame.iloc[1:3]) == content_sha256(frame.iloc[1:3].astype("object"))
    nothing = frame.iloc[3:4]
    assert content_sha256(nothing) == content_sha256(nothing.astype("object"))


def test_the_digest_of_today_is_that_of_tomorrow() -> None:
    """Another way of computing it must not make every data set look new."""
    frame = pd.DataFrame({"t": ["a", None, "\\b\x1f", "\u00e4"], "n": [1.5, np.nan, -0.0, 3]})
    assert content_sha256(frame) == DIGEST


def test_the_hash_split_has_about_the_asked_size() -> None:
    """Of ten thousand rows a fifth is held out, and a larger fraction only adds rows."""
    frame = pd.DataFrame({"id": range(10_000)})
    numbered, prints = with_row_ids(frame, ["id"])
    small = split(numbered, prints, "", Split("hash", 0.2))[1]
    large = split(numbered, prints, "", Split("hash", 0.3))[1]
    assert 1880 < len(small) < 2120
    assert set(small["id"]) < set(large["id"])


def test_duplicates_fall_into_the_same_part(frame: pd.DataFrame) -> None:
    """The same row twice is never in training and in the holdout."""
    twice = pd.concat([frame, frame], ignore_index=True)
    numbered, prints = with_row_ids(twice, ["id", "size"])
    train, holdout = split(numbered, prints, "", Split("hash", 0.3))
    assert not set(train["id"]) & set(holdout["id"])
    assert len(train) + len(holdout) == 80


def test_the_newest_window_is_held_out() -> None:
    """The last days, and before them only the days that train."""
    times = pd.date_range("2026-01-01", periods=240, freq="h", tz="UTC")
    frame = pd.DataFrame({"id": range(240), "time": times})
    numbered, prints = with_row_ids(frame, ["id"])
    how = Split("newest", holdout_days=2, training_days=3)
    train, holdout = split(numbered, prints, "time", how)
    assert (len(train), len(holdout)) == (72, 48)
    assert train["time"].max() < holdout["time"].min()
    assert holdout["time"].max() == times[-1]


def test_too_few_rows_are_refused(frame: pd.DataFrame) -> None:
    """The message says how many rows each part needs."""
    numbered, prints = with_row_ids(frame.head(12), ["id"])
    with pytest.raises(DataError, match=r"split of 12 rows.*at least \d+ (training|holdout) rows"):
        split(numbered, prints, "", Split("hash", 0.2))


@pytest.mark.parametrize(("time", "days"), [("", 3.0), ("time", 0.0)])
def test_a_newest_window_needs_times_and_days(time: str, days: float) -> None:
    """Without either, the parameter is refused."""
    frame = pd.DataFrame({"time": pd.date_range("2026-01-01", periods=50, tz="UTC")})
    numbered, prints = with_row_ids(frame, ["time"])
    with pytest.raises(ParameterError, match="newest"):
        split(numbered, prints, time, Split("newest", holdout_days=days))


def test_large_whole_numbers_keep_all_their_digits() -> None:
    """Identifiers above 2**53 differ by one in the last digit: so do digests and fingerprints."""
    one, other = (pd.DataFrame({"id": [2**60, 2**60 + step]}) for step in (1, 2))
    assert content_sha256(one) != content_sha256(other)
    assert (fingerprints(one, ["id"])[1] != fingerprints(other, ["id"])[1]).any()


def written(value: float) -> str:
    """Return a number as fingerprints have known it from the first night on."""
    return repr(value + 0.0).removesuffix(".0")


EXPONENTS = st.tuples(st.floats(-9.99, 9.99), st.integers(-8, 18)).map(
    lambda x: x[0] * 10.0 ** x[1]
)


@given(st.lists(st.one_of(EXPONENTS, st.integers(-(10**16), 10**16).map(float)), min_size=1))
@settings(max_examples=100, deadline=None)
def test_numbers_are_written_as_python_writes_them(values: list[float]) -> None:
    """With other digits, or another exponent, a row would be another one."""
    for some in (values, [value for value in values if 1e-4 <= abs(value) < 1e9]):
        prints = fingerprints(pd.DataFrame({"a": pd.Series(some, dtype="float64")}), ["a"])
        wanted = [hashlib.sha256(SALT + written(value).encode()).digest() for value in some]
        assert prints.tobytes() == b"".join(wanted)


def test_row_ids_count_the_occurrences() -> None:
    """From 0, in the order of the rows, over the borders of what is hashed at once."""
    frame = pd.DataFrame({"a": np.tile(np.arange(3), 100_000)})
    prints = fingerprints(frame, ["a"])
    stems = [prints[at, :8].tobytes().hex() for at in range(3)]
    wanted = [f"{stem}-{count}" for count in range(100_000) for stem in stems]
    assert row_ids(prints).tolist() == wanted
