"""Replays a data set without dates: gives each row a day on which it "arrives".

The first part is there on the first day. The rest arrives spread evenly over the days after it,
in the order of a hash of the row's identity, and nothing arrives on Sundays: so there are nights
on which nothing changed. Touches nothing.
"""

import datetime as dt

import numpy as np
import pandas as pd

from shared.errors import DataError
from tabular.declaration import Replay
from tabular.identity import arrival_positions, fingerprints

SUNDAY = 6  # date.weekday() counts from Monday, 0


def delivery_days(replay: Replay) -> list[dt.date]:
    """Return the days after the first one on which rows arrive, in order."""
    days = (replay.first_day + dt.timedelta(days=number) for number in range(1, replay.days))
    return [day for day in days if day.weekday() != SUNDAY]


def arrival_days(frame: pd.DataFrame, identity: list[str], replay: Replay) -> list[dt.date]:
    """Return the day on which each row arrives.

    Args:
        frame: all rows of the data set.
        identity: columns that identify a row; equal rows arrive together.
        replay: when the first part and the rest arrive.
    """
    days = [replay.first_day, *delivery_days(replay)]
    positions = arrival_positions(fingerprints(frame, identity))
    later = (positions - replay.first_part) / (1.0 - replay.first_part) * (len(days) - 1)
    numbers = np.where(positions < replay.first_part, 0, np.floor(later) + 1).astype(int)
    return [days[number] for number in numbers]


def arrived(
    frame: pd.DataFrame, identity: list[str], replay: Replay, as_of: dt.datetime
) -> tuple[pd.DataFrame, dt.date]:
    """Return the rows that arrived on or before the day of `as_of`, and the newest of their days.

    Raises:
        DataError: if `as_of` lies before the first day.
    """
    if as_of.date() < replay.first_day:
        raise DataError(
            f"as of {as_of.date()} not one row has arrived",
            allowed=f"{replay.first_day} or later, or '' for all rows",
            action="pass a later -P as_of=...",
        )
    days = arrival_days(frame, identity, replay)
    there = [day <= as_of.date() for day in days]
    newest = max(day for day in days if day <= as_of.date())
    return frame.loc[there].reset_index(drop=True), newest
