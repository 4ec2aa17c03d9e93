"""Replays rows without dates, in the order of a hash of each row's identity. Touches nothing."""

import datetime as dt

import pandas as pd

from shared.replay import Replay
from tabular.identity import arrival_positions, fingerprints


def arrived(
    frame: pd.DataFrame, identity: list[str], replay: Replay, as_of: dt.datetime
) -> tuple[pd.DataFrame, dt.date]:
    """Return the rows that arrived on or before the day of `as_of`, and the newest of their days.

    Args:
        frame: all rows of the data set.
        identity: columns that identify a row; equal rows arrive together.
        replay: when the first part and the rest arrive.
        as_of: the moment.

    Raises:
        DataError: if `as_of` lies before the first day.
    """
    newest = replay.newest(as_of.date())
    there = replay.arrived(arrival_positions(fingerprints(frame, identity)), newest)
    return frame.loc[there].reset_index(drop=True), newest
