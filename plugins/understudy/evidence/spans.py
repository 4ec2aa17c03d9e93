"""The rows of a span of time among predictions."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np

from understudy.evidence.frames import TIME, Predictions, taken
from understudy.evidence.units import times_of


def within(predictions: Predictions, after: str, until: str) -> Predictions:
    """Return the rows whose time lies after one moment and not after another.

    Where there are none, the predictions' problems say so and nothing can be compared. Rows without
    a time are in no span, which the notes say.

    Args:
        predictions: Of which the column ``time`` counts; a time without zone is taken for UTC.
        after: ISO 8601; rows of this very moment are not among them.
        until: ISO 8601; rows of this very moment are.
    """
    column = predictions.others.get(TIME)
    times = None if column is None else times_of(column)
    if times is None:
        why = f"the predictions lack a column {TIME!r} with the times of the rows"
        return replace(predictions, problems=(why,))
    inside = (times > _moment(after)) & (times <= _moment(until))
    if not inside.any():
        why = f"no row has a time after {after} and until {until}{_known(times)}"
        return replace(taken(predictions, np.flatnonzero(inside)), problems=(why,))
    found, untimed = taken(predictions, np.flatnonzero(inside)), int(np.isnat(times).sum())
    if not untimed:
        return found
    note = f"{untimed} of {len(times)} rows have no {TIME!r} and are left out"
    return replace(found, notes=(*found.notes, note))


def _moment(text: str) -> np.datetime64:
    moment = datetime.fromisoformat(text)
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return np.datetime64(aware.astimezone(UTC).replace(tzinfo=None), "us")


def _known(times: np.ndarray[tuple[int], np.dtype[np.datetime64]]) -> str:
    known = times[~np.isnat(times)]
    if not len(known):
        return "; none has a time"
    first, last = (np.datetime_as_string(end, unit="s") for end in (known.min(), known.max()))
    return f"; they are from {first} to {last} (UTC)"
