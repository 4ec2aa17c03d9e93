"""Byte streams of any kind become lines in bounded memory."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.runner.process.process import LINE_LIMIT, PROGRESS_EVERY, LineCutter

pytestmark = pytest.mark.unit


def cut(*chunks: bytes, clock: list[float] | None = None) -> list[str]:
    """Return the lines of a stream that comes in these chunks."""
    times = clock or [0.0]
    cutter = LineCutter(lambda: times.pop(0) if len(times) > 1 else times[0])
    lines = [line for chunk in chunks for line in cutter.feed(chunk)]
    return lines + list(cutter.feed(b"", final=True))


@pytest.mark.parametrize(
    ("stream", "lines"),
    [
        (b"", []),
        (b"a\nb\n", ["a", "b"]),
        (b"a\r\nb", ["a", "b"]),
        (b"\n\n", ["", ""]),
        (b" 1%\r 2%\r 3%\n", [" 3%"]),
        (b"\r 1%\r 2%", [" 2%"]),
        (b"\xff\xfe\n", ["��"]),
        (b"a\x00b\x07\tc\x1b[1m\n", ["a\\x00b\\x07\tc"]),
        ("a\u2028b\x0bc\x1b[2Jd\u202e\n".encode(), ["a\\u2028b\\x0bc\\x1b[2Jd\\u202e"]),
        ("ä€😀".encode(), ["ä€😀"]),
    ],
)
def test_lines(stream: bytes, lines: list[str]) -> None:
    """One table of streams; in one chunk and byte by byte the same."""
    assert cut(stream) == lines
    assert cut(*(stream[i : i + 1] for i in range(len(stream)))) == lines


def test_a_line_without_end_is_passed_on_in_pieces() -> None:
    """Memory stays bounded, and nothing is lost."""
    lines = cut(*[b"x" * 50_000] * 20)
    assert max(map(len, lines)) <= LINE_LIMIT
    assert sum(map(len, lines)) == 1_000_000


def test_a_progress_bar_shows_now_and_then() -> None:
    """One state every PROGRESS_EVERY seconds, and the last."""
    clock = [0.0, 0.0, PROGRESS_EVERY + 1, PROGRESS_EVERY + 1, PROGRESS_EVERY + 1]
    assert cut(b"\r 1%\r", b"\r 2%\r", b"\r 3%\n", clock=clock) == [" 2%", " 3%"]


def test_a_progress_bar_of_hours_needs_no_memory() -> None:
    """Overwritten states are dropped as they come."""
    cutter = LineCutter(lambda: 0.0)
    for i in range(100_000):
        assert not list(cutter.feed(b"\r%d" % i))
        assert len(cutter._rest) < 50
    assert list(cutter.feed(b"\n")) == ["99999"]


@given(st.binary(max_size=300), st.lists(st.integers(0, 300), max_size=10))
def test_chunks_do_not_matter(stream: bytes, cuts: list[int]) -> None:
    """However the pipe hands the bytes over, the lines are the same."""
    edges = [0, *sorted(cuts), len(stream)]
    assert cut(*(stream[a:b] for a, b in pairwise(edges))) == cut(stream)
