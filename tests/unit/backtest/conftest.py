"""A backtest whose nights were never run: its files are written as workers would leave them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from understudy.backtest.history import ReplayedNights
from understudy.backtest.place import PREDICTIONS, ROWS, BacktestFolder, made
from understudy.backtest.plan import Plan

PER_DAY = 24
WINDOW = 3  # days of a holdout


@dataclass(frozen=True)
class Replayed:
    """A backtest of a target that is always zero, so that a prediction is an error.

    It has 24 rows a day, and holdouts of three days.

    Attributes:
        folder: Where it is kept.
        errors: What each night's model predicts; None for a night that failed.
        extra: More columns of the predictions.
        spread: Standard deviation of a model's predictions, as a share of their mean.
    """

    folder: Path
    errors: Sequence[float | None]
    extra: dict[str, object] = field(default_factory=dict)
    spread: float = 0.01

    @property
    def plan(self) -> Plan:
        """One night a day from the fourth day on."""
        first = date(2012, 1, 1 + WINDOW)
        days = [str(first + timedelta(days=i)) for i in range(len(self.errors) + 1)]
        return Plan("/p", "", "c", {}, tuple(days[:-1]), days[-1], float(WINDOW), "uv")

    @property
    def place(self) -> BacktestFolder:
        """Where it is kept."""
        return BacktestFolder(self.folder)

    def history(self) -> ReplayedNights:
        """Return what a backtest would read."""
        return ReplayedNights.read(self.place, self.plan)

    def write(self) -> Replayed:
        """Leave the files of all nights."""
        plan, noise = self.plan, np.random.default_rng(7)
        pool = self.rows(0, WINDOW + len(self.errors))
        for i, moment in enumerate((*plan.nights, plan.end)):
            with made(self.place.rows(plan.rows(moment))) as folder:
                self.rows(i, i + WINDOW).to_parquet(folder / ROWS)
        for moment, error in zip(plan.nights, self.errors, strict=True):
            if error is not None:
                guess = error * (1 + self.spread * noise.standard_normal(len(pool)))
                with made(self.place.night(plan.night(moment))) as folder:
                    frame = pool.assign(target=0.0, prediction=guess, **self.extra)
                    frame.to_parquet(folder / PREDICTIONS)
        return self

    @staticmethod
    def rows(first: int, last: int) -> pd.DataFrame:
        """Return the rows of some days, the last one excluded, counted from the first there is."""
        return pd.DataFrame(
            {"row_id": [f"{d}-{h}" for d in range(first, last) for h in range(PER_DAY)]}
        )


@pytest.fixture
def replayed(tmp_path: Path) -> Callable[..., Replayed]:
    """Return a function that leaves the files of nights with such errors."""

    def make(*errors: float | None, spread: float = 0.01, **extra: object) -> Replayed:
        return Replayed(tmp_path / "backtest", errors, extra, spread).write()

    return make
