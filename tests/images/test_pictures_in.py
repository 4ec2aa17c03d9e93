"""The user's own pictures: folders, archives, damaged files, several sizes and channels."""

from __future__ import annotations

import io
import shutil
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from images import archives
from images.batches import Batch, Pixels
from images.datasets import find
from images.pictures_in import Form, PictureFolder
from images.sources import Delivery, Wanted, bring
from shared.errors import DataError, ParameterError

pytestmark = pytest.mark.unit


def read(folder: Path, form: Form = Form()) -> tuple[list[Batch], dict[str, str]]:  # noqa: B008 - frozen
    """Return the batches, and why each malformed file is."""
    found = PictureFolder(folder, form)
    batches = list(found.batches())
    return batches, {each.name: each.reason for each in found.malformed}


def test_a_folder_per_class(
    random_images: Callable[..., Pixels], pictures: Callable[..., Path], tmp_path: Path
) -> None:
    """Every picture comes with its folder's name, pixel by pixel."""
    (batch,), malformed = read(pictures(tmp_path / "pets"))
    assert batch.labels == ["cat"] * 3 + ["dog"] * 3
    assert (batch.pixels[:3, :, :, 0] == random_images(3, 6, 5)).all()
    assert malformed == {}


def test_a_publishers_parts(pictures: Callable[..., Path], tmp_path: Path) -> None:
    """Folders `train` and `test` around the classes are parts; what is hidden is none of it."""
    pictures(tmp_path / "pets" / "train")
    pictures(tmp_path / "pets" / "test", 2)
    (tmp_path / "pets" / ".git").mkdir()
    (tmp_path / "pets" / "train" / "cat" / "Thumbs.db").touch()
    batches, malformed = read(tmp_path)
    assert {batch.part: len(batch.labels) for batch in batches} == {"test": 4, "train": 6}
    assert malformed == {}


def test_damaged_pictures_are_listed(
    random_images: Callable[..., Pixels],
    png: Callable[[Pixels], bytes],
    pictures: Callable[..., Path],
    tmp_path: Path,
) -> None:
    """Cut short, corrupt, empty, no picture at all, too deep: the others are read."""
    folder = pictures(tmp_path / "pets")
    whole = png(random_images(1, 6, 5)[0])
    deep = io.BytesIO()
    Image.fromarray(np.zeros((6, 5), dtype=np.uint16)).save(deep, "png")
    damaged = {
        "cut.png": whole[: len(whole) - 30],
        "corrupt.png": whole[:45] + b"????" + whole[49:],
        "empty.png": b"",
        "notes.txt": b"remember the milk",
        "deep.png": deep.getvalue(),
    }
    for name, content in damaged.items():
        (folder / "cat" / name).write_bytes(content)
    (batch,), malformed = read(folder)
    assert len(batch.labels) == 6
    assert set(malformed) == {f"cat/{name}" for name in damaged}
    assert "its mode is I;16" in malformed["cat/deep.png"]


def test_other_sizes_and_channels(
    random_images: Callable[..., Pixels],
    png: Callable[[Pixels], bytes],
    pictures: Callable[..., Path],
    tmp_path: Path,
) -> None:
    """Most of the pictures decide; the others are listed, unless the user says what to make."""
    folder = pictures(tmp_path / "pets")
    (folder / "cat" / "large.png").write_bytes(png(random_images(1, 12, 10)[0]))
    (folder / "dog" / "red.png").write_bytes(png(random_images(1, 6, 5, 3)[0]))
    _, malformed = read(folder)
    assert malformed == {
        "cat/large.png": "its size is 10x12, that of the others 5x6",
        "dog/red.png": "it has 3 channels, the others have 1",
    }
    (batch,), malformed = read(folder, Form(8, 4, 3))
    assert batch.pixels.shape == (8, 4, 8, 3)
    assert malformed == {}


@pytest.mark.parametrize("content", [{}, {"cat/1.png": b"x"}, {"1.png": b"x", "2.png": b"x"}])
def test_no_folder_per_class(tmp_path: Path, content: dict[str, bytes]) -> None:
    """Nothing, one class, or pictures without a class."""
    for name, body in content.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(body)
    with pytest.raises(DataError, match="a folder per class, at least two"):
        read(tmp_path)


def brought(source: Path, folder: Path) -> Delivery:
    """Bring the user's pictures from a path."""
    return bring(find("folder"), Wanted(str(source)), folder)


@pytest.mark.parametrize("kind", ["zip", "gztar"])
def test_an_archive(pictures: Callable[..., Path], tmp_path: Path, kind: str) -> None:
    """Is unpacked and read like the folder."""
    pictures(tmp_path / "in" / "pets")
    packed = shutil.make_archive(str(tmp_path / "pets"), kind, tmp_path / "in")
    (tmp_path / "way").mkdir()
    (batch,) = brought(Path(packed), tmp_path / "way").batches
    assert len(batch.labels) == 6


def test_a_damaged_archive(pictures: Callable[..., Path], tmp_path: Path) -> None:
    """Cut short, or no archive at all."""
    pictures(tmp_path / "in" / "pets", 40)
    packed = Path(shutil.make_archive(str(tmp_path / "pets"), "gztar", tmp_path / "in"))
    packed.write_bytes(packed.read_bytes()[:3000])
    with pytest.raises(DataError, match=r"pets\.tar\.gz cannot be unpacked"):
        archives.unpack(packed, tmp_path / "out")
    packed.write_bytes(b"a text")
    with pytest.raises(DataError, match="neither a folder nor a zip or tar archive"):
        brought(packed, tmp_path)


def test_an_archive_that_would_do_harm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It cannot write outside of its folder, nor fill the disk."""
    outside = tmp_path / "outside.zip"
    with zipfile.ZipFile(outside, "w") as archive:
        archive.writestr("../harm.png", b"x")
    linked = tmp_path / "linked.tar"
    with tarfile.open(linked, "w") as archive:
        entry = tarfile.TarInfo("harm")
        entry.type, entry.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(entry)
    device = tmp_path / "device.tar"
    with tarfile.open(device, "w") as archive:
        entry = tarfile.TarInfo("harm")
        entry.type = tarfile.CHRTYPE
        archive.addfile(entry)
    above = tmp_path / "above.tar"
    with tarfile.open(above, "w") as archive:
        archive.addfile(tarfile.TarInfo("../harm.png"))
    for number, path in enumerate((outside, linked, device, above)):
        with pytest.raises(DataError, match="cannot be unpacked"):
            archives.unpack(path, tmp_path / str(number))
    assert not (tmp_path / "harm.png").exists()
    monkeypatch.setattr(archives, "LARGEST", 0)
    with pytest.raises(DataError, match="unpacks to 1 bytes"):
        archives.unpack(outside, tmp_path / "large")


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("", "parameter 'source' is empty"),
        ("/nowhere/pets", "no file or folder /nowhere/pets"),
        ("a line of text\n" * 300, "no file or folder a line of text "),
    ],
)
def test_no_such_source(tmp_path: Path, source: str, words: str) -> None:
    """The user is asked for one that is there."""
    with pytest.raises(ParameterError, match=words):
        bring(find("folder"), Wanted(source), tmp_path)
