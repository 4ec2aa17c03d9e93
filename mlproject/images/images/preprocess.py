"""Entry point `preprocess`: splits the raw images, fits the normalisation, logs all under `data/`.

The images stay raw: mean and standard deviation of the training images are logged, and `train`
puts them into the model. Touches the MLflow run and a temporary folder.
"""

import dataclasses
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from images.facts import (
    HOLDOUT_FILE,
    RAW_FILE,
    TRAIN_FILE,
    VALIDATION_FILE,
    Facts,
)
from images.identity import Content, RowIds, fingerprints
from images.normalization import PixelSums, given
from images.report import Report
from images.split import HOLDOUT_PART, NAMES, TRAIN_PART, Split, check
from images.tables import PART, ROW_ID, Images, read, writing
from shared.commandline import RAW, Option
from shared.errors import DataError
from shared.json_files import MALFORMED_FILE, read_json, write_json
from shared.space import room_for
from shared.tracking import Step, log_new_params, main, say

FILES = (TRAIN_FILE, VALIDATION_FILE, HOLDOUT_FILE)
"""In the order of `split.NAMES`."""

OPTIONS = (
    RAW,
    Option(
        "holdout",
        "",
        "which images are held out; '' as the data set says",
        choices=("", "test", "hash"),
    ),
    Option("holdout_fraction", 0.2, "share held out by hash", above=0, below=1),
    Option(
        "validation_fraction",
        0.1,
        "share of the other images that watches the training",
        minimum=0,
        below=1,
    ),
    Option("mean", "", "subtracted from pixels, per channel by commas; '' is fitted"),
    Option("std", "", "that pixels are divided by, per channel by commas; '' is fitted"),
    Option(
        "max_rejected",
        0.0,
        "largest share of files that may have become no image",
        minimum=0,
        maximum=1,
    ),
)


def preprocess(values: Mapping[str, Any]) -> None:
    """Do the step within the active MLflow run, as `Step.work` says."""
    raw = Path(values["raw"])
    facts = Facts.read(raw)
    report = Report(facts, read_json(raw, MALFORMED_FILE))
    mean = given(values["mean"], "mean", facts.shape[2])
    std = given(values["std"], "std", facts.shape[2])
    split = Split(
        values["holdout"] or facts.holdout,
        values["holdout_fraction"],
        values["validation_fraction"],
    )
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        _check_report(report, values["max_rejected"], folder)
        with room_for(folder, facts.images * prod(facts.shape)):
            parts = _Parts(facts, split)
            parts.store(raw / RAW_FILE, folder)
            check(parts.counts, split)
            fitted = parts.sums.fitted()
            facts = dataclasses.replace(facts, mean=mean or fitted[0], std=std or fitted[1])
            facts.write(folder)
            report.write(parts.by_name(), folder)
            statistics = {"mean": facts.mean, "std": facts.std, "images": parts.by_name()}
            write_json(statistics, folder / "statistics.json")
        _log(facts, parts, report, folder)
    log_new_params({name: value for name, value in values.items() if name != "raw"})


class _Parts:
    """The three parts on their way into their files, and what is known of them afterwards.

    Attributes:
        counts: images of each part, by class.
        sums: over the pixels of the training images.
        holdout: digest of the holdout images.
    """

    def __init__(self, facts: Facts, split: Split) -> None:
        self.counts: list[Counter[str]] = [Counter() for _ in NAMES]
        self.sums = PixelSums(facts.shape[2])
        self.holdout = Content()
        self._facts, self._split = facts, split

    def store(self, raw: Path, folder: Path) -> None:
        """Read all raw images and write each into the file of its part."""
        ids = RowIds()
        shape = self._facts.shape
        with ExitStack() as stack:
            writers = [stack.enter_context(writing(folder / n, shape, ROW_ID)) for n in FILES]
            for some in read(raw, shape, PART):
                prints = fingerprints(some.pixels)
                numbered = Images(some.pixels, some.labels, ids.of(prints))
                parts = self._split.parts(prints, some.marks)
                for part, writer in enumerate(writers):
                    numbers = np.flatnonzero(parts == part)
                    chosen = numbered.chosen(numbers)
                    if not chosen.labels:
                        continue
                    writer.write(chosen)
                    self.counts[part].update(chosen.labels)
                    if part == TRAIN_PART:
                        self.sums.add(chosen.pixels)
                    if part == HOLDOUT_PART:
                        held = [prints[kept] for kept in numbers]
                        self.holdout.add(held, chosen.labels, chosen.marks)

    def by_name(self) -> dict[str, dict[str, int]]:
        """Return the images of each part by class, by the part's name."""
        return {name: dict(count) for name, count in zip(NAMES, self.counts, strict=True)}


def _check_report(report: Report, max_rejected: float, folder: Path) -> None:
    """Refuse too many malformed files; the report is logged in this case, too.

    Raises:
        DataError: naming the first of them.
    """
    import mlflow

    mlflow.set_tags(
        {"data.sha256": report.facts.sha256, "data.rejected.rows": str(len(report.malformed))}
    )
    if report.malformed:
        say(f"{len(report.malformed):,} of {report.came:,} files became no image; {report.worst()}")
    if report.share > max_rejected:
        report.write({}, folder)
        mlflow.log_artifacts(str(folder), "data")
        raise DataError(
            f"{len(report.malformed):,} of {report.came:,} files ({report.share:.1%}) became no "
            f"image; {report.worst()}",
            allowed=f"at most {max_rejected:.1%} (parameter max_rejected)",
            action="read data/schema_report.html in the run and mend or remove the files; for "
            "pictures of several sizes pass -P image_size=..., or -P channels=..., to download or "
            "main",
        )


def _log(facts: Facts, parts: _Parts, report: Report, folder: Path) -> None:
    import mlflow

    mlflow.log_artifacts(str(folder), "data")
    numbers = {name: count.total() for name, count in zip(NAMES, parts.counts, strict=True)}
    mlflow.set_tags(
        {
            "data.train.rows": str(numbers["training"]),
            "data.validation.rows": str(numbers["validation"]),
            "data.holdout.rows": str(numbers["holdout"]),
            "data.holdout.sha256": parts.holdout.hexdigest(),
        }
    )
    channels = ("",) if len(facts.mean) == 1 else ("_red", "_green", "_blue")
    mlflow.log_metrics(
        {
            **{f"pixel_mean{c}": m for c, m in zip(channels, facts.mean, strict=True)},
            **{f"pixel_std{c}": s for c, s in zip(channels, facts.std, strict=True)},
        }
    )
    shown = ", ".join(f"{number:,} {name}" for name, number in numbers.items())
    say(f"{facts.dataset}: {shown} images, {len(report.malformed)} rejected")


STEP = Step("preprocess", OPTIONS, preprocess)

if __name__ == "__main__":
    sys.exit(main(STEP))
