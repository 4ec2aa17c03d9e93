"""Fingerprints, row ids, split and replay: the same for ever, independent of each other."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from images.batches import Pixels
from images.declaration import Replay
from images.identity import ARRIVAL, HOLDOUT, VALIDATION, RowIds, fingerprints, positions
from images.split import HOLDOUT_PART, Split, check
from shared.commandline import read_as_of
from shared.errors import DataError, ParameterError

pytestmark = pytest.mark.unit

IMAGES: Pixels = np.random.default_rng(0).integers(0, 256, (2000, 3, 3, 1), dtype=np.uint8)


def test_a_fingerprint_is_of_shape_and_pixels_alone() -> None:
    """Pinned: another one would move images between training and holdout."""
    first = fingerprints(IMAGES[:1])[0]
    assert first.hex() == PINNED
    assert fingerprints(IMAGES[[5, 0]])[1] == first
    assert fingerprints(IMAGES[:1].reshape(1, 9, 1, 1))[0] != first


PINNED = "6d6c13b516bd84c6be6bdf53cbdeafca8b3a6a7cbb1880e3e627e6144ccf11d1"


def test_row_ids_tell_equal_images_apart() -> None:
    """By the number of the occurrence, across batches."""
    ids = RowIds()
    prints = fingerprints(IMAGES[:2])
    first, second = ids.of(prints)
    assert first != second
    assert ids.of([prints[0], prints[0]]) == [f"{first[:-2]}-1", f"{first[:-2]}-2"]


def test_the_positions_are_even_and_independent() -> None:
    """Each uniform in [0, 1) (mean within five standard errors), uncorrelated with the others."""
    prints = fingerprints(IMAGES)
    places = [positions(prints, part) for part in (HOLDOUT, ARRIVAL, VALIDATION)]
    for place in places:
        assert abs(place.mean() - 0.5) < 5 * np.sqrt(1 / 12 / len(place))
        assert 0 <= place.min() <= place.max() < 1
    related = np.corrcoef(places)[np.triu_indices(3, 1)]
    assert (np.abs(related) < 5 / np.sqrt(len(IMAGES))).all()


@given(st.permutations(range(50)), st.floats(0.05, 0.95))
def test_an_image_stays_in_its_part(order: list[int], share: float) -> None:
    """Whatever comes with it, before it or after it."""
    split = Split("hash", share, 0.1)
    prints = fingerprints(IMAGES[:50])
    parts = split.parts(prints, [""] * 50)
    shuffled = split.parts([prints[number] for number in order], [""] * 50)
    assert (shuffled == parts[order]).all()


def test_the_publishers_test_is_held_out() -> None:
    """All of it and nothing else; the validation images come from the others."""
    marks = ["train", "test"] * 1000
    parts = Split("test", validation=0.25).parts(fingerprints(IMAGES), marks)
    assert ((parts == HOLDOUT_PART) == (np.array(marks) == "test")).all()
    assert 0.2 < (parts == 1).sum() / 1000 < 0.3


@pytest.mark.parametrize(
    ("counts", "words"),
    [
        ([{"a": 10, "b": 9}, {"a": 1}, {"a": 5, "b": 5}], "leaves 19 training images"),
        ([{"a": 10, "b": 10}, {}, {"a": 5, "b": 5}], "leaves 0 validation images"),
        ([{"a": 10, "b": 10}, {"a": 1}, {"a": 5, "b": 4}], "leaves 9 holdout images"),
        ([{"a": 20}, {"a": 1}, {"a": 5, "b": 5}], "training images have one class only, 'a'"),
        ([{"a": 10, "b": 10}, {"a": 1}, {"b": 10}], "holdout images have one class only, 'b'"),
    ],
)
def test_too_little_of_something(counts: list[dict[str, int]], words: str) -> None:
    """Each part needs images and classes."""
    with pytest.raises(DataError, match=words):
        check(counts, Split("hash"))


def test_images_arrive_over_two_weeks() -> None:
    """Four tenths at once, none on Sundays, all in the end, and none ever goes again."""
    replay = Replay()
    days = [replay.first_day + dt.timedelta(days=number) for number in range(15)]
    places = positions(fingerprints(IMAGES), ARRIVAL)
    there = [replay.arrived(places, day) for day in days]
    counts = [int(mask.sum()) for mask in there]
    assert 0.36 < counts[0] / len(IMAGES) < 0.44
    assert counts[-1] == len(IMAGES)
    for day, before, after in zip(days[1:], there, there[1:], strict=False):
        assert (after >= before).all()
        assert (day.weekday() == 6) == (after == before).all() or day > days[13]
    assert replay.newest(dt.date(2026, 1, 4)) == dt.date(2026, 1, 3)
    with pytest.raises(DataError, match="nothing has arrived"):
        replay.newest(dt.date(2025, 12, 31))


def test_as_of_is_a_day_in_utc() -> None:
    """A time zone counts, and none is UTC; anything else is refused."""
    assert read_as_of("") is None
    moment = read_as_of("2026-01-02T23:30:00-01:00")
    assert moment == dt.datetime(2026, 1, 3, 0, 30, tzinfo=dt.UTC)
    assert read_as_of("2026-01-02") == dt.datetime(2026, 1, 2, tzinfo=dt.UTC)
    with pytest.raises(ParameterError, match="'as_of' is 'soon'"):
        read_as_of("soon")
