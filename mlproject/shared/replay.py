"""Replays data without dates: gives each row or image a day on which it "arrives".

The first part is there on the first day. The rest arrives spread evenly over the days after it,
in the order of a hash of its identity, and nothing arrives on Sundays: so there are nights on which
nothing changed. Touches nothing.
"""

import datetime as dt
from dataclasses import dataclass
from typing import Any

import numpy as np

from shared.errors import DataError

SUNDAY = 6  # date.weekday() counts from Monday, 0


@dataclass(frozen=True)
class Replay:
    """How data without dates "arrive", so that data as of a date can be had.

    Attributes:
        first_day: the day on which the first part is there.
        days: number of calendar days, the first one included, until all is there.
        first_part: share of the data that is there on the first day, 0 to 1.
    """

    first_day: dt.date = dt.date(2026, 1, 1)
    days: int = 14
    first_part: float = 0.4

    def arrivals(self) -> list[dt.date]:
        """Return the days on which something arrives, the first one included, in order."""
        later = (self.first_day + dt.timedelta(days=number) for number in range(1, self.days))
        return [self.first_day, *(day for day in later if day.weekday() != SUNDAY)]

    def newest(self, as_of: dt.date) -> dt.date:
        """Return the last day on or before `as_of` on which something arrived.

        Raises:
            DataError: if `as_of` lies before the first day.
        """
        if as_of < self.first_day:
            raise DataError(
                f"as of {as_of} nothing has arrived",
                allowed=f"{self.first_day} or later, or '' for everything",
                action="pass a later -P as_of=...",
            )
        return max(day for day in self.arrivals() if day <= as_of)

    def arrived(
        self, positions: "np.ndarray[Any, np.dtype[np.float64]]", as_of: dt.date
    ) -> "np.ndarray[Any, np.dtype[np.bool_]]":
        """Return what has arrived on or before the day `as_of`.

        Args:
            positions: where each row or image falls in [0, 1) in the order of arrival.
            as_of: the day.
        """
        days = self.arrivals()
        later = (positions - self.first_part) / (1.0 - self.first_part) * (len(days) - 1)
        numbers = np.where(positions < self.first_part, 0, np.floor(later) + 1)
        return np.asarray(numbers < sum(day <= as_of for day in days))


REPLAY = Replay()
"""That of the data sets which scikit-learn ships."""
