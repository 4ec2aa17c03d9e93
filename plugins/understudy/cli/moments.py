"""Dates and times among the arguments of a command. Pure."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime


def moment(text: str) -> datetime:
    """Return what an argument says; without a time zone it is UTC.

    Raises:
        ArgumentTypeError: when it is no ISO 8601 date or time.
    """
    try:
        given = datetime.fromisoformat(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no date such as 2026-01-31") from error
    return given if given.tzinfo else given.replace(tzinfo=UTC)
