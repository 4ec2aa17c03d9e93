"""Durations, sizes and times as people write them: ``30d``, ``20GB``, ``2026-01-31``. Pure."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Final

_SECONDS: Final = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
# Decimal units are powers of ten (SI), those with an i powers of two (IEC 80000-13).
_BYTES: Final = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12} | {
    "KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40,
}  # fmt: skip
LONGEST: Final = timedelta(days=36_525)
"""A hundred years: what is added to a time of ``moment`` is a time, too."""
_YEARS: Final = (1700, 2200)
"""Years whose times can be counted in nanoseconds, as data frames do, with LONGEST to spare."""
_QUANTITY: Final = re.compile(r"(\d+(?:\.\d+)?)\s*([a-zA-Z]*)")


def duration(text: str) -> float:
    """Return the seconds of ``50ms``, ``90s``, ``15m``, ``12h``, ``30d`` or ``2w``.

    Raises:
        ValueError: with a sentence about it, for anything else.
    """
    number, unit = _parts(text)
    if unit.lower() in _SECONDS:
        seconds = number * _SECONDS[unit.lower()]
        if seconds > LONGEST.total_seconds():
            raise ValueError(f"{text!r} is longer than a hundred years")
        return seconds
    raise ValueError(
        f"{text!r} is no duration; write a number and ms, s, m, h, d or w, such as 30d"
    )


def size(text: str) -> int:
    """Return the bytes of ``500MB``, ``20GB`` or ``20GiB``.

    Raises:
        ValueError: with a sentence about it, for anything else.
    """
    number, unit = _parts(text)
    if unit.upper() in _BYTES:
        return int(number * _BYTES[unit.upper()])
    raise ValueError(f"{text!r} is no size; write a number and B, KB, MB, GB or TB, such as 20GB")


def moment(text: str) -> datetime:
    """Return the time (UTC) of ``2026-01-31`` or ``2026-01-31T03:00+01:00``; without a zone UTC.

    Raises:
        ValueError: with a sentence about it, for anything else.
    """
    try:
        found = datetime.fromisoformat(text)
        found = found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)
    except (ValueError, OverflowError) as error:
        raise ValueError(
            f"{text!r} is no ISO 8601 date or time, such as 2026-01-31 or 2026-01-31T03:00+01:00"
        ) from error
    first, last = _YEARS
    if not first <= found.year < last:
        raise ValueError(f"{text!r} is not between the years {first} and {last}")
    return found


def size_text(number: float) -> str:
    """Return a number of bytes as people read it: ``1.2 GB``."""
    for unit in ("B", "KB", "MB", "GB"):
        if number < 1000:  # noqa: PLR2004 - the next unit begins there
            return f"{number:.0f} {unit}" if unit in {"B", "KB"} else f"{number:.1f} {unit}"
        number /= 1000
    return f"{number:.1f} TB"


def _parts(text: str) -> tuple[float, str]:
    matched = _QUANTITY.fullmatch(text.strip())
    # "?" is no unit of either kind, so that both callers refuse it with their own sentence.
    return (float(matched[1]), matched[2]) if matched else (0.0, "?")
