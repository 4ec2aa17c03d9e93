"""The facts of one download: what travels with the images from step to step as `dataset.json`.

Made by `download` from the declaration and the images that really came, completed by `preprocess`
with what it fitted; later steps read them and need no declaration. Touches only the JSON files it
is asked to read or write.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from images.tables import Shape
from shared.errors import DataError

FILE = "dataset.json"
MALFORMED_FILE = "malformed.json"
RAW_FILE = "images.parquet"
TRAIN_FILE, VALIDATION_FILE, HOLDOUT_FILE = (
    "train.parquet",
    "validation.parquet",
    "holdout.parquet",
)


@dataclass(frozen=True)
class Facts:
    """What is known about one set of images.

    Attributes:
        dataset: name of the data set.
        shape: of every image.
        classes: names, in the order of a model's outputs.
        brightest: largest value that a pixel may have.
        holdout: the natural split.
        images: how many there are.
        source: where they came from, without credentials.
        as_of: the date asked for; '' for everything.
        newest: ISO 8601 day on which the newest image arrived; '' where images have no time.
        sha256: digest of the raw images, see `identity.Content`.
        mean: of the training images' pixels, per channel; empty before preprocess.
        std: standard deviation of the same, per channel; empty before preprocess.
    """

    dataset: str
    shape: Shape
    classes: tuple[str, ...]
    brightest: int = 255
    holdout: Literal["test", "hash"] = "hash"
    images: int = 0
    source: str = ""
    as_of: str = ""
    newest: str = ""
    sha256: str = ""
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()

    @property
    def form(self) -> str:
        """Shape and channels in words, such as "28 x 28 grey"."""
        rows, columns, channels = self.shape
        return f"{rows} x {columns} {'grey' if channels == 1 else 'colour'}"

    @property
    def image_shape(self) -> tuple[int, ...]:
        """Shape of an image as a model takes it: grey ones have no channel."""
        return self.shape[:2] if self.shape[2] == 1 else self.shape

    def write(self, folder: Path) -> None:
        """Write the facts into `folder`."""
        write_json(asdict(self), folder / FILE)

    @classmethod
    def read(cls, folder: Path) -> "Facts":
        """Return the facts that lie in `folder`.

        Raises:
            DataError: if the folder is not what the step before logged.
        """
        content = read_json(folder, FILE)
        for name in ("shape", "classes", "mean", "std"):
            content[name] = tuple(content[name])
        return cls(**content)


def write_json(content: object, path: Path) -> None:
    """Write plain data as JSON for people and programs."""
    text = json.dumps(content, indent=2, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8")


def read_json(folder: Path, name: str) -> Any:  # noqa: ANN401 - JSON has no type
    """Return the content of the JSON file `name` in `folder`.

    Raises:
        DataError: if there is no such file.
    """
    path = folder / name
    if not path.is_file():
        there = ", ".join(sorted(entry.name for entry in folder.glob("*"))) or "nothing"
        raise DataError(
            f"there is no '{name}' in the input folder; it holds {there}",
            allowed="the artifact folder that the step before logged",
            action="pass -P raw=runs:/<download run>/raw or -P data=runs:/<preprocess run>/data",
        )
    return json.loads(path.read_text(encoding="utf-8"))
