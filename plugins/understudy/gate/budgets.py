"""What two models cost, beside what they may: measured numbers become findings. Pure.

Sizes are exact. Times vary from call to call, and with whatever else the machine does, so both
models are timed by turns, in rounds, and a limit is judged on an interval: over it, within it, or
not certain.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import chain
from statistics import median
from typing import Any, Final

from understudy.gate.evidence import Finding
from understudy.gate.verdict import CheckResult, Interval
from understudy.spec.guards import OFF, Budgets, QuantityBound
from understudy.spec.quantities import size_text

CONFIDENCE: Final = 0.95
RESAMPLES: Final = 999
FEWEST_ROUNDS: Final = 5
"""Rounds below which times are not judged."""
_TOLERANCE: Final = 1e-9
_SIZES: Final = ("size", "memory")


@dataclass(frozen=True, slots=True)
class Costs:
    """What one model costs.

    Attributes:
        model: How it is named.
        error: Why it could not be measured; empty where it was.
        size: Bytes of its files.
        memory: Bytes resident in a process that loaded it and predicted.
        loading: Bytes of these that loading and predicting added to the bare libraries.
        single: Seconds of each prediction of one row, by round.
        batch: Seconds of each prediction of many rows, one a round.
        batch_rows: How many.
    """

    model: str
    error: str = ""
    size: float = 0.0
    memory: float = 0.0
    loading: float = 0.0
    single: tuple[tuple[float, ...], ...] = ()
    batch: tuple[float, ...] = ()
    batch_rows: int = 0

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Costs:
        """Return the costs that ``asdict`` made ``stored`` of."""
        single = tuple(tuple(map(float, one)) for one in stored["single"])
        return cls(**{**stored, "single": single, "batch": tuple(map(float, stored["batch"]))})

    def value(self, quantity: str, rounds: Sequence[int] | None = None) -> float:
        """Return one of the quantities of ``Budgets``, in bytes or seconds.

        Args:
            quantity: Its name.
            rounds: Which rounds to look at, some of them more than once; None for all.
        """
        if quantity in _SIZES:
            return float(getattr(self, quantity))
        chosen = range(len(self.batch)) if rounds is None else rounds
        if quantity == "batch_latency":
            return median(self.batch[i] for i in chosen)
        times = sorted(chain.from_iterable(self.single[i] for i in chosen))
        share = 0.5 if quantity == "latency_p50" else 0.95
        # A time that was measured and none in between: the nearest-rank quantile.
        return times[math.ceil(share * len(times)) - 1]


@dataclass(frozen=True, slots=True)
class Measurement:
    """What the challenger costs, and the champion in the same minutes on the same machine.

    Attributes:
        challenger: Its costs.
        champion: The same; None without a champion.
    """

    challenger: Costs
    champion: Costs | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Measurement:
        """Return the measurement whose ``to_dict`` gave ``stored``."""
        champion = stored["champion"]
        return cls(Costs.from_dict(stored["challenger"]), champion and Costs.from_dict(champion))


@dataclass(frozen=True, slots=True)
class _Limited:
    """A number that has a limit, and between what it may lie."""

    limit_text: str
    interval: Interval
    limit: float

    @property
    def result(self) -> CheckResult:
        if self.interval.low > self.limit * (1 + _TOLERANCE):
            return CheckResult.FAILED
        within = self.interval.high <= self.limit * (1 + _TOLERANCE)
        return CheckResult.PASSED if within else CheckResult.UNDECIDED


def unmeasured(challenger: str, champion: str | None, why: str) -> Measurement:
    """Return a measurement that says why there is none.

    Args:
        challenger: How the model is named.
        champion: The same; None without a champion.
        why: A clause for a person.
    """
    return Measurement(
        Costs(challenger, error=why), None if champion is None else Costs(champion, error=why)
    )


def findings(budgets: Budgets, measured: Measurement, seed: int = 0) -> tuple[Finding, ...]:
    """Return whether the challenger keeps its budgets: one finding for each quantity.

    Args:
        budgets: What it may cost.
        measured: What it costs.
        seed: What the resampling draws from.
    """
    return tuple(
        _finding(bound, budgets.unchecked, measured, seed)
        for bound in budgets.bounds
        if bound.level != OFF
    )


def _finding(bound: QuantityBound, unchecked: str, measured: Measurement, seed: int) -> Finding:
    if why := _unmeasured(bound, measured):
        reason = f"not measured: {why}"
        return Finding(bound.name, unchecked, CheckResult.UNDECIDED.value, reason, {})
    limited = tuple(_limited(bound, measured, seed))
    results = [one.result for one in limited]
    worst = next(
        (r for r in (CheckResult.FAILED, CheckResult.UNDECIDED) if r in results), CheckResult.PASSED
    )
    word = {CheckResult.FAILED: "not ", CheckResult.UNDECIDED: "not certainly "}.get(worst, "")
    limits = [f"{word}{one.limit_text}" for one in limited if one.result is worst]
    reason = "; ".join([_values(bound.name, measured), *limits])
    return Finding(bound.name, bound.level, worst.value, reason, _numbers(bound, measured, limited))


def _unmeasured(bound: QuantityBound, measured: Measurement) -> str:
    """Return why a limit cannot be judged; '' where it can."""
    for costs in (measured.challenger, measured.champion if bound.growth is not None else None):
        if costs and costs.error:
            return f"{costs.model}: {costs.error}"
        if costs and bound.name not in _SIZES and len(costs.batch) < FEWEST_ROUNDS:
            return f"{costs.model} took so long that it was timed {len(costs.batch)} times only"
    return ""


def _limited(bound: QuantityBound, measured: Measurement, seed: int) -> Iterator[_Limited]:
    challenger, champion = measured.challenger, measured.champion
    if bound.at_most is not None:
        limit = f"at most {_text(bound.name, bound.at_most)}"
        yield _Limited(limit, _interval(bound.name, (challenger,), seed), bound.at_most)
    if bound.growth is not None and champion is not None:
        limit = f"at most {1 + bound.growth:.2f} times the champion's"
        costs = challenger, champion
        yield _Limited(limit, _interval(bound.name, costs, seed), 1 + bound.growth)


def _interval(quantity: str, costs: Sequence[Costs], seed: int) -> Interval:
    """Return between what a model's number lies, or how many times the second one's it is.

    The percentile bootstrap (Efron and Tibshirani, "An Introduction to the Bootstrap", 1993,
    chapter 13) over whole rounds: calls of one round are alike, as they share the machine's mood,
    and a round is drawn for both models, which share it too.
    """
    if quantity in _SIZES:
        exact = _ratio([one.value(quantity) for one in costs])
        return Interval(exact, exact, 1.0)
    rounds = min(len(one.batch) for one in costs)
    # Each quantity draws for itself, so that one budget more or less changes no other's interval.
    draw = random.Random(f"{seed} {quantity}")  # noqa: S311 -- reproducible, nothing secret
    values = sorted(
        _ratio([one.value(quantity, chosen) for one in costs])
        for chosen in (draw.choices(range(rounds), k=rounds) for _ in range(RESAMPLES))
    )
    # 999 resamples and not 1000: the k-th smallest of n is the quantile k / (n + 1), here exactly.
    tail = round((1 - CONFIDENCE) / 2 * (RESAMPLES + 1))
    return Interval(values[tail - 1], values[-tail], CONFIDENCE)


def _ratio(values: Sequence[float]) -> float:
    first, *second = values
    if not second:
        return first
    # Nothing against nothing is no growth; something against nothing is growth without limit.
    return first / second[0] if second[0] else (math.inf if first else 1.0)


def _values(quantity: str, measured: Measurement) -> str:
    challenger = f"{quantity} {_text(quantity, measured.challenger.value(quantity))}"
    if measured.champion is None or measured.champion.error:
        return challenger
    return f"{challenger}, the champion's {_text(quantity, measured.champion.value(quantity))}"


def _text(quantity: str, number: float) -> str:
    return size_text(number) if quantity in _SIZES else f"{1000 * number:.3g} ms"


def _numbers(
    bound: QuantityBound, measured: Measurement, limited: Sequence[_Limited]
) -> dict[str, float | str | None]:
    """Return bytes and seconds, limits, and intervals."""
    numbers: dict[str, float | str | None] = {
        "unit": "bytes" if bound.name in _SIZES else "seconds",
        "challenger": measured.challenger.value(bound.name),
        "at_most": bound.at_most,
        "growth": bound.growth,
    }
    if measured.champion and not measured.champion.error:
        numbers["champion"] = measured.champion.value(bound.name)
    for one in limited:
        what = "ratio" if one.limit_text.endswith("champion's") else "challenger"
        numbers |= {f"{what} low": one.interval.low, f"{what} high": one.interval.high}
    # A champion that takes no time or space makes the ratio infinite, which a finding leaves out.
    infinite = {n for n, v in numbers.items() if isinstance(v, float) and not math.isfinite(v)}
    return {name: None if name in infinite else value for name, value in numbers.items()}
