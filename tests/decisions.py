"""Decision records and summaries of every kind, for tests that read or show them.

The predictions are drawn from a seed; the numbers of a record are computed from them, and judged.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from statistics import NormalDist
from typing import Any

import numpy as np

from understudy.gate import (
    Basis,
    Comparison,
    DecisionRecord,
    Evidence,
    Finding,
    Gate,
    Interval,
    Metric,
    Predictions,
    Score,
    Shadow,
    Unscored,
)
from understudy.gate.levels import alpha_of
from understudy.gate.verdict import Cause
from understudy.page.holdout import Classes, Guess, Numbers
from understudy.page.summary import summarise

Document = dict[str, Any]
Codes = np.ndarray[Any, np.dtype[np.int64]]
Floats = np.ndarray[Any, np.dtype[np.float64]]

ROWS = 1200
RUN, CHAMPIONS_RUN = "6d1f4c0b2a9e48d7b3c5a1e0f7d69824", "77aa" * 8
CONTEXT = {
    "pipeline": "wine_quality",
    "model": "wine_quality",
    "night": "scheduled__2026-01-04T00:00:00+00:00",
    "as_of": "2026-01-04T00:00:00+00:00",
    "repository": "https://git.example.com/acme/models.git#mlproject/tabular",
    "commit": "5f2c9a1e77b0d4c3a8e6f1029384756aabbccdde",
    "tree": "1e77b0d4c3a8e6f1029384756aabbccdde5f2c9a",
}
GATE = Gate(
    Metric("mae", min_gain=0.0),
    [Metric("mse", max_loss=0.1, relative=True), Metric("r2", at_least=0.25)],
    slices=["region"],
)
LOSSES: dict[str, Callable[[Floats], Floats]] = {"mae": np.abs, "mse": np.square}
FINDINGS = (
    Finding(
        "drift",
        "warn",
        "failed",
        "2 of 11 columns have drifted from the champion's training data: alcohol, sulphates",
        {
            "part": "holdout",
            "columns": 11,
            "drifted": 2,
            "limit": 0.1,
            "distance: alcohol": 0.181,
            "distance: sulphates": 0.122,
            "distance: density": 0.064,
            "distance: chlorides": 0.031,
        },
    ),
    Finding(
        "worst_slices",
        "warn",
        "failed",
        "of 212 groups of rows that were searched, 1 or more are served worse; the clearest is "
        "alcohol < 9.2 and region=west (88 rows, gain -0.2103 per row)",
        {
            "searched": 212,
            "slice_1": "alcohol < 9.2 and region=west",
            "rows_1": 88,
            "gain_1": -0.2103,
            "p_value_1": 0.012,
            "slice_2": "sulphates in [0.5, 0.6)",
            "rows_2": 203,
            "gain_2": -0.0511,
            "p_value_2": 0.44,
        },
    ),
    Finding(
        "schema",
        "hold",
        "passed",
        "columns and types are those of the champion's training data",
        {"columns": 11},
    ),
    Finding(
        "latency_p95",
        "hold",
        "passed",
        "95 % of the answers within 3.1 ms, the champion's within 3.4 ms",
        {"challenger_ms": 3.1, "champion_ms": 3.4, "repetitions": 400},
    ),
)


def score(model: str, metrics: Mapping[str, float], run: str = RUN) -> Score:
    """Return one model's numbers."""
    stored = Predictions(run, "predictions.parquet", "9b" * 32, 48211)
    return Score(model, metrics, run, "ab" * 32, stored)


def compared(
    rule: tuple[str, str, float],
    gains: Floats,
    levels: tuple[float, float],
    judged_before: int = 0,
) -> Comparison:
    """Return the comparison of one bound, from the gain of every row.

    Args:
        rule: Metric, kind of bound, and the bound in the metric's unit.
        gains: One a row.
        levels: The metric of challenger and champion.
        judged_before: How many challengers were compared on the same rows before.
    """
    metric, kind, bound = rule
    gain, error = float(gains.mean()), float(gains.std(ddof=1)) / math.sqrt(len(gains))
    needed = bound if kind == "min_gain" else -bound
    alpha = alpha_of(0.05, judged_before)
    z = NormalDist().inv_cdf(1 - alpha)
    low, high = gain - z * error, gain + z * error
    return Comparison(
        metric=metric,
        rule=kind,
        slice="",
        rows=len(gains),
        groups=len(gains),
        challenger=levels[0],
        champion=levels[1],
        gain=gain,
        needed=needed,
        interval=Interval(low, high, 1 - 2 * alpha),
        excess=Interval(low - needed, high - needed, 1 - 2 * alpha),
        p_value=0.5 * math.erfc((gain - needed) / error / math.sqrt(2)),
        effect_size=gain / float(gains.std(ddof=1)),
        smallest_detectable=needed + (z + 0.8416) * error,
        method="paired mean of losses (t)",
        mcnemar=None,
    )


def absolute(metric: str, bound: float, value: float) -> Comparison:
    """Return the comparison of a value with its lowest."""
    lacking = dict.fromkeys(("gain", "interval", "excess", "p_value", "effect_size", "champion"))
    return Comparison(
        metric=metric,
        rule="at_least",
        slice="",
        rows=ROWS,
        groups=ROWS,
        challenger=value,
        needed=bound,
        smallest_detectable=None,
        method="value on all rows",
        mcnemar=None,
        **lacking,  # type: ignore[arg-type]
    )


def judged(gate: Gate, evidence: Evidence, **more: Any) -> Document:
    """Return the record of a comparison with champion 7."""
    ours = score("8", {"mae": 0.5, "mse": 0.41, "r2": 0.91})
    theirs = score("7", {"mae": 0.55, "mse": 0.49, "r2": 0.88}, CHAMPIONS_RUN)
    given = {"challenger": ours, "champion": theirs, **more}
    basis = Basis.PREDICTIONS
    record = DecisionRecord.of(CONTEXT, gate, **given, basis=basis, evidence=evidence)
    software = {"understudy": "0.1.0", "numpy": "2.4.1", "scikit-learn": "1.9.1"}
    return replace(record, software=software).to_dict()


def rows_of_numbers(better: float, seed: int = 4) -> tuple[Numbers, Codes]:
    """Return predictions of numbers, and the region of each row.

    Args:
        better: How much of the champion's noise the challenger does without, from 0 to 1.
        seed: What the rows are drawn from.
    """
    random = np.random.default_rng(seed)
    target = random.gamma(9.0, 0.65, ROWS)
    shared, own = random.normal(0, 0.5, ROWS), random.normal(0, 0.45, (2, ROWS))
    ours = target + shared + (1 - better) * own[0] - 0.03 * (target - 6)
    theirs = target + shared + own[1] - 0.12 * (target - 6) + 0.05
    region = random.integers(0, 4, ROWS)
    return Numbers(target, {"challenger": ours, "champion": theirs}), region


def comparisons_of_numbers(holdout: Numbers, region: Codes) -> Iterator[Comparison]:
    """Yield the comparisons for ``GATE``."""
    errors = {who: said - holdout.target for who, said in holdout.predictions.items()}
    for metric, kind, bound in (("mae", "min_gain", 0.0), ("mse", "max_loss", 0.1)):
        for name, chosen in _slices(region):
            losses = {who: LOSSES[metric](error[chosen]) for who, error in errors.items()}
            levels = float(losses["challenger"].mean()), float(losses["champion"].mean())
            gains = losses["champion"] - losses["challenger"]
            found = compared((metric, kind, bound * levels[1]), gains, levels)
            yield replace(found, slice=name)
    unexplained = float(np.square(errors["challenger"]).mean())
    yield absolute("r2", 0.25, 1 - unexplained / float(holdout.target.var()))


def _slices(region: Codes) -> Iterator[tuple[str, Any]]:
    yield "", slice(None)
    for code, name in enumerate(("north", "east", "south", "west")):
        yield f"region={name}", region == code


def of_numbers(better: float) -> tuple[Document, Document]:
    """Return the record and the summary of a comparison of numbers."""
    holdout, region = rows_of_numbers(better)
    found = tuple(comparisons_of_numbers(holdout, region))
    evidence = Evidence(found, FINDINGS, ROWS, "c0ffee" * 10 + "beef")
    return judged(GATE, evidence), summarise(holdout)


def in_shadow() -> tuple[Document, Document]:
    """Return the record of a night that moves nothing."""
    record, summary = of_numbers(0.5)
    return {**record, "shadow": {"night": Shadow(3, 14).night, "nights": 14}}, summary


def rows_of_classes(count: int, seed: int = 5) -> Classes:
    """Return predictions of so many classes; the champion is too sure of itself."""
    random = np.random.default_rng(seed)
    truth = random.integers(0, count, ROWS * 3)
    signs = np.eye(count)[truth] * 1.7 + random.normal(0, 1, (len(truth), count))
    names = ("stays", "leaves") if count == 2 else tuple(f"class {code}" for code in range(count))

    def guess(noise: float, sureness: float) -> Guess:
        scores = sureness * (signs + random.normal(0, noise, signs.shape))
        powers = np.exp(scores - scores.max(axis=1, keepdims=True))
        shares = powers / powers.sum(axis=1, keepdims=True)
        return Guess(shares.argmax(axis=1), tuple(shares.T))

    return Classes(names, truth, {"challenger": guess(0.4, 1.3), "champion": guess(0.7, 2.4)})


def of_classes(count: int) -> tuple[Document, Document]:
    """Return the record and the summary of a comparison of classes, the fourth on its rows."""
    holdout = rows_of_classes(count)
    rows = np.arange(len(holdout.target))
    right = {who: (guess.codes == holdout.target) * 1.0 for who, guess in holdout.guesses.items()}
    loss = {
        who: -np.log(np.column_stack(guess.probabilities or ())[rows, holdout.target])
        for who, guess in holdout.guesses.items()
    }
    gains = right["challenger"] - right["champion"], loss["champion"] - loss["challenger"]
    primary = compared(("accuracy", "min_gain", 0.005), gains[0], _means(right), 3)
    found = (
        replace(primary, mcnemar={"b": 169.0, "c": 305.0, "p": 4.1e-10}),
        compared(("log_loss", "max_loss", 0.02), gains[1], _means(loss), 3),
    )
    gate = Gate(Metric("accuracy", min_gain=0.005), [Metric("log_loss", max_loss=0.02)])
    evidence = Evidence(found, FINDINGS, len(rows), "c0ffee" * 10 + "beef", judged_before=3)
    return judged(gate, evidence), summarise(holdout)


def _means(values: Mapping[str, Floats]) -> tuple[float, float]:
    return float(values["challenger"].mean()), float(values["champion"].mean())


def first() -> tuple[Document, Document]:
    """Return the record of a pipeline's first model."""
    holdout, _ = rows_of_numbers(0.3)
    alone = Numbers(holdout.target, {"challenger": holdout.predictions["challenger"]})
    evidence = Evidence((absolute("r2", 0.25, 0.91),), FINDINGS[1:2], ROWS, "ab" * 32)
    return judged(GATE, evidence, champion=None), summarise(alone)


def unscored() -> tuple[Document, None]:
    """Return the record of a night whose champion could not be scored."""
    reason = "the holdout rows lack columns that the model takes: 'density'"
    champion = Unscored("7", reason, CHAMPIONS_RUN, Cause.DATA)
    ours = Score("8", {"mae": 0.52, "mse": 0.4, "r2": 0.8}, RUN)
    return DecisionRecord.of(CONTEXT, GATE, ours, champion).to_dict(), None


def logged() -> tuple[Document, None]:
    """Return a record as the first schema had it: of logged metrics, without slices."""
    gate = Gate(Metric("rmse", min_gain=0.0), [Metric("r2", at_least=0.25)])
    models = (("8", 59.8535, 0.41), ("7", 60.9477, 0.4))
    ours, theirs = (Score(name, {"rmse": rmse, "r2": r2}, RUN) for name, rmse, r2 in models)
    record = DecisionRecord.of(CONTEXT, gate, ours, theirs).to_dict()
    for part in (record["challenger"], record["champion"]):
        del part["predictions"]
    for check in record["checks"]:
        del check["slice"], check["excess"]
    gone = {"evidence", "software", "shadow"}
    kept = {name: value for name, value in record.items() if name not in gone}
    return {**kept, "schema": "understudy/decision/1"}, None


def many(count: int = 60) -> tuple[Document, Document]:
    """Return a record with many checks on slices with long and foreign names."""
    random = np.random.default_rng(8)
    names = ("Z\u00fcrich", "\u5317\u4eac", "\u0627\u0644\u0642\u0627\u0647\u0631\u0629")
    names += ("M\u00fcnchen-Nymphenburg " * 6, "a_very_long_column_name_" * 5)
    found = []
    for index in range(count):
        gains = random.normal(random.normal(0.03, 0.05), 0.6, int(random.integers(50, 900)))
        one = compared(("mae", "max_loss", 0.02), gains, (0.5, 0.5 + float(gains.mean())), 11)
        found.append(replace(one, slice=f"{names[index % 5]}={index}" if index else ""))
    gate = Gate(Metric("mae", max_loss=0.02), slices=["city"])
    evidence = Evidence(tuple(found), (), ROWS, "ab" * 32, judged_before=11)
    return judged(gate, evidence), of_numbers(0.1)[1]


def cases() -> dict[str, tuple[Document, Document | None]]:
    """Return a record of every kind, with its summary where it has one, by name."""
    return {
        "promote": of_numbers(0.5),
        "hold": of_numbers(0.05),
        "reject": of_numbers(-0.6),
        "shadow": in_shadow(),
        "binary": of_classes(2),
        "multiclass": of_classes(7),
        "first": first(),
        "unscored": unscored(),
        "logged": logged(),
        "many": many(),
    }
