"""Draws a study: its course, each parameter against the result, what mattered, what good fits cost.

Uses matplotlib without a display. Touches only the files it is asked to write.
"""

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState

MOST_PANELS = 24
FEWEST_FOR_RANKS = 5  # trials; with fewer a rank correlation says nothing

mpl.use("Agg")


def draw_all(trials: Sequence[FrozenTrial], metric: str, direction: str, folder: Path) -> None:
    """Draw every picture that fits into `folder`.

    Args:
        trials: all of them, at least one of which is complete, the first one first.
        metric: what led the study.
        direction: "minimize" or "maximize".
        folder: where the files go.
    """
    complete = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    values = np.array([trial.value for trial in complete], dtype="float64")
    _save(_course(complete, values, metric, direction), folder / "course.png")
    _save(_parameters(complete, values, metric), folder / "parameters.png")
    _save(_seconds(complete, values, metric), folder / "seconds.png")
    ranks = correlations(complete, values)
    if len(ranks):
        _save(_ranks(ranks, metric), folder / "rank_correlation.png")
    if any(len(trial.intermediate_values) > 1 for trial in trials):
        _save(_curves(trials, metric), folder / "curves.png")


def correlations(complete: Sequence[FrozenTrial], values: "np.ndarray") -> pd.Series:  # type: ignore[type-arg]
    """Return Spearman's rank correlation of each number parameter with the result.

    Empty with fewer than `FEWEST_FOR_RANKS` trials; a parameter without variation is left out.
    """
    if len(complete) < FEWEST_FOR_RANKS:
        return pd.Series(dtype="float64")
    params = pd.DataFrame([trial.params for trial in complete]).select_dtypes("number")
    varied = params.loc[:, params.min() < params.max()]
    found = varied.rank().corrwith(pd.Series(values).rank()).dropna()
    return found.sort_values(key=np.abs)


def _course(
    complete: Sequence[FrozenTrial],
    values: "np.ndarray",
    metric: str,
    direction: str,  # type: ignore[type-arg]
) -> Figure:
    figure = Figure(figsize=(8, 4), layout="constrained")
    axes = figure.subplots()
    numbers = [trial.number for trial in complete]
    best = np.minimum if direction == "minimize" else np.maximum
    axes.scatter(numbers, values, s=18, alpha=0.6, label="trial")
    axes.step(numbers, best.accumulate(values), where="post", color="C1", label="best so far")
    axes.set(xlabel="trial", ylabel=metric, title=f"Course of the study ({direction})")
    axes.legend()
    return figure


def _parameters(complete: Sequence[FrozenTrial], values: "np.ndarray", metric: str) -> Figure:  # type: ignore[type-arg]
    names = list(complete[0].params)[:MOST_PANELS]
    columns = min(3, len(names))
    rows = -(-len(names) // columns)
    figure = Figure(figsize=(3.6 * columns, 3 * rows), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes, name in zip(panels, names, strict=False):
        _panel(axes, complete, values, name)
        axes.set_ylabel(metric)
    for axes in panels[len(names) :]:
        axes.set_visible(False)
    return figure


def _panel(axes: Axes, complete: Sequence[FrozenTrial], values: "np.ndarray", name: str) -> None:  # type: ignore[type-arg]
    """One point per trial, the later ones darker."""
    distribution = complete[0].distributions[name]
    given = [trial.params[name] for trial in complete]
    if isinstance(distribution, CategoricalDistribution):
        given = [str(value) for value in given]
    elif isinstance(distribution, FloatDistribution | IntDistribution) and distribution.log:
        axes.set_xscale("log")
    axes.scatter(given, values, c=range(len(values)), cmap="Blues", edgecolors="grey", s=22)
    axes.set_xlabel(name)


def _seconds(complete: Sequence[FrozenTrial], values: "np.ndarray", metric: str) -> Figure:  # type: ignore[type-arg]
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    lengths = [trial.duration.total_seconds() if trial.duration else 0.0 for trial in complete]
    axes.scatter(lengths, values, s=18, alpha=0.6)
    axes.set(xlabel="seconds of the trial", ylabel=metric, title="What a good result costs")
    return figure


def _ranks(ranks: pd.Series, metric: str) -> Figure:
    figure = Figure(figsize=(7, 1.2 + 0.35 * len(ranks)), layout="constrained")
    axes = figure.subplots()
    axes.barh([str(name) for name in ranks.index], ranks.to_numpy())
    axes.axvline(0, color="grey", linewidth=0.8)
    axes.set(xlim=(-1, 1), xlabel=f"Spearman's rank correlation with {metric}")
    return figure


def _curves(trials: Sequence[FrozenTrial], metric: str) -> Figure:
    """Each trial's course, those that were ended before their time in grey."""
    figure = Figure(figsize=(8, 4), layout="constrained")
    axes = figure.subplots()
    for trial in trials:
        steps = sorted(trial.intermediate_values)
        values = [trial.intermediate_values[step] for step in steps]
        whole = trial.state == TrialState.COMPLETE
        axes.plot(steps, values, marker=".", alpha=0.7, color="C0" if whole else "grey")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set(xlabel="step of the trial", ylabel=metric, title="Trials (grey: pruned, failed)")
    return figure


def _save(figure: Figure, path: Path) -> None:
    figure.savefig(path, dpi=110)
