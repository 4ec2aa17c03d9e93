"""The facts of one download: what travels with the images from step to step as `dataset.json`.

Made by `download` from the declaration and the images that really came, completed by `preprocess`
with what it fitted; later steps read them and need no declaration. Touches only the JSON files it
is asked to read or write.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from images.tables import Shape
from shared.json_files import FACTS_FILE, read_json, write_json

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
        write_json(asdict(self), folder / FACTS_FILE)

    @classmethod
    def read(cls, folder: Path) -> "Facts":
        """Return the facts that lie in `folder`.

        Raises:
            DataError: if the folder is not what the step before logged.
        """
        content = read_json(folder, FACTS_FILE)
        for name in ("shape", "classes", "mean", "std"):
            content[name] = tuple(content[name])
        return cls(**content)
