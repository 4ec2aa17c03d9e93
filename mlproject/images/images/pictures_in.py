"""Reads the user's own pictures: a folder per class, as PNG, JPEG and the like.

The pictures must have one size and as many channels; where they have not, the parameters
`image_size` and `channels` say what to make of them. A file that cannot be read is listed, never
silently dropped. Touches only the folder it reads.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from images.batches import COLOUR, GREY, IMAGES, Batch, Malformed, Pixels
from images.declaration import Part
from shared.errors import DataError

PARTS = {"train", "test"}
_GREY_MODES = {"1", "L", "LA"}
_COLOUR_MODES = {"RGB", "RGBA", "P", "PA", "CMYK", "YCbCr"}
_IGNORED = {"thumbs.db", "desktop.ini"}
_BROKEN = (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError)


@dataclass(frozen=True)
class Form:
    """What all images of a data set have in common.

    Attributes:
        columns, rows: size in pixels; 0 for that of most of the pictures.
        channels: 1 for grey, 3 for colour; 0 for what most of the pictures have.
    """

    columns: int = 0
    rows: int = 0
    channels: int = 0


@dataclass(frozen=True)
class _Picture:
    path: Path
    label: str
    part: Part


@dataclass
class PictureFolder:
    """The pictures below a folder.

    Attributes:
        folder: with a folder per class, or with folders `train` and `test` that have these.
        wanted: what to make of the pictures.
        malformed: what could not become an image, known when all batches have been read.
    """

    folder: Path
    wanted: Form = Form()
    malformed: list[Malformed] = field(default_factory=list)

    def batches(self) -> Iterator[Batch]:
        """Yield the images, class by class in alphabetical order.

        Raises:
            DataError: if there are no classes, or not one picture.
        """
        pictures = self._pictures()
        form = self._form(pictures)
        for part in sorted({picture.part for picture in pictures}):
            chosen = [picture for picture in pictures if picture.part == part]
            yield from self._batches(chosen, form, part)

    def _batches(self, pictures: list[_Picture], form: Form, part: Part) -> Iterator[Batch]:
        images: list[Pixels] = []
        labels: list[str] = []
        for picture in pictures:
            pixels = self._read(picture, form)
            if pixels is None:
                continue
            images.append(pixels)
            labels.append(picture.label)
            if len(images) == IMAGES:
                yield Batch(np.stack(images), labels, part)
                images, labels = [], []
        if images:
            yield Batch(np.stack(images), labels, part)

    def _pictures(self) -> list[_Picture]:
        root = _root(self.folder)
        names = {entry.name for entry in _folders(root)}
        parts: dict[Path, Part] = {root: ""}
        if names and names <= PARTS:
            parts = {root / "train": "train", root / "test": "test"}
        classes = [(folder, part) for place, part in parts.items() for folder in _folders(place)]
        found = [
            _Picture(path, folder.name, part)
            for folder, part in classes
            for path in sorted(folder.rglob("*"))
            if path.is_file() and not _hidden(path, folder)
        ]
        if len({folder.name for folder, _ in classes}) < 2 or not found:  # noqa: PLR2004 - two classes
            raise DataError(
                f"{self.folder.name} has {len(found)} files in folders "
                f"{sorted({folder.name for folder, _ in classes})}",
                allowed="a folder per class, at least two of them, with the pictures inside",
                action="sort the pictures into folders that are named like their classes",
            )
        return found

    def _form(self, pictures: list[_Picture]) -> Form:
        """Return the form that is wanted; what is left open, most of the pictures decide."""
        wanted = self.wanted
        if wanted.columns and wanted.channels:
            return wanted
        seen = [form for picture in pictures if (form := _form_of(picture.path))]
        if not seen:
            return wanted
        sizes = Counter((form.columns, form.rows) for form in seen)
        columns, rows = sizes.most_common(1)[0][0]
        channels = Counter(form.channels for form in seen).most_common(1)[0][0]
        return Form(wanted.columns or columns, wanted.rows or rows, wanted.channels or channels)

    def _read(self, picture: _Picture, form: Form) -> Pixels | None:
        try:
            return _pixels(picture.path, form, self.wanted)
        except UnidentifiedImageError:
            reason = "it is no picture that Pillow can read"
        except _BROKEN as error:
            reason = str(error) or type(error).__name__
        name = picture.path.relative_to(self.folder)
        self.malformed.append(Malformed(str(name), reason))
        return None


def _root(folder: Path) -> Path:
    """Return the folder with the classes; archives often have one folder around everything."""
    inside = _folders(folder)
    return _root(inside[0]) if len(inside) == 1 else folder


def _folders(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    hidden = (".", "__MACOSX")
    inside = (entry for entry in folder.iterdir() if entry.is_dir())
    return sorted(entry for entry in inside if not entry.name.startswith(hidden))


def _hidden(path: Path, below: Path) -> bool:
    parts = path.relative_to(below).parts
    return any(part.startswith(".") for part in parts) or path.name.lower() in _IGNORED


def _form_of(path: Path) -> Form | None:
    """Return the form of one picture, from its header; None if it has none."""
    try:
        with Image.open(path) as image:
            turned = ImageOps.exif_transpose(image) if image.getexif().get(_TURNED) else image
            return Form(turned.width, turned.height, _channels(image))
    except _BROKEN:
        return None  # it is read again with the others, and listed there


_TURNED = 0x0112  # EXIF's orientation


def _channels(image: Image.Image) -> int:
    if image.mode in _GREY_MODES:
        return GREY
    if image.mode in _COLOUR_MODES:
        return COLOUR
    raise ValueError(f"its mode is {image.mode}; allowed: grey or colour with 8 bits per channel")


def _pixels(path: Path, form: Form, wanted: Form) -> Pixels:
    """Return one picture as (rows, columns, channels).

    Raises:
        OSError, ValueError: if it is damaged, or has another form and none was asked for.
    """
    with Image.open(path) as opened:
        opened.verify()  # the checksums of a PNG, which decoding does not need
    with Image.open(path) as opened:
        opened.load()
        channels = _channels(opened)
        image = ImageOps.exif_transpose(opened)
    if channels != form.channels and not wanted.channels:
        raise ValueError(f"it has {channels} channels, the others have {form.channels}")
    size = (form.columns, form.rows)
    if image.size != size and not wanted.columns:
        raise ValueError(f"its size is {_by(image.size)}, that of the others {_by(size)}")
    image = image.convert("L" if form.channels == GREY else "RGB")
    if image.size != size:
        image = image.resize(size, Image.Resampling.BILINEAR)
    return np.asarray(image, dtype=np.uint8).reshape(form.rows, form.columns, form.channels)


def _by(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"
