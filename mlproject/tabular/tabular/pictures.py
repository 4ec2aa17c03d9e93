"""Draws what a person looks at before modelling: target, features, relations, course over time.

Uses matplotlib without a display. Touches only the files it is asked to write.
"""

from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tabular.facts import Facts

MOST_PANELS = 24
MOST_CORRELATED = 30
MOST_BARS = 20
MOST_LEVEL_LABELS = 10  # more of them are turned so that they do not overlap
MOST_PERIODS = 400
BINS = 40

mpl.use("Agg")
# A column or a class may have any name: '$' begins no formula, which most names are not.
mpl.rcParams["text.parse_math"] = False


def draw_all(frame: pd.DataFrame, facts: Facts, folder: Path) -> dict[str, str]:
    """Draw every picture that fits the data into `folder`; return what each file shows."""
    related = correlations(frame, facts)
    figures = {
        "target.png": ("The target", _target(frame, facts)),
        "features.png": ("The features", _features(frame, facts, related)),
        "missing.png": ("Missing values", _missing(frame, facts)),
    }
    if len(related) > 1:
        figures["correlation.png"] = ("Correlation of numbers", _correlation(frame, related))
    if facts.time:
        figures["over_time.png"] = ("Over time", _over_time(frame, facts))
    for name, (_, figure) in figures.items():
        figure.savefig(folder / name, dpi=110)
    return {name: what for name, (what, _) in figures.items()}


def correlations(frame: pd.DataFrame, facts: Facts) -> pd.Series:
    """Return Pearson's correlation of each number feature with the target, the strongest first.

    The codes of a text target are no quantity, so its correlations are left as missing.
    """
    names = [name for name in facts.features if facts.columns[name].kind == "number"]
    target = frame[facts.target]
    if facts.columns[facts.target].kind == "text":
        return pd.Series(np.nan, index=names)
    with np.errstate(invalid="ignore", divide="ignore"):
        related = frame[names].corrwith(target)
    return related.sort_values(key=np.abs, ascending=False)


def _target(frame: pd.DataFrame, facts: Facts) -> Figure:
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    _distribution(axes, frame[facts.target], bars=facts.task == "classification")
    axes.set_title(f"{facts.dataset}: target '{facts.target}', {len(frame):,} rows")
    return figure


def _features(frame: pd.DataFrame, facts: Facts, related: pd.Series) -> Figure:
    """One panel per feature: the texts, then the numbers that go along with the target most."""
    texts = [name for name in facts.features if facts.columns[name].kind == "text"]
    names = [*texts, *map(str, related.index)][:MOST_PANELS]
    columns = min(4, len(names))
    rows = -(-len(names) // columns)
    figure = Figure(figsize=(3.2 * columns, 2.4 * rows), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes, name in zip(panels, names, strict=False):
        _distribution(axes, frame[name], bars=name in texts)
        axes.set_title(name, fontsize=9)
    for axes in panels[len(names) :]:
        axes.set_visible(False)
    return figure


def _distribution(axes: Axes, column: pd.Series, *, bars: bool) -> None:
    known = column.dropna()
    if bars:
        counts = known.astype("str").value_counts().sort_index().head(MOST_BARS)
        axes.bar(list(counts.index), counts.to_numpy())
        axes.tick_params(axis="x", labelrotation=45 if len(counts) > MOST_LEVEL_LABELS else 0)
    else:
        axes.hist(known.to_numpy(dtype="float64"), bins=BINS)
    axes.set_ylabel("rows")


def _missing(frame: pd.DataFrame, facts: Facts) -> Figure:
    shares = frame[[facts.target, *facts.features]].isna().mean().sort_values(ascending=False)
    shown = shares.head(MOST_CORRELATED)[::-1]
    figure = Figure(figsize=(7, 1 + 0.25 * len(shown)), layout="constrained")
    axes = figure.subplots()
    axes.barh([str(name) for name in shown.index], 100 * shown.to_numpy())
    axes.set(xlabel="missing, % of the rows", xlim=(0, 100), title="Missing values")
    return figure


def _correlation(frame: pd.DataFrame, related: pd.Series) -> Figure:
    names = [str(name) for name in related.index[:MOST_CORRELATED]]
    matrix = frame[names].corr().to_numpy()
    size = 3 + 0.3 * len(names)
    figure = Figure(figsize=(size + 1, size), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(matrix, vmin=-1, vmax=1, cmap="RdBu_r")
    axes.set_xticks(range(len(names)), names, rotation=90, fontsize=8)
    axes.set_yticks(range(len(names)), names, fontsize=8)
    axes.set_title("Pearson's correlation of number features")
    figure.colorbar(image, ax=axes, shrink=0.7)
    return figure


def _over_time(frame: pd.DataFrame, facts: Facts) -> Figure:
    """The target's mean (for classes: the rows) per day, or per longer period if there are many."""
    days = max(1, int((frame[facts.time].max() - frame[facts.time].min()).days) // MOST_PERIODS)
    grouped = frame.set_index(facts.time).sort_index()[facts.target].resample(f"{days}D")
    number = facts.task == "regression"
    values = grouped.mean() if number else grouped.size()
    figure = Figure(figsize=(9, 4), layout="constrained")
    axes = figure.subplots()
    axes.plot(pd.DatetimeIndex(values.index).to_pydatetime(), values.to_numpy())
    axes.set_ylabel(f"mean of '{facts.target}'" if number else "rows")
    axes.set_title(f"{facts.dataset}, per {days} day{'s' if days > 1 else ''}")
    return figure
