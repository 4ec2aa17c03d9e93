"""Replays images without dates: gives each a day on which it "arrives".

The first part is there on the first day. The rest arrives spread evenly over the days after it,
in the order of a hash of the pixels, and nothing arrives on Sundays: so there are nights on which
nothing changed. Touches nothing.
"""

import datetime as dt

import numpy as np

from images.batches import Pixels
from images.declaration import Replay
from images.identity import ARRIVAL, fingerprints, positions
from shared.errors import DataError, ParameterError

SUNDAY = 6  # date.weekday() counts from Monday, 0


def read_as_of(text: str) -> dt.date | None:
    """Return the day, UTC, that the parameter `as_of` names; None for '' (everything).

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
    return (moment if moment.tzinfo is None else moment.astimezone(dt.UTC)).date()


def days(replay: Replay) -> list[dt.date]:
    """Return the days on which images arrive, the first one included, in order."""
    later = (replay.first_day + dt.timedelta(days=number) for number in range(1, replay.days))
    return [replay.first_day, *(day for day in later if day.weekday() != SUNDAY)]


def newest(replay: Replay, as_of: dt.date) -> dt.date:
    """Return the last day on or before `as_of` on which images arrived.

    Raises:
        DataError: if `as_of` lies before the first day.
    """
    arrived = [day for day in days(replay) if day <= as_of]
    if not arrived:
        raise DataError(
            f"as of {as_of} not one image has arrived",
            allowed=f"{replay.first_day} or later, or '' for all images",
            action="pass a later -P as_of=...",
        )
    return arrived[-1]


def arrived(
    pixels: Pixels, replay: Replay, as_of: dt.date
) -> "np.ndarray[tuple[int], np.dtype[np.bool_]]":
    """Return which of the images arrived on or before the day `as_of`."""
    known = days(replay)
    places = positions(fingerprints(pixels), ARRIVAL)
    later = (places - replay.first_part) / (1.0 - replay.first_part) * (len(known) - 1)
    numbers = np.where(places < replay.first_part, 0, np.floor(later) + 1).astype(int)
    return numbers < sum(day <= as_of for day in known)
