"""Draws what a person looks at: examples, classes, pixels, learning curves.

Uses matplotlib without a display. Touches only the files it is asked to write.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from images.batches import GREY

MOST_CLASSES = 30
"""Classes with a row or a label of their own in a picture; all are in the files beside it."""
_RESOLUTION = 110  # dots per inch
Image = np.ndarray[Any, Any]

mpl.use("Agg")
# A class may have any name: '$' begins no formula.
mpl.rcParams["text.parse_math"] = False


def show(axes: Axes, image: Image, brightest: int, title: str = "") -> None:
    """Draw one image of shape (rows, columns, channels) without axes around it."""
    grey = image.shape[-1] == GREY
    shown = image[..., 0] if grey else image / brightest
    axes.imshow(shown, cmap="gray" if grey else None, vmin=0, vmax=brightest if grey else 1)
    axes.set_axis_off()
    if title:
        axes.set_title(title, fontsize=8)


def examples(images: Mapping[str, Sequence[Image]], brightest: int, folder: Path) -> Path:
    """Draw a row of examples of each class."""
    chosen = dict(list(images.items())[:MOST_CLASSES])
    width = max(map(len, chosen.values()))
    figure = Figure(figsize=(1 + 0.8 * width, 0.8 * len(chosen)), layout="constrained")
    panels = figure.subplots(len(chosen), width, squeeze=False)
    for row, (name, some) in zip(panels, chosen.items(), strict=True):
        for axes in row:
            axes.set_axis_off()
        for axes, image in zip(row, some, strict=False):
            show(axes, image, brightest)
        row[0].text(-0.1, 0.5, name, transform=row[0].transAxes, ha="right", va="center")
    return _save(figure, folder, "examples.png")


def means(images: Mapping[str, Image], brightest: int, folder: Path) -> Path:
    """Draw the mean image of each class."""
    chosen = list(images.items())[:MOST_CLASSES]
    width = min(5, len(chosen))
    height = -(-len(chosen) // width)
    figure = Figure(figsize=(1.4 * width, 1.5 * height), layout="constrained")
    panels = figure.subplots(height, width, squeeze=False).ravel()
    for axes in panels:
        axes.set_axis_off()
    for axes, (name, image) in zip(panels, chosen, strict=False):
        show(axes, image, brightest, name)
    return _save(figure, folder, "mean_images.png")


def classes(counts: Mapping[str, int], folder: Path) -> Path:
    """Draw how many images each class has."""
    chosen = dict(list(counts.items())[:MOST_CLASSES])
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    axes.bar(list(chosen), list(chosen.values()))
    axes.tick_params(axis="x", labelrotation=45 if max(map(len, chosen)) > 2 else 0)  # noqa: PLR2004 - characters
    axes.set_ylabel("images")
    return _save(figure, folder, "classes.png")


def histogram(counts: Image, folder: Path) -> Path:
    """Draw how often each brightness occurs.

    Args:
        counts: of shape (channels, 256).
        folder: where to.
    """
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    names = ("grey",) if len(counts) == GREY else ("red", "green", "blue")
    for channel, name in zip(counts, names, strict=True):
        axes.step(range(len(channel)), channel, where="mid", label=name, color=name)
    axes.set(xlabel="brightness of a pixel", ylabel="pixels", yscale="symlog")
    axes.legend()
    return _save(figure, folder, "pixels.png")


def learning_curves(curves: Mapping[str, Sequence[float]], best: int, folder: Path) -> Path:
    """Draw loss and accuracy over the epochs, and which epoch was the best."""
    figure = Figure(figsize=(10, 4), layout="constrained")
    for axes, figure_of in zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True):
        for part in ("train", "validation"):
            values = curves.get(f"{part}_{figure_of}", ())
            if values:
                axes.plot(range(1, len(values) + 1), values, marker="o", label=part)
        axes.axvline(best, color="grey", linestyle=":", label="best epoch")
        axes.set(xlabel="epoch", ylabel=figure_of)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.legend()
    return _save(figure, folder, "learning_curves.png")


def confusion(matrix: Image, names: Sequence[str], folder: Path) -> Path:
    """Draw how often each class (rows) was taken for each other (columns)."""
    size = 2 + 0.45 * len(names)
    figure = Figure(figsize=(size + 1, size), layout="constrained")
    axes = figure.subplots()
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    drawn = axes.imshow(shares, vmin=0, vmax=1, cmap="Blues")
    axes.set_xticks(range(len(names)), names, rotation=90)
    axes.set_yticks(range(len(names)), names)
    axes.set(xlabel="prediction", ylabel="target")
    for row, column in zip(*np.nonzero(matrix), strict=True):
        colour = "white" if shares[row, column] > 0.5 else "black"  # noqa: PLR2004 - half as dark
        axes.text(
            column,
            row,
            f"{matrix[row, column]}",
            ha="center",
            va="center",
            color=colour,
            fontsize=8,
        )
    figure.colorbar(drawn, ax=axes, shrink=0.7, label="share of the class")
    return _save(figure, folder, "confusion_matrix.png")


def mistakes(images: Sequence[tuple[Image, str]], brightest: int, folder: Path) -> Path:
    """Draw images with a text above each."""
    width = min(6, max(len(images), 1))
    height = max(-(-len(images) // width), 1)
    figure = Figure(figsize=(1.7 * width, 2 * height), layout="constrained")
    panels = figure.subplots(height, width, squeeze=False).ravel()
    for axes in panels:
        axes.set_axis_off()
    for axes, (image, text) in zip(panels, images, strict=False):
        show(axes, image, brightest, text)
    if not images:
        figure.suptitle("no mistakes")
    return _save(figure, folder, "worst_mistakes.png")


def _save(figure: Figure, folder: Path, name: str) -> Path:
    figure.savefig(folder / name, dpi=_RESOLUTION)
    return folder / name
