"""Unpacks an archive of the user's pictures, within bounds. Touches only the folder it is given."""

import shutil
import tarfile
import zipfile
from pathlib import Path, PurePosixPath
from typing import IO

from shared.errors import DataError
from shared.space import room_for

LARGEST = 1 << 35  # bytes; an archive that unpacks to more is refused
_BROKEN = (zipfile.BadZipFile, tarfile.TarError, EOFError, OSError, RuntimeError)


def is_archive(path: Path) -> bool:
    """Whether the file is a zip or tar archive, by its content."""
    return zipfile.is_zipfile(path) or tarfile.is_tarfile(path)


def unpack(path: Path, folder: Path) -> Path:
    """Unpack a zip or tar archive into the new folder `folder` and return it.

    Raises:
        DataError: if it is damaged, too large, or wants to write outside of the folder.
        StorageError: if there is no room.
    """
    folder.mkdir()
    opener = _unzip if zipfile.is_zipfile(path) else _untar
    try:
        opener(path, folder)
    except _BROKEN as error:
        raise DataError(
            f"the archive {path.name} cannot be unpacked: {error}",
            allowed="a complete zip or tar archive without a password",
            action="get or make it again",
        ) from error
    return folder


def _unzip(path: Path, folder: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        members = [member for member in archive.infolist() if not member.is_dir()]
        size = _checked(path, sum(member.file_size for member in members))
        with room_for(folder, size):
            for member in members:
                with archive.open(member) as packed:
                    _write(packed, _inside(folder, member.filename))


def _untar(path: Path, folder: Path) -> None:
    with tarfile.open(path) as archive:
        members = [member for member in archive.getmembers() if not member.isdir()]
        size = _checked(path, sum(member.size for member in members))
        with room_for(folder, size):
            for member in members:
                with _opened(archive, member) as packed:
                    _write(packed, _inside(folder, member.name))


def _opened(archive: tarfile.TarFile, member: tarfile.TarInfo) -> IO[bytes]:
    """Return what a member holds; of a link, what it links to in the archive, and nowhere else.

    Not `extractall`: its filter against harm came with Python 3.11.4.
    """
    try:
        packed = archive.extractfile(member)
    except KeyError as error:
        raise tarfile.TarError(f"its member {member.name!r} links to what is not in it") from error
    if packed is None:
        raise tarfile.TarError(f"its member {member.name!r} is no file")
    return packed


def _write(packed: IO[bytes], target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("wb") as file:
        shutil.copyfileobj(packed, file)


def _checked(path: Path, size: int) -> int:
    if size > LARGEST:
        raise DataError(
            f"{path.name} unpacks to {size:,} bytes",
            allowed=f"at most {LARGEST:,} bytes",
            action="look at where the archive comes from, or unpack it and pass the folder",
        )
    return size


def _inside(folder: Path, name: str) -> Path:
    parts = PurePosixPath(name.replace("\\", "/")).parts
    if name.startswith("/") or ".." in parts:
        raise zipfile.BadZipFile(f"its member {name!r} lies outside of it")
    return folder.joinpath(*parts)
