"""Brings the rows of a data set here: from scikit-learn, a pinned public address or a user's file.

Touches the network or the user's file (reading), and a temporary folder that it is given.
"""

import dataclasses
import zipfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

import pandas as pd

from shared.addresses import MIRROR, check_source, local, mirrored, name_in, without_secrets
from shared.errors import DataError, ParameterError
from tabular.declaration import Bundled, DataSet, Remote, UserFile
from tabular.malformed import Malformed
from tabular.packed import Part, copied, plain_parts
from tabular.reading import Reading
from tabular.tables import Table, read_csv, read_parquet


@dataclass(frozen=True)
class Delivery:
    """What came.

    Attributes:
        table: the rows, and the lines that could not become rows.
        source: where from, without credentials.
    """

    table: Table
    source: str


def bring(data_set: DataSet, address: str, how: Reading, folder: Path) -> Delivery:
    """Return the rows of a data set.

    Args:
        data_set: its declaration.
        address: the parameter `source`; '' unless the data set is the user's file.
        how: how the user's file is to be read.
        folder: an empty folder for files on their way.

    Raises:
        ParameterError, DataError, UnavailableError: see `fetch`, `packed` and `tables`.
    """
    source = data_set.source
    if isinstance(source, Bundled):
        return Delivery(Table(_bundled(source)), f"scikit-learn {source.loader}")
    if isinstance(source, UserFile):
        return _user_file(data_set, source, address, how, folder)
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
    data_set: DataSet, source: UserFile, address: str, how: Reading, folder: Path
) -> Delivery:
    if not address:
        raise ParameterError(
            f"data set '{data_set.name}' needs a file and parameter 'source' is empty",
            allowed="the path or URL of a file, or the path of a folder of part files",
            action="pass -P source=...",
        )
    address = check_source(address)
    path = local(address, folder)
    parts, others = plain_parts(path, source.format, how.encoding, folder / "plain")
    read = read_parquet if source.format == "parquet" else read_csv
    table = read(parts, how)
    notes = tuple(f"{name} is no {source.format} file and is left out" for name in others)
    table = dataclasses.replace(table, notes=(*notes, *table.notes))
    return Delivery(table, without_secrets(address))


def _remote(remote: Remote, folder: Path) -> Table:
    """Return the rows of one pinned file, checked before they are read."""
    from shared.fetch import check_sha256

    names = [PurePosixPath(urlsplit(remote.url).path).name, name_in(remote.url)]
    names += filter(None, [remote.member])
    address = mirrored(remote.url, list(dict.fromkeys(names)))
    path = local(address, folder)
    if remote.member and zipfile.is_zipfile(path):
        # A mirror may have packed the archive again: then the member's own checksum decides.
        if not (address != remote.url and remote.member_sha256):
            check_sha256(path, remote.sha256, address)
        path = _member(path, remote.member, folder)
    pinned = remote.member_sha256 if remote.member else remote.sha256
    check_sha256(path, pinned, address)
    table = read_csv([Part(path, path.name)], Reading(remote.separator))
    return Table(table.frame.assign(**_added(remote, len(table.frame))), table.malformed)


def _added(remote: Remote, rows: int) -> dict[str, pd.Series]:
    return {name: pd.Series([text] * rows, dtype="str") for name, text in remote.adds.items()}


def _member(archive: Path, member: str, folder: Path) -> Path:
    """Unpack one member in bounded memory and return its file."""
    with zipfile.ZipFile(archive) as opened:
        if member not in opened.namelist():
            raise DataError(
                f"{archive.name} has no member '{member}', only {', '.join(opened.namelist())}",
                allowed=f"an archive with '{member}'",
                action=f"look at the address, or at the mirror that {MIRROR} names",
            )
        with opened.open(member) as packed:
            return copied(packed, archive, folder / PurePosixPath(member).name)


def malformed_rows(lines: tuple[Malformed, ...]) -> list[dict[str, object]]:
    """Return the malformed lines as plain records for JSON."""
    return [{"line": line.line, "reason": line.reason, "text": line.text} for line in lines]
