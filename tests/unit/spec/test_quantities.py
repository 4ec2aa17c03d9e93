"""Durations, sizes and times as people write them."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from understudy.spec.quantities import LONGEST, duration, moment, size, size_text

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("1.5h", 5400), (" 30 d ", 2_592_000), ("2W", 1_209_600)]
)
def test_durations(text: str, seconds: float) -> None:
    """In seconds."""
    assert duration(text) == seconds


@pytest.mark.parametrize(
    ("text", "number"), [("0B", 0), ("500mb", 5 * 10**8), ("20GB", 2 * 10**10), ("1KiB", 1024)]
)
def test_sizes(text: str, number: int) -> None:
    """In bytes."""
    assert size(text) == number


@pytest.mark.parametrize("text", ["", "30", "d", "-1d", "1e3d", "30 days", "nan"])
def test_what_is_none(text: str) -> None:
    """A number alone is no quantity: nobody knows of what."""
    with pytest.raises(ValueError, match="no duration; write"):
        duration(text)
    with pytest.raises(ValueError, match="no size; write"):
        size(text)


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0 B"), (999, "999 B"), (12_345, "12 KB"), (1_250_000, "1.2 MB"), (3.1e12, "3.1 TB")],
)
def test_sizes_as_text(number: float, text: str) -> None:
    """Short."""
    assert size_text(number) == text


@pytest.mark.parametrize("text", ["99999999999d", "36526d", "1e9d" + "9" * 400])
def test_no_duration_is_longer_than_a_hundred_years(text: str) -> None:
    """What is added to a time must be a time: nothing overflows later."""
    with pytest.raises(ValueError, match=r"hundred years|no duration"):
        duration(text)
    assert duration("36525d") == LONGEST.total_seconds()


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("2026-01-31", datetime(2026, 1, 31, tzinfo=UTC)),
        ("2026-01-31T03:00+01:00", datetime(2026, 1, 31, 2, tzinfo=UTC)),
    ],
)
def test_moments(text: str, found: datetime) -> None:
    """In UTC."""
    assert moment(text) == found


@pytest.mark.parametrize(
    "text", ["", "yesterday", "0001-01-01T00:00+10:00", "9999-12-31T23:59-10:00", "2200-01-01"]
)
def test_what_is_no_moment(text: str) -> None:
    """Also at the ends of the calendar: a sentence, and no error of Python's own."""
    with pytest.raises(ValueError, match=r"is no ISO 8601|not between the years"):
        moment(text)
