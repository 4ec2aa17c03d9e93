"""What the gate's statistics hand to its judge: numbers, never verdicts. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from understudy.gate.verdict import Interval


@dataclass(frozen=True, slots=True)
class Earlier:
    """The challengers that were compared on one earlier holdout.

    Attributes:
        count: How many.
        rows: A sample of its row ids, ``Predictions.rows_sample``; '' where none was kept.
        overlapping: Of the holdout that is judged again: what its record says; None to work it out.
    """

    count: int
    rows: str = ""
    overlapping: float | None = None


@dataclass(frozen=True, slots=True)
class Moved:
    """How far a model's predictions are from those of the model that was judged.

    Both numbers are of one kind: the root of the mean squared difference of numbers, the mean total
    variation distance of probabilities, or the share of rows whose class differs.

    Attributes:
        rows: How many rows they rest on.
        distance: Between the two models' predictions.
        error: Between the judged model's predictions and the targets.
    """

    rows: int
    distance: float
    error: float

    @property
    def share(self) -> float:
        """The distance as a share of the error; 1 for a model that knows the targets by heart."""
        # A model without an error may not move at all; NaN is within no bound.
        if self.error == 0:
            return 0.0 if self.distance == 0 else math.inf
        return self.distance / self.error


@dataclass(frozen=True, slots=True)
class Comparison:
    """One bound of one metric, on all rows or on those of one slice.

    Attributes:
        metric: The metric's name.
        rule: ``at_least``, ``at_most``, ``min_gain``, ``max_loss`` or ``tolerance``.
        slice: Empty for all rows; else its name, such as ``region=north`` or ``age in [18, 35)``.
        rows: How many rows the numbers rest on.
        groups: How many clusters these are in; as many as rows where rows are independent.
        challenger: The challenger's value; None where it cannot be computed.
        champion: The champion's value; None where there is none.
        gain: How much better the challenger is, in the metric's unit; positive is better.
        needed: The bound in the metric's unit; that of a relative one is times |champion|, that
            of ``max_loss`` and ``tolerance`` is negative.
        interval: Of ``gain``. Two-sided at 1 - 2 alpha: each end is one-sided at alpha.
        excess: Of ``gain - needed``, taken jointly, because the champion's value that a relative
            bound rests on is as random as the gain. This is what decides.
        p_value: One-sided, of the hypothesis that ``gain`` does not exceed ``needed``.
        effect_size: Mean by standard deviation of the per-row gains; None where undefined.
        smallest_detectable: The gain that a holdout like this one would show with a power of 80 %
            at this alpha.
        method: How the interval was computed, for a person.
        mcnemar: For classifiers ``b``, ``c`` (rows that only one of the two got right, champion
            first) and ``p``; shown, decides nothing.
        note: Why a number is missing, or what else there is to know.
    """

    metric: str
    rule: str
    slice: str
    rows: int
    groups: int
    challenger: float | None
    champion: float | None
    gain: float | None
    needed: float | None
    interval: Interval | None
    excess: Interval | None
    p_value: float | None
    effect_size: float | None
    smallest_detectable: float | None
    method: str
    mcnemar: Mapping[str, float] | None
    note: str = ""


CONSTANT: Final = "constant"
"""Name of the finding on a challenger that predicts one value for all rows."""
WORST_SLICES: Final = "worst_slices"
"""Name of the finding on groups of rows that no rule names."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What a guard or a budget found.

    Attributes:
        guard: Its name, such as ``schema``, ``drift``, ``leakage``, ``size``, ``latency_p95``.
        level: What it is declared to do: ``warn``, ``block`` or ``reject``.
        result: A value of ``CheckResult``.
        reason: One sentence for a person.
        numbers: What it saw, by name.
    """

    guard: str
    level: str
    result: str
    reason: str
    numbers: Mapping[str, float | str | None]


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that is known about two models on the rows of one holdout.

    Attributes:
        comparisons: One for each rule, on all rows and on each slice that the rules name.
        findings: Of guards and budgets.
        rows: How many rows the holdout has.
        rows_sha256: Identity of the holdout: of row ids and targets, whatever their order.
        judged_before: How many challengers were compared on this very holdout before.
        overlapping: How many more that were compared on a part of its rows amount to.
        rows_sample: Of the row ids, for later nights: see ``Predictions.rows_sample``.
        seed: What every random number was drawn from.
        blockers: Why nothing may be compared: different rows, duplicated ids.
        notes: What else a reader should know.
    """

    comparisons: tuple[Comparison, ...]
    findings: tuple[Finding, ...] = ()
    rows: int = 0
    rows_sha256: str = ""
    judged_before: int = 0
    seed: int = 0
    blockers: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    overlapping: float = 0.0
    rows_sample: str = ""

    @property
    def compared_before(self) -> float:
        """As how many challengers on all of these rows the earlier ones count."""
        return self.judged_before + self.overlapping
