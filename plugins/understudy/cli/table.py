"""Lays out rows of text as a table for a terminal. Pure."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from itertools import zip_longest


def render(titles: Sequence[str], rows: Sequence[Sequence[str]], width: int = 120) -> str:
    """A table whose last column is wrapped so that no line is longer than `width` characters.

    Args:
        titles: One title per column.
        rows: One text per column each.
        width: Characters per line; the last column keeps at least 20 of them.
    """
    sizes = [max(len(row[index]) for row in (titles, *rows)) for index in range(len(titles))]
    room = max(width - sum(sizes[:-1]) - 2 * (len(sizes) - 1), 20)
    sizes[-1] = min(sizes[-1], room)
    rule = ["-" * size for size in sizes]
    return "\n".join(line for row in (titles, rule, *rows) for line in _lines(row, sizes))


def _lines(row: Sequence[str], sizes: Sequence[int]) -> Iterator[str]:
    last = textwrap.wrap(row[-1], sizes[-1]) or [""]
    for index, (cells, end) in enumerate(zip_longest([row[:-1]], last, fillvalue=None)):
        start = cells if index == 0 and cells is not None else [""] * (len(row) - 1)
        padded = [cell.ljust(size) for cell, size in zip(start, sizes, strict=False)]
        yield "  ".join([*padded, end or ""]).rstrip()
