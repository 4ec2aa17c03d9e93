"""The pictures of both models' predictions, from their summary. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from understudy.report import class_pictures, number_pictures
from understudy.report.drawing import Picture, Summary, Table


def drawn(summary: Summary) -> Iterator[Picture | Table]:
    """Yield the pictures and tables of a summary; nothing where it has none."""
    if summary.get("task") == "regression":
        yield from number_pictures.drawn(summary)
    elif summary.get("task") == "classification":
        yield from class_pictures.drawn(summary)
