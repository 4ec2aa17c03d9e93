"""The words in which a data set is declared: where it comes from, its images, its classes.

A declaration is frozen data. `download` turns it, with what really came, into the facts that
travel with the images. Touches nothing.
"""

from dataclasses import dataclass
from typing import Literal

from shared.replay import REPLAY, Replay

Part = Literal["", "train", "test"]
"""The part that a publisher put an image into; '' where there are no parts."""


@dataclass(frozen=True)
class Bundled:
    """The 8 x 8 digits that scikit-learn ships: no network.

    Attributes:
        replay: when its images arrive.
    """

    replay: Replay = REPLAY


@dataclass(frozen=True)
class File:
    """A file at a public address whose content is pinned.

    Attributes:
        url: http or https address.
        sha256: lower-case hexadecimal digest of the file at that address.
    """

    url: str
    sha256: str


@dataclass(frozen=True)
class Idx:
    """A pair of idx files, the format of MNIST: images, and as many labels.

    Attributes:
        part: of these images.
        images: file of three or four dimensions of bytes: images, rows, columns, channels.
        labels: file of one dimension of bytes: a number from 0 for each image.
    """

    part: Part
    images: File
    labels: File


def mnist_files(folder: str, *sha256: str) -> tuple[Idx, ...]:
    """Return the four files of MNIST, whose names other sets have, too.

    Args:
        folder: its public address.
        sha256: of the training images and labels, and of the test's.
    """
    names = ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1")
    files = [
        File(f"{folder}/{name}-ubyte.gz", digest)
        for name, digest in zip(names, sha256, strict=True)
    ]
    return (Idx("train", *files[:2]), Idx("test", *files[2:]))


@dataclass(frozen=True)
class Npz:
    """A file of NumPy arrays as Keras publishes them: x_train, y_train and, maybe, x_test, y_test.

    Attributes:
        file: the pinned file; None means the user's, by the parameter `source`.
    """

    file: File | None = None


@dataclass(frozen=True)
class OwnIdx:
    """The user's idx files, by the parameter `source`: folder or archive, named as MNIST's are."""


@dataclass(frozen=True)
class Folder:
    """The user's own images, by the parameter `source`: a folder or archive, a folder per class."""


@dataclass(frozen=True)
class DataSet:
    """One data set; the whole of what the project knows about it.

    Attributes:
        name: value of the parameter `dataset`.
        title: one line for people.
        source: where the images come from; several pairs of idx files are stacked.
        classes: name of each class, in the order of the label numbers; empty means that the data
            decide. An image of any other class is an error.
        shape: rows and columns of an image in pixels, and channels; None means that the data
            decide.
        brightest: largest value that a pixel may have.
        holdout: "test" (the publisher's test images) or "hash" (by the image's identity).
        terms: licence and source, for people.
    """

    name: str
    title: str
    source: Bundled | tuple[Idx, ...] | Npz | OwnIdx | Folder
    classes: tuple[str, ...] = ()
    shape: tuple[int, int, int] | None = None
    brightest: int = 255
    holdout: Literal["test", "hash"] = "hash"
    terms: str = ""

    @property
    def users(self) -> bool:
        """Whether the images are the user's, at the address in the parameter `source`."""
        return self.source in {Folder(), Npz(), OwnIdx()}
