"""Which rule serves the least error where models age and some nights go wrong.

    make bench BENCH=aging [BENCH_ARGS='--data FOLDER --seeds 2 --json FILE --picture FILE']

make bench-gate is short for it.

Each night of a year or two brings a model, trained on the rows before the newest days, which are
held out. All models are scored once on all rows that come later; then each rule walks over the
nights and is told only what the gate would know: the comparisons and verdicts are the product's
own. All of it a second time with faults on 3 % of the nights, those that ``understudy backtest``
injects: a fifth of the labels is wrong, a feature has another unit, half of the rows are missing,
the file is last month's, or the model predicts the mean. Streams are made from a seed; ``--data``
names the folder with ``bike-sharing/hour.csv``, which is left out without it. Half a minute on two
free cores; with that file and two seeds more than five. ``--json`` keeps each result as soon as it
is there: cut off, the same command goes on where it ended, and with all of them it only draws.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from html import escape
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import signal, special

from understudy.backtest import evaluation, faults
from understudy.backtest.evaluation import Champions, CostTable
from understudy.backtest.plan import MONTH, Fault
from understudy.cli.terminal import render
from understudy.evaluation.inference import Draw, Margin
from understudy.evaluation.means import Shape
from understudy.evaluation.t_test import Losses, infer
from understudy.evaluation.units import Units
from understudy.gate import (
    Basis,
    Comparison,
    Evidence,
    Gate,
    Learned,
    Metric,
    Score,
    Verdict,
    judge,
)
from understudy.gate.learning import Learning, Lesson, least_tolerance

Floats = NDArray[np.float64]
Predict = Callable[[Floats], Floats]
Fit = Callable[[Floats, Floats], Predict]

FAULTY: Final = 0.03
"""Share of nights with a fault."""
DAYS, FIRST = 400, 45
"""Days of a made stream, and days that its first model may have been trained on."""
DELAY: Final = 7
"""Nights after which the rows that came after a night are known to the rule that learns."""
BEGIN: Final = datetime(2025, 1, 1, tzinfo=UTC)
SCORES: Final = Score("challenger", {}), Score("champion", {})


@dataclass(frozen=True, eq=False)
class Stream:
    """Rows in the order of time, as many each day.

    Attributes:
        name: What happens in it.
        per_day: Rows of a day.
        inputs: Shape (rows, features).
        target: Shape (rows,).
        loss: Targets and predictions to the error of each row.
    """

    name: str
    per_day: int
    inputs: Floats
    target: Floats
    loss: Callable[[Floats, Floats], Floats]

    @property
    def days(self) -> int:
        """How many days there are."""
        return len(self.target) // self.per_day

    def rows(self, first: int, end: int) -> slice:
        """Return the rows of the days from one to before another."""
        return slice(max(first, 0) * self.per_day, max(end, 0) * self.per_day)


@dataclass(frozen=True)
class Setting:
    """How models are made: by what, on how many days, judged on how many."""

    model: str
    fit: Fit
    window: int
    holdout: int


def absolute(target: Floats, predicted: Floats) -> Floats:
    """Return the absolute error of each row."""
    return np.asarray(abs(target - predicted))


def log_loss(target: Floats, share: Floats) -> Floats:
    """Return the log loss of each row, of which ``share`` is the probability of class 1."""
    known = np.clip(share, 1e-6, 1 - 1e-6)
    return np.asarray(-np.where(target > 0.5, np.log(known), np.log1p(-known)))


def ridge(inputs: Floats, target: Floats) -> Predict:
    """Fit a linear model with a penalty of one."""
    with_one = np.column_stack([np.ones(len(inputs)), inputs])
    gram = with_one.T @ with_one + np.eye(with_one.shape[1])
    weights = np.linalg.solve(gram, with_one.T @ target)
    return lambda rows: np.asarray(weights[0] + rows @ weights[1:])


def bayes(inputs: Floats, target: Floats) -> Predict:
    """Fit Gaussian naive Bayes; it predicts the share of class 1."""
    scores = []
    for kind in (0.0, 1.0):
        rows = inputs[target == kind]
        share = (len(rows) + 1) / (len(inputs) + 2)
        rows = rows if len(rows) > 1 else inputs
        scores.append((rows.mean(axis=0), rows.var(axis=0) + 1e-3, np.log(share)))

    def predict(rows: Floats) -> Floats:
        zero, one = (
            share - 0.5 * ((rows - mean) ** 2 / spread + np.log(spread)).sum(axis=1)
            for mean, spread, share in scores
        )
        return np.asarray(special.expit(one - zero))

    return predict


def tree(inputs: Floats, target: Floats) -> Predict:
    """Fit one tree, which differs much from night to night."""
    from sklearn.tree import DecisionTreeRegressor

    model = DecisionTreeRegressor(max_depth=10, min_samples_leaf=3, random_state=0)
    return model.fit(inputs, target).predict  # type: ignore[no-any-return]


def forest(inputs: Floats, target: Floats) -> Predict:
    """Fit a small forest; its seed is another each night."""
    from sklearn.ensemble import ExtraTreesRegressor

    model = ExtraTreesRegressor(6, min_samples_leaf=2, random_state=int(target.sum()) % 1000)
    return model.fit(inputs, target).predict  # type: ignore[no-any-return]


def boosting(inputs: Floats, target: Floats) -> Predict:
    """Fit boosted trees."""
    from sklearn.ensemble import HistGradientBoostingRegressor

    model = HistGradientBoostingRegressor(max_iter=25, early_stopping=False, random_state=0)
    return model.fit(inputs, target).predict  # type: ignore[no-any-return]


def _walk(rng: np.random.Generator, size: float) -> Floats:
    return np.asarray(np.cumsum(rng.normal(scale=size, size=(DAYS, 4)), axis=0))


_STEPS: Final = {"slow": 0.04, "noisy": 0.06, "fast": 0.15}
"""How much each weight moves in a day, as a standard deviation."""


def _turns(kind: str, rng: np.random.Generator) -> Floats:
    """Return what each feature weighs on each day, shape (DAYS, 4)."""
    days = np.arange(DAYS)
    base, other = rng.normal(size=(2, 4))
    if kind in _STEPS:
        return np.asarray(base + _walk(rng, _STEPS[kind]))
    if kind == "sudden":
        jumps = np.sort(rng.choice(np.arange(140, DAYS - 20), 3, replace=False))
        drawn = rng.normal(size=(4, 4))
        return np.asarray(drawn[np.searchsorted(jumps, days, side="right")])
    if kind == "season":
        return np.asarray(base + np.outer(np.sin(2 * np.pi * days / 200), other))
    if kind == "recurring":
        return np.asarray(np.where((days // 45 % 2 == 0)[:, None], base, other))
    return np.tile(base, (DAYS, 1))


def _lasting(rng: np.random.Generator, rows: int, slope: float) -> Floats:
    """Return noise with a variance of one, of which each row depends on the last one."""
    steps = rng.normal(size=rows) * (1 - slope**2) ** 0.5
    return np.asarray(signal.lfilter([1.0], [1.0, -slope], steps))


def balance(per_day: int, rng: np.random.Generator) -> Stream:
    """Return a stream of two classes, of which now the one is frequent, now the other."""
    day = np.repeat(np.arange(DAYS), per_day)
    share = 0.5 + 0.35 * np.sin(2 * np.pi * day / 150 + rng.uniform(0, 6))
    target = (rng.random(len(day)) < share) * 1.0
    inputs = rng.normal(size=(len(day), 4)) + 0.5 * target[:, None]
    return Stream("balance", per_day, inputs, target, log_loss)


def made(kind: str, per_day: int, seed: int) -> Stream:
    """Return a stream of a kind."""
    rng = np.random.default_rng([seed, per_day, KINDS.index(kind)])
    if kind == "balance":
        return balance(per_day, rng)
    day = np.repeat(np.arange(DAYS), per_day)
    inputs, weights = rng.normal(size=(len(day), 4)), _turns(kind, rng)
    curve = 0.0
    if kind == "inputs":
        # The truth is curved and stays; the model is linear, and the inputs wander.
        inputs[:, 0] += 2 * np.sin(2 * np.pi * day / 250)
        curve = 0.6
    # Half of the noise lasts for some hours, as that of weather and prices does.
    noise = 0.7 * rng.normal(size=len(day)) + 0.7 * _lasting(rng, len(day), 0.9)
    if kind in {"noisy", "level"}:
        noise += 2 * _lasting(rng, len(day), 0.98 if kind == "noisy" else 0.998)
    target = (inputs * weights[day]).sum(axis=1) + curve * inputs[:, 0] ** 2 + noise
    return Stream(kind, per_day, inputs, target, absolute)


KINDS: Final = (
    "none", "slow", "fast", "sudden", "season", "recurring", "inputs", "balance", "level", "noisy",
)  # fmt: skip


def bike(data: Path, *, linear: bool) -> Stream:
    """Return the hourly counts of two years; an hour that is missing is as the one before."""
    frame = pd.read_csv(data / "bike-sharing/hour.csv")
    hours = pd.MultiIndex.from_product([sorted(frame.dteday.unique()), range(24)])
    frame = frame.set_index(["dteday", "hr"]).reindex(hours).ffill().rename_axis(["dteday", "hr"])
    frame = frame.reset_index()
    names = ["temp", "atemp", "hum", "windspeed", "holiday", "workingday", "weathersit"]
    inputs = frame[[*names, "hr", "weekday"]].to_numpy(float)
    if linear:
        at = pd.get_dummies(frame.hr, dtype=float).to_numpy()
        inputs = np.column_stack([frame[names], at, at * frame[["workingday"]].to_numpy()])
    return Stream("bike", 24, inputs, frame.cnt.to_numpy(float), absolute)


def spoilt(
    stream: Stream, setting: Setting, end: int, rng: np.random.Generator
) -> tuple[Floats, Floats]:
    """Return what a night trains on whose data have a fault; ``end`` is the day after its last."""
    fault = list(Fault)[rng.integers(len(Fault))]
    if fault is Fault.MONTH:
        end -= MONTH.days
    rows = stream.rows(end - setting.window, end)
    inputs, target = stream.inputs[rows], stream.target[rows]
    if fault is Fault.MONTH:
        return inputs, target
    if fault is Fault.MEAN:
        answer = faults.constant(pd.DataFrame({"prediction": target}))["prediction"]
        return np.zeros_like(inputs), np.full_like(target, answer)
    frame = pd.DataFrame(inputs, columns=[str(n) for n in range(inputs.shape[1])])
    classes = stream.loss is log_loss
    made = faults.spoilt(fault, frame.assign(target=target), "target", rng, classes=classes)
    return made[frame.columns].to_numpy(), made["target"].to_numpy()


@dataclass(frozen=True, eq=False)
class Nights:
    """What every model would have done.

    Attributes:
        stream: The rows.
        setting: How models are made.
        losses: Of each night's model on each row, shape (nights, rows); zero before its night.
        refits: Of each night's model of all rows, the holdout's among them, likewise.
    """

    stream: Stream
    setting: Setting
    losses: NDArray[np.float32]
    refits: NDArray[np.float32]

    @property
    def first(self) -> int:
        """The day of the first night."""
        return FIRST + self.setting.holdout

    def held_out(self, night: int, model: int) -> Floats:
        """Return the losses of a model on a night's holdout."""
        day = self.first + night
        rows = self.stream.rows(day - self.setting.holdout, day)
        return np.asarray(self.losses[model, rows], dtype=np.float64)

    def table(self, *, refit: bool = False) -> CostTable:
        """Return what serving each day would have cost with each model, or with its refit."""
        nights = len(self.losses)
        daily = (
            (self.refits if refit else self.losses)
            .reshape(nights, self.stream.days, -1)
            .sum(axis=2, dtype=np.float64)
        )
        return CostTable(daily[:, self.first :].T, [True] * nights)

    def promotes(self, gate: Gate) -> Callable[[int, int], bool]:
        """Return a rule as the gate obeys it: night and champion to whether it promotes."""
        evidence = self.evidence(gate)
        lessons: list[Lesson] = []

        def decided(night: int, champion: int) -> bool:
            rules = gate
            if gate.learn is not None:
                rules = gate.tolerating(Learning.of(gate, lessons, moment(night)).chosen)
            asked = *SCORES, Basis.PREDICTIONS, evidence(rules, night, champion)
            if gate.learn is not None and night + DELAY < len(self.losses):
                least = least_tolerance(rules, *asked)
                gain = self.gain(night, champion)
                lessons.append(Lesson(moment(night), moment(night + DELAY), least, gain))
            return judge(rules, *asked).verdict is Verdict.PROMOTE

        return decided

    def evidence(self, gate: Gate) -> Callable[[Gate, int, int], Evidence]:
        """Return what compares a night's model with a champion, for rules that differ in bounds."""
        hours = np.arange(self.setting.holdout * self.stream.per_day)
        ordered = gate.time_block == "auto"
        day = hours // self.stream.per_day
        units = Units.of_times(hours, day) if ordered else Units.of_rows(len(hours))
        draw = Draw(units, gate.decisive.alpha, 0)

        def found(rules: Gate, night: int, champion: int) -> Evidence:
            rule = rules.rules[0]
            margin = Margin.of(rule)
            ours, theirs = (self.held_out(night, one) for one in (night, champion))
            found = infer(Losses(ours, theirs, None), Shape.MEAN, margin, draw)
            values = float(ours.mean()), float(theirs.mean())
            compared = Comparison(
                *(rule[0].name, rule[1].value, "", len(ours), len(ours), *values),
                *(values[1] - values[0], margin.needed(values[1]), found.gain, found.excess),
                *(found.p_value, None, None, found.method, None),
            )
            return Evidence((compared,))

        return found

    def gain(self, night: int, champion: int) -> float:
        """Return how much better a night's model was on the rows that came after its night."""
        day = self.first + night
        rows = self.stream.rows(day, day + DELAY)
        ours, theirs = (self.losses[one, rows].mean(dtype=float) for one in (night, champion))
        return float(theirs - ours)


def moment(night: int) -> str:
    """Return the ISO time of a night."""
    return (BEGIN + timedelta(days=night)).isoformat()


def _with_holdout(
    stream: Stream, held: slice, inputs: Floats, target: Floats
) -> tuple[Floats, Floats]:
    """Return what a night with a fault trains on again; the holdout's own rows are right."""
    more, truth = stream.inputs[held], stream.target[held]
    # A model that predicts one thing for each row goes on doing so.
    if not inputs.any():
        more, truth = np.zeros_like(more), np.full_like(truth, target[0])
    return np.concatenate([inputs, more]), np.concatenate([target, truth])


def nights_of(stream: Stream, setting: Setting, seed: int) -> tuple[Nights, Nights]:
    """Train all nights; return them without faults and with."""
    first, rng = FIRST + setting.holdout, np.random.default_rng(seed)
    count = stream.days - first
    clean = np.zeros((count, len(stream.target)), dtype=np.float32)
    faulty, refits, faulty_refits = (clean.copy() for _ in range(3))
    for night in range(count):
        day = first + night
        end = day - setting.holdout
        rows, later = stream.rows(end - setting.window, end), stream.rows(end, stream.days)
        inputs, target = stream.inputs[later], stream.target[later]
        model = setting.fit(stream.inputs[rows], stream.target[rows])
        clean[night, later] = faulty[night, later] = stream.loss(target, model(inputs))
        held, after = stream.rows(end, day), stream.rows(day, stream.days)
        every = stream.rows(end - setting.window, day)
        new, truth = stream.inputs[after], stream.target[after]
        again = setting.fit(stream.inputs[every], stream.target[every])
        refits[night, after] = faulty_refits[night, after] = stream.loss(truth, again(new))
        if night and rng.random() < FAULTY:
            learnt = spoilt(stream, setting, end, rng)
            faulty[night, later] = stream.loss(target, setting.fit(*learnt)(inputs))
            again = setting.fit(*_with_holdout(stream, held, *learnt))
            faulty_refits[night, after] = stream.loss(truth, again(new))
    return (
        Nights(stream, setting, clean, refits),
        Nights(stream, setting, faulty, faulty_refits),
    )


RULES: Final = {
    "default of 0.1": Gate(Metric("mae", min_gain=0.0), time_block=""),
    "default": Gate(Metric("mae")),
    "tolerance 0 %": Gate(Metric("mae", tolerance=0.0)),
    "tolerance 10 %": Gate(Metric("mae", tolerance=0.1, relative="error")),
    "learned": Gate(Metric("mae"), learn=Learned()),
    "max_loss 5 %": Gate(Metric("mae", max_loss=0.05, relative=True)),
    "max_loss 10 %": Gate(Metric("mae", max_loss=0.10, relative=True)),
}


LEARNED: Final = "learned"
FIXED: Final = ("tolerance 0 %", "default", "tolerance 10 %")
"""The rules that the learned one chooses among."""
SETTLED: Final = 60
"""Nights after which it is held against the best of them."""


def paths(nights: Nights, table: CostTable) -> dict[str, Champions]:
    """Return which model serves each day under each policy."""

    def mean(night: int, model: int) -> float:
        return float(nights.held_out(night, model).mean())

    rules = {name: evaluation.walked(table, nights.promotes(gate)) for name, gate in RULES.items()}
    return {
        "frozen": evaluation.frozen(table),
        "always": evaluation.always(table),
        "better number": evaluation.point(table, mean),
        **rules,
        "hindsight": evaluation.hindsight(table),
    }


REFITTED: Final = ("always", "default of 0.1", "default")
"""Policies whose models are trained on all rows, too, after the verdict."""
IDENTITY: Final = ("stream", "rows a day", "model", "window", "holdout", "seed")


def about_of(stream: Stream, setting: Setting, seed: int) -> dict[str, Any]:
    """Return what tells a result from others."""
    how = setting.model, setting.window, setting.holdout
    return dict(zip(IDENTITY, (stream.name, stream.per_day, *how, seed), strict=True))


def studied(stream: Stream, setting: Setting, seed: int) -> dict[str, Any]:
    """Return what each policy served, in percent above hindsight without faults."""
    found: dict[str, Any] = {}
    best = 0.0
    for name, nights in zip(("clean", "faulty"), nights_of(stream, setting, seed), strict=True):
        table = nights.table()
        walked = paths(nights, table)
        nightly = {policy: table.along(path) for policy, path in walked.items()}
        costs = {policy: float(served.sum()) for policy, served in nightly.items()}
        again = nights.table(refit=True)
        for policy in REFITTED:
            walked[f"{policy}, refit"] = walked[policy]
            costs[f"{policy}, refit"] = float(again.along(walked[policy]).sum())
        best = best or costs["hindsight"]
        found[name] = {policy: 100 * (cost / best - 1) for policy, cost in costs.items()}
        settled = {policy: float(served[SETTLED:].sum()) for policy, served in nightly.items()}
        least = min(settled[policy] for policy in FIXED)
        found[f"{name} settled"] = {p: 100 * (cost / least - 1) for p, cost in settled.items()}
        found[f"{name} promotions"] = {p: evaluation.promotions(path) for p, path in walked.items()}
    return found


def jobs(data: Path | None, seeds: int) -> Iterator[tuple[Stream, Setting, int]]:
    """Yield what is studied."""
    for seed in range(seeds):
        for number, kind in enumerate(KINDS):
            name, fit = ("bayes", bayes) if kind == "balance" else ("ridge", ridge)
            for per_day, window, holdout in ((8, 30, 7), (24, 60, 14), (40, 1000, 21)):
                # Small and large holdouts of each kind; the third setting of every second kind.
                if per_day < 40 or number % 2 == 0:
                    stream = made(kind, per_day, seed)
                    yield stream, Setting(name, fit, window, holdout), seed
    if data is None:
        sys.stderr.write("bench: bike sharing is left out: no --data FOLDER was given\n")
        return
    for window, holdout in ((30, 7), (90, 14), (1000, 7)):
        yield bike(data, linear=True), Setting("ridge", ridge, window, holdout), 0
        for fit in (tree, forest, boosting):
            yield bike(data, linear=False), Setting(fit.__name__, fit, window, holdout), 0


def above(value: float, other: float) -> float:
    """Return by how many percent one served error is above another, both above hindsight."""
    return 100 * ((1 + value / 100) / (1 + other / 100) - 1)


def goals(results: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """Return, for each policy, the worst case over all streams by each of the three goals."""
    table = []
    for policy in results[0]["clean"]:
        simple = [
            above(one["clean"][policy], min(one["clean"][name] for name in SIMPLE))
            for one in results
        ]
        by_always = [above(one["clean"][policy], one["clean"]["always"]) for one in results]
        by_faults = [above(one["faulty"][policy], one["clean"][policy]) for one in results]
        worst = [f"{max(values):.2f}" for values in (simple, by_always, by_faults)]
        missed = sum(value > 1 for value in simple)
        means = [np.mean([one[kind][policy] for one in results]) for kind in ("clean", "faulty")]
        table.append([policy, *(f"{mean:.2f}" for mean in means), *worst, str(missed)])
    return table


SIMPLE: Final = ("frozen", "always", "better number")
GOALS: Final = [
    "policy", "mean", "mean, faults", "worst above best simple", "worst above always",
    "worst by faults", "streams > 1 % above best simple",
]  # fmt: skip


def rows_of(results: Sequence[Mapping[str, Any]]) -> Iterator[list[str]]:
    """Yield the lines of the table: one without faults and one with, for each stream."""
    for one in results:
        about = f"{one['stream']}, {one['rows a day']} rows a day"
        how = f"{one['model']}, {one['window']} d, {one['holdout']} d held out"
        for kind in ("clean", "faulty"):
            values = [
                f"{value:.2f} ({one[f'{kind} promotions'][policy]})"
                for policy, value in one[kind].items()
            ]
            yield [about, how, "with faults" if kind == "faulty" else "", *values]


def on_learning(results: Sequence[Mapping[str, Any]]) -> str:
    """Return how far the learned rule is from the best of those that it chooses among."""
    by_rule = {
        rule: [one[f"{kind} settled"][rule] for one in results for kind in ("clean", "faulty")]
        for rule in (LEARNED, *FIXED)
    }
    told = [
        f"{rule}: {np.mean(values):.2f} % in the mean, {max(values):.2f} % at most, "
        f"{sum(value > 0.5 for value in values)} of {len(values)} above 0.5 %"
        for rule, values in by_rule.items()
    ]
    head = f"After {SETTLED} nights, above the best of {', '.join(FIXED)}, with faults and without:"
    return "\n  ".join([head, *told])


SHOWN: Final = ("always", "better number", "default of 0.1", "default", "max_loss 5 %")
COLOURS: Final = {"clean": "#8aa4c8", "faulty": "#c0504d"}
_LEFT, _TOP, _ROW, _PERCENT = 150, 64, 46, 30.0


def picture(results: Sequence[Mapping[str, Any]]) -> str:
    """Return bars as SVG: what policies serve on average, without faults and with."""
    lines = [
        _text(
            20, 24, "Served error above the best choice in hindsight, in percent", 'font-size="15"'
        ),
        f'<rect x="20" y="38" width="12" height="12" fill="{COLOURS["clean"]}"/>',
        _text(38, 49, f"mean of {len(results)} settings of made streams"),
        f'<rect x="300" y="38" width="12" height="12" fill="{COLOURS["faulty"]}"/>',
        _text(318, 49, f"the same with faults on {100 * FAULTY:g} % of the nights"),
    ]
    for number, name in enumerate(SHOWN):
        top = _TOP + _ROW * number
        lines.append(_text(_LEFT - 10, top + 24, escape(name), 'text-anchor="end"'))
        for place, (kind, colour) in enumerate(COLOURS.items()):
            mean, y = float(np.mean([one[kind][name] for one in results])), top + 18 * place
            width = _PERCENT * mean
            lines += [
                f'<rect x="{_LEFT}" y="{y}" width="{width:.1f}" height="16" fill="{colour}"/>',
                _text(_LEFT + 6 + width, y + 13, f"{mean:.1f}"),
            ]
    height = _TOP + _ROW * len(SHOWN)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="760" height="{height}" '
        f'viewBox="0 0 760 {height}" font-family="sans-serif" font-size="13">\n'
        f'<rect width="760" height="{height}" fill="white"/>\n' + "\n".join(lines) + "\n</svg>\n"
    )


def _text(x: float, y: float, text: str, more: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y}" {more}>{text}</text>'


def studied_all(
    asked: Iterable[tuple[Stream, Setting, int]], kept: Path | None
) -> Iterator[dict[str, Any]]:
    """Yield the results of all that is asked; those that the file has are not computed again.

    Args:
        asked: What to study.
        kept: The file with the results so far, written after each of them; None to keep none.
    """
    there = json.loads(kept.read_text(encoding="utf-8")) if kept and kept.is_file() else []
    # Those of a version with other rules are computed anew.
    there = [one for one in there if RULES.keys() <= one["clean"].keys()]
    known = {tuple(one[name] for name in IDENTITY): one for one in there}
    for stream, setting, seed in asked:
        about = about_of(stream, setting, seed)
        found = known.get(tuple(about.values()))
        if found is None:
            found = {**about, **studied(stream, setting, seed)}
            there.append(found)
            if kept:
                whole = kept.with_name(f".{kept.name}.new")
                whole.write_text(json.dumps(there, indent=1), encoding="utf-8")
                whole.replace(kept)
            sys.stderr.write(f"bench: {stream.name}, {setting.model}, {setting.window} days\n")
        yield found


def main(arguments: Sequence[str] | None = None) -> int:
    """Study all of it and print two tables; return 0."""
    parser = argparse.ArgumentParser(prog="bench aging", description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--picture", type=Path)
    asked = parser.parse_args(arguments)
    results = list(studied_all(jobs(asked.data, asked.seeds), asked.json))
    if asked.picture:
        asked.picture.write_text(picture(results), encoding="utf-8")
    header = ["stream", "model", "", *results[0]["clean"]]
    print(render(header, list(rows_of(results))))  # noqa: T201 -- a terminal program
    print("\nIn percent of served error; above hindsight unless it says above what")  # noqa: T201
    print(render(GOALS, goals(results)))  # noqa: T201
    print(f"\n{on_learning(results)}")  # noqa: T201
    return 0
