"""Brings the rows of a data set here: from scikit-learn, a pinned public address or a user's file.

Touches the network or the user's file (reading), and a temporary folder that it is given.
"""

import zipfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import unquote_plus, urlsplit

import pandas as pd

from tabular.addresses import MIRROR, check_source, is_url, mirrored, without_secrets
from tabular.declaration import Bundled, DataSet, Remote, UserFile
from tabular.errors import DataError, ParameterError
from tabular.space import room_for
from tabular.tables import Malformed, Table, read_csv, read_parquet

LARGEST_MEMBER = 1 << 34  # bytes; an archive that unpacks to more is refused
_BLOCK = 1 << 18


@dataclass(frozen=True)
class Delivery:
    """What came.

    Attributes:
        table: the rows, and the lines that could not become rows.
        source: where from, without credentials.
    """

    table: Table
    source: str


def bring(data_set: DataSet, address: str, separator: str, folder: Path) -> Delivery:
    """Return the rows of a data set.

    Args:
        data_set: its declaration.
        address: the parameter `source`; '' unless the data set is the user's file.
        separator: of the user's CSV.
        folder: an empty folder for files on their way.

    Raises:
        ParameterError, DataError, UnavailableError: see `fetch` and `tables`.
    """
    source = data_set.source
    if isinstance(source, Bundled):
        return Delivery(Table(_bundled(source)), f"scikit-learn {source.loader}")
    if isinstance(source, UserFile):
        return _user_file(data_set, source, address, separator, folder)
    parts = [_remote(remote, folder / f"{number}") for number, remote in enumerate(source)]
    frame = pd.concat([part.frame for part in parts], ignore_index=True)
    malformed = tuple(line for part in parts for line in part.malformed)
    return Delivery(Table(frame, malformed), " ".join(remote.url for remote in source))


def _bundled(source: Bundled) -> pd.DataFrame:
    import sklearn.datasets

    bunch = getattr(sklearn.datasets, source.loader)(as_frame=True, **source.arguments)
    frame: pd.DataFrame = bunch.frame
    if source.class_names:
        names = [str(name) for name in bunch.target_names]
        target = pd.Series([names[number] for number in frame["target"]], dtype="str")
        frame = frame.assign(target=target)
    return frame.rename(columns=str)


def _user_file(
    data_set: DataSet, source: UserFile, address: str, separator: str, folder: Path
) -> Delivery:
    if not address:
        raise ParameterError(
            f"data set '{data_set.name}' needs a file and parameter 'source' is empty",
            allowed="the path or URL of a file",
            action="pass -P source=...",
        )
    address = check_source(address)
    path = _local(address, folder)
    if source.format == "parquet":
        return Delivery(read_parquet(path), without_secrets(address))
    return Delivery(read_csv(path, separator, data_set.identity), without_secrets(address))


def _local(address: str, folder: Path) -> Path:
    """Return the file at a path or URL; a URL is fetched into `folder` first."""
    if is_url(address):
        from tabular.fetch import fetch

        name = PurePosixPath(unquote_plus(urlsplit(address).path)).name or "data"
        folder.mkdir(parents=True, exist_ok=True)
        return fetch(address, folder / name)
    path = Path(address).expanduser()
    if not path.is_file():
        raise ParameterError(
            f"there is no file {path} (the folder of relative paths is {Path.cwd()})",
            allowed="the absolute path of a file that the worker can read, or a URL",
            action="correct -P source=...",
        )
    return path


def _remote(remote: Remote, folder: Path) -> Table:
    """Return the rows of one pinned file, checked before they are read."""
    from tabular.fetch import check_sha256

    names = [PurePosixPath(unquote_plus(urlsplit(remote.url).path)).name]
    names = [PurePosixPath(urlsplit(remote.url).path).name, *names, *filter(None, [remote.member])]
    address = mirrored(remote.url, list(dict.fromkeys(names)))
    path = _local(address, folder)
    if remote.member and zipfile.is_zipfile(path):
        # A mirror may have packed the archive again: then the member's own checksum decides.
        if not (address != remote.url and remote.member_sha256):
            check_sha256(path, remote.sha256, address)
        path = _member(path, remote.member, folder)
    pinned = remote.member_sha256 if remote.member else remote.sha256
    check_sha256(path, pinned, address)
    table = read_csv(path, remote.separator)
    return Table(table.frame.assign(**_added(remote, len(table.frame))), table.malformed)


def _added(remote: Remote, rows: int) -> dict[str, pd.Series]:
    return {name: pd.Series([text] * rows, dtype="str") for name, text in remote.adds.items()}


def _member(archive: Path, member: str, folder: Path) -> Path:
    """Unpack one member in bounded memory and return its file."""
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(archive) as opened:
        if member not in opened.namelist():
            raise DataError(
                f"{archive.name} has no member '{member}', only {', '.join(opened.namelist())}",
                allowed=f"an archive with '{member}'",
                action=f"look at the address, or at the mirror that {MIRROR} names",
            )
        size = opened.getinfo(member).file_size
        if size > LARGEST_MEMBER:
            raise DataError(
                f"'{member}' in {archive.name} unpacks to {size:,} bytes",
                allowed=f"at most {LARGEST_MEMBER:,} bytes",
                action="look at where the archive comes from",
            )
        path = folder / PurePosixPath(member).name
        with room_for(folder, size), opened.open(member) as packed, path.open("wb") as file:
            while block := packed.read(_BLOCK):
                file.write(block)
    return path


def malformed_rows(lines: tuple[Malformed, ...]) -> list[dict[str, object]]:
    """Return the malformed lines as plain records for JSON."""
    return [{"line": line.line, "reason": line.reason, "text": line.text} for line in lines]
