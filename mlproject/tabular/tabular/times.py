"""Times of rows and of questions: when a row happened, and as of when data is asked for.

One meaning for data with a time column: *as of T* are the rows with a time before T, and a plain
date means its midnight, UTC. So "as of 2011-07-01" ends with the last hour of June.

Touches nothing.
"""

import dataclasses
import datetime as dt

import pandas as pd

from shared.errors import DataError
from tabular.declaration import TimeColumn
from tabular.malformed import LONGEST_TEXT, Malformed
from tabular.reading import UNITS, Reading
from tabular.tables import Table

STAMP = "datetime64[us, UTC]"
_LEAST = {"s": 10**9, "ms": 10**12, "us": 10**15, "ns": 10**18}
"""Of each unit the number of 2001-09-09; ten times of it is in 2286. Nothing fits two units."""
_DATE = r"(19|20)\d\d(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])"
_HOUR = _DATE + r"([01]\d|2[0-3])"
"""2026013106 may be an hour, or a second of 2034."""
_NUMBER = r"\s*\d+(\.\d*)?\s*"
_YEAR = r"(19|20)\d\d"
_OFFSET = r":\d\d.*(?:[zZ]|[+-]\d\d:?(?:\d\d)?)$"


def stamped(table: Table, time: TimeColumn, how: Reading) -> Table:
    """Return the rows with their time as a UTC time stamp; rows without one become malformed.

    Args:
        table: the rows.
        time: where their time stands.
        how: the format and the zone of times that do not say it themselves.

    Raises:
        DataError: if not one row has a time, or what the column holds may be read in two ways.
    """
    frame, column = table.frame, time.date or time.name
    times, said = _read(frame[column], how)
    if time.hour:
        times = times + pd.to_timedelta(pd.to_numeric(frame[time.hour], errors="coerce"), unit="h")
    bad = times.isna()
    if bad.all():
        raise _no_times(frame[column].dropna())
    lost = tuple(
        Malformed(0, f"no time in '{column}'", _shown(row))
        for row in frame[bad].itertuples(index=False)
    )
    notes = (
        (f"{len(lost):,} rows have no time in '{column}', such as {lost[0].text}",) if lost else ()
    )
    kept = frame.assign(**{time.name: times.astype(STAMP)})
    if lost:  # else no copy: a table may be as large as the memory that is left
        kept = kept[~bad].reset_index(drop=True)
    return dataclasses.replace(
        table,
        frame=kept,
        malformed=(*table.malformed, *lost),
        notes=(*table.notes, *notes),
        time=said,
    )


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


def _no_times(values: pd.Series) -> DataError:
    return DataError(
        f"column '{values.name}' holds no time, for instance {str(next(iter(values), ''))!r}",
        allowed="ISO 8601 dates or times, or the form that the parameter time_format names: "
        f"{', '.join(UNITS)} since 1970, or one such as %d.%m.%Y %H:%M",
        action="pass -P time_format=..., name another time column, or write its times as "
        "2026-01-31T06:00:00",
    )


def _read(source: pd.Series, how: Reading) -> tuple[pd.Series, str]:
    """Return times in UTC, missing where there is none, and in words what they were read as."""
    if pd.api.types.is_datetime64_any_dtype(source):
        naive = source.dt.tz is None
        return _in_utc(source, how), _zoned("time", naive=naive, how=how)
    texts = source.astype("str") if pd.api.types.is_numeric_dtype(source) else source
    numbers, unit = _since(texts, how)
    if unit:
        times = pd.to_datetime(numbers, unit=unit, utc=True, errors="coerce")
        return times, f"time ({unit} since 1970)"
    if how.time_format:
        times = pd.to_datetime(texts, format=how.time_format, errors="coerce")
        return _in_utc(times, how), _zoned(f"time, {how.time_format}", naive=True, how=how)
    return _iso(texts, how)


def _since(texts: pd.Series, how: Reading) -> tuple[pd.Series, str]:
    """Return the numbers and their unit where times are counted since 1970, else no unit."""
    known = texts.dropna()
    # The first value spares a column of dates the attempt, which takes long.
    if not how.time_format and not known.head(1).str.fullmatch(_NUMBER).all():
        return texts, ""
    numbers = pd.to_numeric(texts, errors="coerce", dtype_backend="numpy_nullable")
    if how.time_format:
        return numbers, how.time_format if how.time_format in UNITS else ""
    return numbers, _unit(known, numbers.dropna()) if numbers.count() == len(known) else ""


def _unit(texts: pd.Series, numbers: pd.Series) -> str:
    """Return the unit since 1970 that whole columns of numbers have; '' for dates such as 20260131.

    Raises:
        DataError: if they may be something else.
    """
    if texts.str.fullmatch(_DATE).all() or texts.str.fullmatch(_YEAR).all():
        return ""
    for unit, least in _LEAST.items():
        within = ((numbers >= least) & (numbers < 10 * least)).all()
        if within and not texts.str.fullmatch(_HOUR).all():
            return unit
    raise _no_times(texts)


def _iso(texts: pd.Series, how: Reading) -> tuple[pd.Series, str]:
    offset = texts.str.contains(_OFFSET, na=False)
    mixed = offset.any() and not offset[texts.notna()].all()
    if mixed and not how.time_zone:
        raise DataError(
            f"{offset.sum():,} of {texts.count():,} times of '{texts.name}' have an offset, and "
            f"others have none, for instance {texts[~offset & texts.notna()].iloc[0]!r}",
            allowed="times with an offset, or without one, or the zone of those without one",
            action="pass -P time_zone=UTC, or the zone that is meant, such as Europe/Berlin",
        )
    if not how.time_zone or (offset.any() and not mixed):
        times = pd.to_datetime(texts, utc=True, errors="coerce", format="ISO8601")
        return times, _zoned("time", naive=not offset.any(), how=how)
    aware = pd.to_datetime(texts.where(offset), utc=True, errors="coerce", format="ISO8601")
    naive = pd.to_datetime(texts.mask(offset), errors="coerce", format="ISO8601")
    return aware.fillna(_in_utc(naive, how)), _zoned("time", naive=True, how=how)


def _in_utc(times: pd.Series, how: Reading) -> pd.Series:
    """Return times in UTC. An hour that a zone has twice, or never, is missing."""
    times = times.astype("datetime64[us]") if times.dt.tz is None else times
    if times.dt.tz is None and how.time_zone:
        times = times.dt.tz_localize(how.time_zone, ambiguous="NaT", nonexistent="NaT")
    return pd.to_datetime(times, utc=True)


def _zoned(what: str, *, naive: bool, how: Reading) -> str:
    return f"{what} (no zone of its own, taken for {how.time_zone or 'UTC'})" if naive else what


def _shown(row: tuple[object, ...]) -> str:
    return ", ".join(map(str, row))[:LONGEST_TEXT]
