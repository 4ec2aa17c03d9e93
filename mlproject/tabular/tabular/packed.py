"""Makes plain files of what the user has: a folder of parts, packed files, texts in any encoding.

Bytes decide, not names: what begins like gzip is unpacked. Memory is bounded by one block. Touches
the user's files (reading) and a temporary folder that it is given.
"""

import bz2
import codecs
import gzip
import lzma
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any, Literal

import pyarrow as pa

from shared.errors import DataError, ParameterError, short
from shared.space import room_for

LARGEST = 1 << 34  # bytes; what unpacks to more is refused
_BLOCK = 1 << 20
_START = 512
_UNPACKED = "unpacked"
"""Name of what was packed: the one inside may be none of a file here, such as `..`."""
_ZIP = b"PK\x03\x04"
_STREAMS: dict[bytes, Callable[[Path], Any]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ\x00": lzma.open,
    b"\x28\xb5\x2f\xfd": lambda path: pa.input_stream(str(path), compression="zstd"),
}
_DAMAGED = (EOFError, OSError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, RuntimeError)
_ENDINGS = {"csv": (".csv", ".tsv", ".txt"), "parquet": (".parquet", ".pq")}
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_NULL_SHARE = 0.2
"""Of ASCII in UTF-16 half of the bytes are null; of UTF-8 none is."""


@dataclass(frozen=True)
class Part:
    """One plain file of a table: a CSV in UTF-8, or a Parquet file.

    Attributes:
        path: the file.
        name: what the user calls it, for messages.
        keys: columns that the names of its folders hold (`year=2026/`), Parquet only.
    """

    path: Path
    name: str
    keys: tuple[tuple[str, str], ...] = ()


def plain_parts(
    source: Path, form: Literal["csv", "parquet"], encoding: str, folder: Path
) -> tuple[list[Part], tuple[str, ...]]:
    """Return the plain files of a table, in alphabetical order, and files that are none of them.

    Args:
        source: a file, or a folder of part files.
        form: what the files are.
        encoding: of a CSV; '' for UTF-8, or what a byte order mark says.
        folder: where to unpack.

    Raises:
        ParameterError: if the folder holds no file.
        DataError: if a file is damaged, of another kind, or holds several tables.
    """
    files, others = _listed(source, form) if source.is_dir() else ([source], ())
    parts = []
    for number, path in enumerate(files):
        plain = _unpacked(path, folder / f"part-{number}")
        _check_kind(plain, path.name, form)
        if form == "csv":
            plain = _in_utf8(plain, path.name, encoding, folder / f"part-{number}")
        name = str(path.relative_to(source)) if path != source else path.name
        keys = [word.partition("=") for word in PurePosixPath(name).parent.parts]
        parts.append(Part(plain, name, tuple((key, text) for key, sign, text in keys if sign)))
    return parts, others


def _listed(source: Path, form: Literal["csv", "parquet"]) -> tuple[list[Path], tuple[str, ...]]:
    """Return the part files of a folder, and the names of its other files."""
    shown = [
        path
        for path in sorted(source.rglob("*"))
        if path.is_file()
        # What Spark, Hive and macOS put beside the parts.
        and not any(word.startswith(("_", ".")) for word in path.relative_to(source).parts)
    ]
    known = [path for path in shown if set(map(str.lower, path.suffixes)) & set(_ENDINGS[form])]
    if not shown:
        raise ParameterError(
            f"there is no file in the folder {source}",
            allowed=f"a {form} file, or a folder of them",
            action="correct -P source=...",
        )
    return known or shown, tuple(path.name for path in shown if known and path not in known)


def _unpacked(path: Path, folder: Path) -> Path:
    """Return the file, or its content where it is packed."""
    with path.open("rb") as file:
        start = file.read(_START)
    if start.startswith(_ZIP):
        return _from_zip(path, folder)
    opened = next((opens for mark, opens in _STREAMS.items() if start.startswith(mark)), None)
    if opened is None:
        return path
    with _read(path, lambda: opened(path)) as packed:
        return copied(packed, path, folder / _UNPACKED)


def _from_zip(path: Path, folder: Path) -> Path:
    with _read(path, lambda: zipfile.ZipFile(path)) as archive:
        names = [
            info.filename
            for info in archive.infolist()
            if not info.is_dir() and not info.filename.startswith("__MACOSX/")
        ]
        if "[Content_Types].xml" in names:
            raise _other_kind(path.name, "an Excel workbook", "save the sheet as CSV")
        if len(names) != 1:
            raise DataError(
                f"{path.name} holds {len(names)} files: {', '.join(names)[:500]}",
                allowed="an archive of one table",
                action="unpack it and name the one that you mean, or a folder of equal parts",
            )
        with _read(path, lambda: archive.open(names[0])) as packed:
            return copied(packed, path, folder / _UNPACKED)


def _read(path: Path, act: Callable[[], Any]) -> Any:  # noqa: ANN401 - whatever it returns
    """Do something that reads a packed file; a damaged one is the data's fault."""
    try:
        return act()
    except _DAMAGED as error:
        raise DataError(
            f"{path.name} is cut, damaged or encrypted: {short(str(error), 200)}",
            allowed="a whole gzip, bzip2, xz, zstd or zip file without a password",
            action="bring the file again",
        ) from error


def copied(packed: IO[bytes], source: Path, path: Path) -> Path:
    """Write an unpacked stream into a file and return it.

    Raises:
        DataError: if the stream is damaged or longer than `LARGEST`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    size = 0
    with room_for(path.parent, 0), path.open("wb") as file:
        while block := _read(source, lambda: packed.read(_BLOCK)):
            size += len(block)
            if size > LARGEST:
                raise DataError(
                    f"{source.name} unpacks to more than {LARGEST:,} bytes",
                    allowed=f"at most {LARGEST:,} bytes",
                    action="look at where it comes from",
                )
            file.write(block)
    return path


def _check_kind(path: Path, name: str, form: str) -> None:
    """Check that a file is not of a kind that is often taken for another."""
    with path.open("rb") as file:
        start = file.read(_START)
    if start.startswith(b"\xd0\xcf\x11\xe0"):
        raise _other_kind(name, "an Excel workbook", "save the sheet as CSV")
    if start[257:262] == b"ustar":
        raise _other_kind(name, "a tar archive", "unpack it and name the folder")
    if form == "csv" and start.startswith(b"PAR1"):
        raise _other_kind(name, "a Parquet file", "pass -P dataset=parquet")
    if form == "parquet" and start and not start.startswith(b"PAR"):
        raise _other_kind(name, "no Parquet file", "look at the file, or pass -P dataset=csv")


def _other_kind(name: str, found: str, action: str) -> DataError:
    return DataError(
        f"{name} could not be read: it is {found}",
        allowed="a CSV file with a header, or a Parquet file, as `dataset` says",
        action=action,
    )


def _in_utf8(path: Path, name: str, encoding: str, folder: Path) -> Path:
    """Return the file, or a copy in UTF-8 where it has another encoding."""
    with path.open("rb") as file:
        encoding = encoding or _found(file.read(_START))
    if codecs.lookup(encoding).name in {"utf-8", "utf-8-sig", "ascii"}:
        return path
    folder.mkdir(parents=True, exist_ok=True)
    copy = folder / "in-utf-8"
    with room_for(folder, 0), copy.open("w", encoding="utf-8", newline="") as file:
        for text in _decoded(path, name, encoding):
            file.write(text)
    return copy


def _decoded(path: Path, name: str, encoding: str) -> Iterator[str]:
    try:
        with path.open(encoding=encoding, newline="") as file:
            while text := file.read(_BLOCK):
                yield text
    except UnicodeError as error:
        raise DataError(
            f"{name} is not in the encoding {encoding}: {short(str(error), 200)}",
            allowed="a file in this encoding",
            action="correct -P encoding=..., or save the file again as UTF-8",
        ) from error


def _found(start: bytes) -> str:
    """Return the encoding that the first bytes show: a mark, or the null bytes of UTF-16."""
    for mark, name in _MARKS:
        if start.startswith(mark):
            return name
    for offset, name in ((0, "utf-16-be"), (1, "utf-16-le")):
        half = start[offset::2]
        if half.count(0) > _NULL_SHARE * len(start):
            return name
    return "utf-8"


def not_utf8(part: Part) -> DataError | None:
    """Return the error for a file with bytes that are no UTF-8; None if all are."""
    decoder, line = codecs.getincrementaldecoder("utf-8")(), 1
    with part.path.open("rb") as file:
        while block := file.read(_BLOCK):
            try:
                decoder.decode(block)
            except UnicodeDecodeError as error:
                line += error.object[: error.start].count(b"\n")
                shown = error.object[max(error.start - 10, 0) : error.start + 10]
                return DataError(
                    f"line {line} of {part.name} is not UTF-8: {shown!r}, which would be "
                    f"{shown.decode('cp1252', 'replace')!r} in cp1252",
                    allowed="UTF-8, UTF-16 or UTF-32 with a mark, or the one that `encoding` names",
                    action="pass -P encoding=cp1252, or whatever it is, or save it again as UTF-8",
                )
            line += block.count(b"\n")
    return None
