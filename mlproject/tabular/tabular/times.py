"""Times of rows and of questions: when a row happened, and as of when data is asked for.

One meaning for data with a time column: *as of T* are the rows with a time before T, and a plain
date means its midnight, UTC. So "as of 2011-07-01" ends with the last hour of June.

Touches nothing.
"""

import datetime as dt

import pandas as pd

from tabular.declaration import TimeColumn
from tabular.errors import DataError, ParameterError
from tabular.tables import LONGEST_TEXT, Malformed, Table


def read_as_of(text: str) -> dt.datetime | None:
    """Return the moment that the parameter `as_of` names, in UTC; None for '' (everything).

    Raises:
        ParameterError: if it is no ISO 8601 date or time.
    """
    if not text:
        return None
    try:
        moment = dt.datetime.fromisoformat(text)
    except ValueError:
        raise ParameterError(
            f"parameter 'as_of' is {text!r}",
            allowed="'' or an ISO 8601 date or time, such as 2026-01-31 or 2026-01-31T06:00:00Z",
            action="correct -P as_of=...",
        ) from None
    return moment.replace(tzinfo=dt.UTC) if moment.tzinfo is None else moment.astimezone(dt.UTC)


def stamped(table: Table, time: TimeColumn) -> Table:
    """Return the rows with their time as a UTC time stamp; rows without one become malformed.

    Raises:
        DataError: if not one row has a time.
    """
    frame = table.frame
    times = _times(frame, time)
    bad = times.isna()
    if bad.all():
        column = time.date or time.name
        raise DataError(
            f"column '{column}' holds no time, for instance {str(frame[column].iloc[0])!r}",
            allowed="ISO 8601 dates or times",
            action="name another time column, or write its times as 2026-01-31T06:00:00",
        )
    lost = tuple(
        Malformed(0, f"no time in '{time.date or time.name}'", _shown(row))
        for row in frame[bad].itertuples(index=False)
    )
    kept = frame.assign(**{time.name: times})[~bad].reset_index(drop=True)
    return Table(kept, (*table.malformed, *lost))


def before(frame: pd.DataFrame, name: str, as_of: dt.datetime | None) -> pd.DataFrame:
    """Return the rows with a time before `as_of`; all of them for None.

    Raises:
        DataError: if there is none.
    """
    if as_of is None:
        return frame
    kept = frame[frame[name] < as_of].reset_index(drop=True)
    if kept.empty:
        raise DataError(
            f"as of {as_of.isoformat()} there is not one row; the first is of "
            f"{frame[name].min().isoformat()}",
            allowed="a later date, or '' for all rows",
            action="pass a later -P as_of=...",
        )
    return kept


def _times(frame: pd.DataFrame, time: TimeColumn) -> pd.Series:
    source = frame[time.date or time.name]
    if pd.api.types.is_numeric_dtype(source):
        source = source.astype("str")  # 20260131 is a date too; never nanoseconds since 1970
    times = pd.to_datetime(source, utc=True, errors="coerce", format="ISO8601")
    if time.hour:
        hours = pd.to_numeric(frame[time.hour], errors="coerce")
        times = times + pd.to_timedelta(hours, unit="h")
    return times.astype("datetime64[us, UTC]")


def _shown(row: tuple[object, ...]) -> str:
    return ", ".join(map(str, row))[:LONGEST_TEXT]
