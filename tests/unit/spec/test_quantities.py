"""Durations and sizes as people write them."""

from __future__ import annotations

import pytest

from understudy.spec.quantities import duration, size, size_text

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
