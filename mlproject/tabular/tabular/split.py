"""Splits rows into training and holdout, so that no champion was ever trained on a holdout row.

By hash: a row's part depends on its identity alone, for ever. By time: the newest window is held
out, and a window before it trains. Touches nothing.
"""

import datetime as dt
from dataclasses import dataclass
from typing import Literal

import pandas as pd

from shared.errors import DataError, ParameterError
from tabular.identity import Prints, fingerprints, row_ids, split_positions

ROW_ID = "row_id"
MIN_TRAINING_ROWS = 20
MIN_HOLDOUT_ROWS = 10
_DIGITS = 12  # hexadecimal ones of a row's id, 48 bits
_MOST_UNSEEN = 0.25
"""Share of few rows that a search may do without."""


@dataclass(frozen=True)
class Split:
    """How to split.

    Attributes:
        policy: "hash" or "newest".
        fraction: share of the rows held out by hash, between 0 and 1.
        holdout_days: length of the newest window, in days.
        training_days: length of the window before it that trains, in days; 0 means all before it.
    """

    policy: Literal["hash", "newest"]
    fraction: float = 0.2
    holdout_days: float = 0.0
    training_days: float = 0.0


def with_row_ids(frame: pd.DataFrame, identity: list[str]) -> tuple[pd.DataFrame, Prints]:
    """Return the rows with a first column `row_id`, and their fingerprints."""
    prints = fingerprints(frame, identity)
    numbered = frame.copy(deep=False)
    numbered.insert(0, ROW_ID, row_ids(prints).set_axis(frame.index))
    return numbered, prints


def split(
    frame: pd.DataFrame, prints: Prints, time: str, how: Split
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return training and holdout rows.

    Args:
        frame: rows that passed the schema.
        prints: their fingerprints.
        time: column with the time of each row; '' where there is none.
        how: policy and sizes.

    Raises:
        ParameterError: if the newest window is asked for and rows have no time, or it is empty.
        DataError: if a part has too few rows.
    """
    if how.policy == "hash":
        held = pd.Series(split_positions(prints) < how.fraction, index=frame.index)
        train, holdout = frame[~held], frame[held]
    else:
        train, holdout = _newest(frame, time, how)
    for name, part, least in (
        ("training", train, MIN_TRAINING_ROWS),
        ("holdout", holdout, MIN_HOLDOUT_ROWS),
    ):
        if len(part) < least:
            raise DataError(
                f"the split of {len(frame)} rows leaves {len(part)} {name} rows",
                allowed=f"at least {least} {name} rows",
                action="bring more rows, or change holdout_fraction, holdout_days or training_days",
            )
    return train.reset_index(drop=True), holdout.reset_index(drop=True)


def set_aside(rows: pd.DataFrame, time: str, fraction: float) -> pd.Series:
    """Return which training rows are not fitted but scored: by hash, or the newest ones.

    Args:
        rows: training rows with `row_id`.
        time: column with the time of each row; '' where there is none.
        fraction: share of the rows, from 0 to below 1.

    Raises:
        DataError: if a part has too few rows.
    """
    newest = rows[time] > rows[time].quantile(1 - fraction) if time else None
    aside = _positions(rows) < fraction if newest is None else newest
    if fraction and (aside.sum() < MIN_HOLDOUT_ROWS or (~aside).sum() < MIN_TRAINING_ROWS):
        raise DataError(
            f"validation_fraction {fraction:g} of {len(rows)} training rows leaves "
            f"{(~aside).sum()} to fit and {aside.sum()} to score",
            allowed=f"at least {MIN_TRAINING_ROWS} to fit and {MIN_HOLDOUT_ROWS} to score",
            action="bring more rows, or change validation_fraction",
        )
    return aside


def unseen(rows: pd.DataFrame, time: str, fraction: float) -> pd.Series:
    """Return which training rows no trial of a search shall see: by hash, or the newest ones.

    They are at least `MIN_HOLDOUT_ROWS`; none where that is more than a quarter of the rows, or
    where many rows that belong together would make it half of them.

    Args:
        rows: training rows with `row_id`.
        time: column with the time of each row; '' where the rows are not split by it.
        fraction: share of the rows; 0 for none.
    """
    none = pd.Series(data=False, index=rows.index)
    count = max(round(fraction * len(rows)), MIN_HOLDOUT_ROWS if fraction else 0)
    if not fraction or count > max(fraction, _MOST_UNSEEN) * len(rows):
        return none
    ranks = rows[time].rank(ascending=False, method="min") if time else _positions(rows)
    aside = ranks <= ranks.nsmallest(count).iloc[-1]
    return aside if len(rows) > 2 * aside.sum() else none


def _positions(rows: pd.DataFrame) -> pd.Series:
    """Return where each row falls in [0, 1), by other digits than those of the holdout."""
    digits = rows[ROW_ID].str.slice(0, _DIGITS)
    return digits.map(lambda text: int(text, 16) / 16**_DIGITS).astype("float64")


def _newest(frame: pd.DataFrame, time: str, how: Split) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Hold out the rows of the last days: later than the newest time less `holdout_days`."""
    if not time:
        raise ParameterError(
            "holdout 'newest' was asked for, but the rows have no time column",
            allowed="'hash', or data with a time column",
            action="pass -P holdout=hash, or -P time_column=... to download or main",
        )
    if how.holdout_days <= 0:
        raise ParameterError(
            f"holdout_days is {how.holdout_days:g}, so the newest window would be empty",
            allowed="a number of days above 0",
            action="pass -P holdout_days=...",
        )
    times = frame[time]
    cut = times.max() - dt.timedelta(days=how.holdout_days)
    earlier = times <= cut
    if how.training_days > 0:
        earlier &= times > cut - dt.timedelta(days=how.training_days)
    return frame[earlier], frame[times > cut]
