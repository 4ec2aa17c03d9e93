"""What the nights left, as arrays: which rows were held out, which were served, who predicts what.

Every model is scored once, on the pool: the rows of all holdouts. A row that a night holds out and
the night before did not is one that arrived between the two: the model in production served it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import dropwhile, pairwise
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from understudy.backtest.place import PREDICTIONS, ROWS, BacktestFolder
from understudy.backtest.plan import Plan
from understudy.errors import DecisionError
from understudy.evaluation import Predictions, load
from understudy.evaluation.pairing import Rows, paired
from understudy.evaluation.predictions import ROW_ID

Index = NDArray[np.intp]
# Models whose predictions stay in memory: a champion is compared with many challengers in turn.
_KEPT_MODELS = 64


@dataclass(frozen=True, eq=False)
class ReplayedNight:
    """One night of a backtest.

    Attributes:
        as_of: The moment as of which its data was requested.
        folder: Of its model's predictions; None where the night failed.
        holdout: Places in the pool of the rows that judge its challenger.
        served: Places in the pool of the rows that arrived before the next night.
    """

    as_of: str
    folder: Path | None
    holdout: Index
    served: Index


class ReplayedNights:
    """The nights of a backtest, in their order, from the first that has a model."""

    def __init__(self, nights: tuple[ReplayedNight, ...]) -> None:
        self.nights = nights
        self._loaded = lru_cache(_KEPT_MODELS)(self._load)

    @classmethod
    def read(
        cls, place: BacktestFolder, plan: Plan, faults: Mapping[str, str] = MappingProxyType({})
    ) -> ReplayedNights:
        """Return what is there of a backtest.

        Args:
            place: Where it is.
            plan: What was replayed.
            faults: Nights that go wrong, and how: their models are those with the fault.

        Raises:
            DecisionError: when no night has a model, or a holdout is not in the pool.
        """
        times = [t for t in (*plan.nights, plan.end) if place.rows(plan.rows(t)).is_dir()]
        folders = {t: place.night(plan.night(t, faults.get(t, ""))) for t in times}
        done = [folder for folder in folders.values() if (folder / PREDICTIONS).is_file()]
        if not done:
            raise DecisionError(
                "Not one night has a model",
                allowed="a backtest of which some nights came to their end",
                action=f"read why in {place.failure('')}",
            )
        # Every model is scored on the same rows, so the first one's file says which they are.
        scored = load(done[0] / PREDICTIONS, others=())
        if scored.problems:
            raise DecisionError(
                f"The pool cannot be judged on: {'; '.join(scored.problems)}",
                allowed="rows with an id of their own and a target",
                action="correct the data, or what preprocess makes of it",
            )
        held = {t: _places(scored.ids, place.rows(plan.rows(t)) / ROWS) for t in times}
        # A night after which no row arrived served nothing, and cannot tell rules apart.
        nights = (
            ReplayedNight(t, folders[t] if folders[t] in done else None, held[t], served)
            for (t, later) in pairwise(times)
            if len(served := np.setdiff1d(held[later], held[t]))
        )
        # Before the first model nobody could serve.
        return cls(tuple(dropwhile(lambda night: night.folder is None, nights)))

    def __len__(self) -> int:
        return len(self.nights)

    def mass(self, night: int) -> float:
        """Return how much the rows that a night's model served weigh; their number by default."""
        weight, place = self._loaded(0).weight, self.nights[night].served
        return float(len(place) if weight is None else weight[place].sum())

    def predictions(self, model: int, rows: Index) -> Predictions:
        """Return what one night's model predicts for some rows."""
        return Rows(self._loaded(model), (), {}).take(rows).source

    def rows(self, model: int) -> Rows:
        """Return what one night's model predicts for the whole pool."""
        return paired(self._loaded(model), None).challenger

    def _load(self, model: int) -> Predictions:
        folder = self.nights[model].folder
        if folder is None:
            raise ValueError(model)
        return load(folder / PREDICTIONS)


def _places(pool: NDArray[np.uint64], path: Path) -> Index:
    """Return where the rows of a holdout are in the pool."""
    frame = pd.read_parquet(path, columns=[ROW_ID])
    # `load` makes numbers of row ids, the same way as for the pool; target and prediction, which it
    # demands, are not read here.
    ids = load(frame.assign(target=0.0, prediction=0.0)).ids
    # The pool's ids are sorted. An id beyond the last one gets the last place, and differs from it.
    places = np.minimum(np.searchsorted(pool, ids), len(pool) - 1)
    lacking = int((pool[places] != ids).sum())
    if lacking:
        raise DecisionError(
            f"{lacking} of {len(ids)} rows of {path.parent.name} are not among those that all "
            "models were scored on",
            allowed="rows that stay what they are from night to night",
            action="see that row_id names a row for ever, and that the past does not change",
        )
    return np.asarray(places, dtype=np.intp)
