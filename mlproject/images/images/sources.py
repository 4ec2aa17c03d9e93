"""Brings the images of a data set here: from scikit-learn, a public address or the user's own.

Touches the network or the user's files (reading), and a temporary folder that it is given.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from images.batches import Batch, Malformed, starts
from images.declaration import Bundled, DataSet, File, Folder, Idx, Npz, OwnIdx
from images.pictures_in import Form, PictureFolder
from shared.addresses import check_source, local, mirrored, name_in, without_secrets
from shared.errors import DataError, ParameterError


@dataclass(frozen=True)
class Wanted:
    """What the user says about images of their own.

    Attributes:
        address: the parameter `source`; '' unless the data set is the user's.
        form: what to make of pictures of several sizes or channels.
    """

    address: str = ""
    form: Form = field(default_factory=Form)


@dataclass(frozen=True)
class Delivery:
    """What comes.

    Attributes:
        batches: the images; they are read while this is iterated.
        source: where from, without credentials.
        malformed: what could not become an image; complete when all batches have been read.
    """

    batches: Iterator[Batch]
    source: str
    malformed: list[Malformed] = field(default_factory=list)


def bring(data_set: DataSet, wanted: Wanted, folder: Path) -> Delivery:
    """Return the images of a data set.

    Args:
        data_set: its declaration.
        wanted: what the user says about images of their own.
        folder: an empty folder for files on their way; it is needed while the batches are read.

    Raises:
        ParameterError, DataError, UnavailableError: see `fetch` and the readers.
    """
    source = data_set.source
    if data_set.users and not wanted.address:
        raise ParameterError(
            f"data set '{data_set.name}' needs images and parameter 'source' is empty",
            allowed="the path or URL of a folder, an archive or a file",
            action="pass -P source=...",
        )
    if isinstance(source, Bundled):
        return Delivery(_digits(data_set.classes), "scikit-learn load_digits")
    if isinstance(source, Folder):
        return _pictures(wanted, folder)
    if isinstance(source, OwnIdx):
        return _own_idx(wanted, folder)
    if isinstance(source, Npz):
        return _npz(data_set, source, wanted, folder)
    return _idx(data_set, source, folder)


def _digits(classes: tuple[str, ...]) -> Iterator[Batch]:
    from sklearn.datasets import load_digits

    digits = load_digits()
    pixels = digits.images.astype(np.uint8)[..., np.newaxis]
    for chosen in starts(len(pixels)):
        yield Batch(pixels[chosen], [classes[number] for number in digits.target[chosen]], "")


def _idx(data_set: DataSet, pairs: tuple[Idx, ...], folder: Path) -> Delivery:
    from images.idx import read_idx

    local = [
        (_pinned(pair.images, data_set, folder), _pinned(pair.labels, data_set, folder), pair.part)
        for pair in pairs
    ]
    batches = (
        batch
        for images, labels, part in local
        for batch in read_idx(images, labels, part, data_set.classes)
    )
    urls = [file.url for pair in pairs for file in (pair.images, pair.labels)]
    return Delivery(batches, " ".join(urls))


def _npz(data_set: DataSet, source: Npz, wanted: Wanted, folder: Path) -> Delivery:
    from images.arrays import read_npz

    if source.file:
        path, shown = _pinned(source.file, data_set, folder), source.file.url
    else:
        address = check_source(wanted.address)
        path, shown = local(address, folder), without_secrets(address)
    return Delivery(read_npz(path, data_set.classes), shown)


def _own_idx(wanted: Wanted, folder: Path) -> Delivery:
    from images.idx import pairs, read_idx

    path, shown = _unpacked(wanted, folder)
    found = pairs(path)
    batches = (batch for images, labels, part in found for batch in read_idx(images, labels, part))
    return Delivery(batches, shown)


def _pictures(wanted: Wanted, folder: Path) -> Delivery:
    path, shown = _unpacked(wanted, folder)
    found = PictureFolder(path, wanted.form)
    return Delivery(found.batches(), shown, found.malformed)


def _unpacked(wanted: Wanted, folder: Path) -> tuple[Path, str]:
    """Return the user's folder, unpacked where it is an archive, and its address to show."""
    from images.archives import is_archive, unpack

    address = check_source(wanted.address)
    path = local(address, folder)
    if path.is_file():
        if not is_archive(path):
            raise DataError(
                f"{without_secrets(address)} is neither a folder nor a zip or tar archive",
                allowed="a folder, or an archive of one, with a folder per class or idx files",
                action="correct -P source=..., or pack the images again",
            )
        path = unpack(path, folder / "unpacked")
    return path, without_secrets(address)


def _pinned(file: File, data_set: DataSet, folder: Path) -> Path:
    """Return one pinned file, checked before it is read."""
    from shared.fetch import check_sha256

    name = name_in(file.url)
    # The files of MNIST and Fashion-MNIST have the same names.
    address = mirrored(file.url, [f"{data_set.name}/{name}", name], file.sha256)
    path = local(address, folder)
    check_sha256(path, file.sha256, address)
    return path
