"""Entry point `explore`: logs a page, pictures and statistics of the raw images under `explore/`.

Touches the MLflow run and a temporary folder.
"""

import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from images.batches import Pixels
from images.facts import RAW_FILE, Facts
from images.normalization import PixelSums
from images.tables import PART, Images, read
from shared.commandline import RAW
from shared.json_files import write_json
from shared.pages import page
from shared.space import room_for
from shared.tracking import Step, main, say

EXAMPLES = 10
"""Examples of each class."""
_PICTURE_ROOM = 1 << 22  # bytes; what the pictures take at most, as a rule
_BRIGHTNESSES = 256

OPTIONS = (RAW,)


def explore(values: Mapping[str, Any]) -> None:
    """Do the step within the active MLflow run, as `Step.work` says."""
    import mlflow

    raw = Path(values["raw"])
    facts = Facts.read(raw)
    seen = _Seen(facts)
    for some in read(raw / RAW_FILE, facts.shape, PART):
        seen.add(some)
    mean, std = seen.sums.fitted()
    with tempfile.TemporaryDirectory() as place, room_for(Path(place), _PICTURE_ROOM):
        folder = Path(place)
        content = {
            "images": facts.images,
            "form": facts.form,
            "classes": seen.counts,
            "pixel_mean": mean,
            "pixel_std": std,
        }
        write_json(content, folder / "statistics.json")
        classes = [{"class": name, "images": f"{n:,}"} for name, n in seen.counts.items()]
        pictures = {what: file.read_bytes() for what, file in seen.draw(folder).items()}
        whole = page(
            f"Data: {facts.dataset}",
            f"{facts.images:,} images, {facts.form}; {_finding(mean, std)}.",
            {"Images by class": classes},
            pictures,
        )
        (folder / "data.html").write_text(whole, encoding="utf-8")
        mlflow.log_artifacts(place, "explore")
    mlflow.set_tag("data.sha256", facts.sha256)
    say(f"{facts.dataset}: {facts.images:,} images, {_finding(mean, std)}")


def _finding(mean: tuple[float, ...], std: tuple[float, ...]) -> str:
    numbers = f"mean {_numbers(mean)}, standard deviation {_numbers(std)}"
    return f"pixels {numbers}: to be normalised"


def _numbers(values: tuple[float, ...]) -> str:
    return " ".join(f"{value:.4g}" for value in values)


class _Seen:
    """What is kept of the images that passed by.

    Attributes:
        counts: images of each class, in the order of the facts.
        sums: over all pixels.
    """

    def __init__(self, facts: Facts) -> None:
        self.counts = dict.fromkeys(facts.classes, 0)
        self.sums = PixelSums(facts.shape[2])
        self._facts = facts
        self._histogram = np.zeros((facts.shape[2], _BRIGHTNESSES), dtype=np.int64)
        self._totals = {name: np.zeros(facts.shape) for name in facts.classes}
        self._examples: dict[str, list[Pixels]] = defaultdict(list)

    def add(self, some: Images) -> None:
        """Account for some more images."""
        self.sums.add(some.pixels)
        self._histogram += [
            np.bincount(channel.ravel(), minlength=_BRIGHTNESSES)
            for channel in np.moveaxis(some.pixels, -1, 0)
        ]
        labels = np.array(some.labels)
        for name, number in Counter(some.labels).items():
            self.counts[name] += number
            mine = some.pixels[labels == name]
            self._totals[name] += mine.sum(axis=0)
            self._examples[name].extend(mine[: EXAMPLES - len(self._examples[name])])

    def draw(self, folder: Path) -> dict[str, Path]:
        """Draw the pictures into `folder`; return the files by what they show."""
        from images import pictures

        there = [name for name, number in self.counts.items() if number]
        brightest = self._facts.brightest
        means = {name: self._totals[name] / self.counts[name] for name in there}
        examples = {name: self._examples[name] for name in there}
        return {
            "Examples": pictures.examples(examples, brightest, folder),
            "Mean images": pictures.means(means, brightest, folder),
            "Classes": pictures.classes(self.counts, folder),
            "Pixels": pictures.histogram(self._histogram[:, : brightest + 1], folder),
        }


STEP = Step("explore", OPTIONS, explore)

if __name__ == "__main__":
    sys.exit(main(STEP))
