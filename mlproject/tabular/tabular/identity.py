"""Gives every row a fingerprint that depends on nothing but its own identity.

Split, replay and row ids are all read from this one SHA-256, each from bytes of its own, so they
are independent of each other and the same on every night and machine. Touches nothing.
"""

import hashlib
import itertools
import struct
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

SALT = b"understudy/tabular/1\x00"
"""Changing it would move rows between training and holdout: never do."""

EXACT_IN_FLOAT64 = 2**53
_MISSING = "\x00"
_BETWEEN = "\x1f"
_ESCAPES = (("\\", "\\\\"), (_MISSING, "\\0"), (_BETWEEN, "\\1"))
_BATCH = 1 << 17  # rows whose texts are in memory at once
_ROW_ID = slice(0, 8)
_ID_DIGITS = 16
_SPLIT = slice(8, 16)
_ARRIVAL = slice(16, 24)
_PLAIN = (1e-4, 1e9)
"""Between them pyarrow writes a number as Python does: with a point, as short as is exact."""
_PLAIN_WHOLE = 1e15
"""Below it Python writes a whole number without an exponent."""
_DAY = 86_400  # seconds
_YEARS = (1000, 9999)
"""Years of four digits."""

Prints = np.ndarray[Any, np.dtype[np.uint8]]
"""Fingerprints: 32 bytes for each row."""


def identity_columns(identity: Sequence[str], target: str, frame: pd.DataFrame) -> list[str]:
    """Return the columns that identify a row: the named ones, else all but the target.

    Without the target, a corrected label does not move a row, and rows that differ in nothing
    but the label stay together.
    """
    return list(identity) or [str(name) for name in frame.columns if name != target]


def fingerprints(frame: pd.DataFrame, columns: Sequence[str]) -> Prints:
    """Return the SHA-256 of each row over the named columns: an array of (rows, 32) bytes.

    The text of a cell does not depend on how the column is stored: 5, 5.0 and a nullable 5 agree.

    Args:
        frame: rows; its index is ignored.
        columns: the identity, in any order (they are sorted).
    """
    prints = np.empty((len(frame), hashlib.sha256().digest_size), dtype="uint8")
    named = [frame[column] for column in sorted(columns)]
    for start in range(0, len(frame), _BATCH):
        part = slice(start, start + _BATCH)
        rows = _hashed([column.iloc[part] for column in named])
        prints[part] = np.frombuffer(b"".join(rows), dtype="uint8").reshape(-1, prints.shape[1])
    return prints


def _of_few_bytes() -> Callable[[bytes], Any]:
    """Return the SHA-256 that is the quickest for a row.

    That of OpenSSL, which `hashlib` prefers, takes longer to begin than Python's own for it all.
    """
    names = [name for name in ("_sha2", "_sha256") if find_spec(name)]  # of 3.12 on, and before
    own: Callable[[bytes], Any] = import_module(names[0]).sha256 if names else hashlib.sha256
    return own


def _hashed(columns: Sequence[pd.Series]) -> list[bytes]:
    """Return the SHA-256 of each row."""
    texts = [_cell_texts(column) for column in columns]
    lengths, content = _whole(
        pc.binary_join_element_wise(*texts, pa.scalar(_BETWEEN, pa.large_string()))
    )
    ends, whole, sha256 = [0, *np.cumsum(lengths).tolist()], bytes(content), _of_few_bytes()
    return [sha256(SALT + whole[begin:end]).digest() for begin, end in itertools.pairwise(ends)]


def row_ids(prints: Prints) -> pd.Series:
    """Return a unique id per row: 16 hexadecimal digits and the number of the occurrence from 0."""
    stems = _words(prints, _ROW_ID)
    repeated = pd.Series(stems).duplicated().any()
    counts = pd.Series(stems).groupby(stems).cumcount().to_numpy() if repeated else 0 * stems
    digits = prints[:, _ROW_ID].tobytes().hex().encode()
    texts = _of_one_length(np.frombuffer(digits, dtype="S1").reshape(-1, _ID_DIGITS))
    numbers = pa.array(counts).cast(pa.large_string())
    joined = pc.binary_join_element_wise(texts, numbers, pa.scalar("-", pa.large_string()))
    return pd.Series(joined.to_pandas(), dtype="str")


def identities(ids: pd.Series) -> pd.Series:
    """Return what rows of one identity have in common, from the ids that `row_ids` gave them."""
    return ids.str.slice(0, _ID_DIGITS)


def split_positions(prints: Prints) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return where each row falls in [0, 1): below the holdout fraction means holdout."""
    return _unit(prints, _SPLIT)


def arrival_positions(prints: Prints) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return where each row falls in [0, 1) in the order of arrival."""
    return _unit(prints, _ARRIVAL)


def content_sha256(frame: pd.DataFrame) -> str:
    """Return the SHA-256, hexadecimal, of all rows and columns in their order.

    It covers names and values, not the file format: the same table written by another version of
    Parquet has the same digest.
    """
    digest = hashlib.sha256()
    for name in frame.columns:
        column = frame[name]
        label = str(name).encode()
        digest.update(struct.pack("<q", len(label)) + label + struct.pack("<q", len(column)))
        if pd.api.types.is_numeric_dtype(column) and not _is_too_large(column):
            numbers = column.to_numpy(dtype="float64", na_value=np.nan) + 0.0  # -0.0 becomes 0.0
            digest.update(b"n")
            digest.update(np.ascontiguousarray(numbers, dtype="<f8"))
        else:
            lengths, content = _whole(_arrow_texts(column))
            digest.update(b"t")
            digest.update(lengths)
            digest.update(content)
    return digest.hexdigest()


def _cell_texts(column: pd.Series) -> pa.Array:
    """Return a column's texts as `_texts` has them, numbers too."""
    if not pd.api.types.is_numeric_dtype(column) or _is_too_large(column):
        return _arrow_texts(column)
    values = column.to_numpy(dtype="float64", na_value=np.nan) + 0.0
    size = np.abs(values)
    cells, known = pa.array(values, from_pandas=True), size[~np.isnan(size)]
    if (known < _PLAIN_WHOLE).all() and (known % 1 == 0).all():
        texts = cells.cast(pa.int64()).cast(pa.large_string())
    elif (((known >= _PLAIN[0]) & (known < _PLAIN[1])) | (known == 0)).all():
        texts = pc.replace_substring_regex(cells.cast(pa.large_string()), r"\.0$", "")
    else:
        texts = pa.array(_texts(column), type=pa.large_string())
    return pc.fill_null(texts, _MISSING)


def _arrow_texts(column: pd.Series) -> pa.Array:
    """Return a column's texts as `_texts` has them, without a Python object for each."""
    if _are_plain_times(column):
        return _plain_times(column)
    if not isinstance(column.dtype, pd.StringDtype):
        return pa.array(_texts(column), type=pa.large_string())
    cells = pa.array(column, type=pa.large_string(), from_pandas=True)
    if isinstance(cells, pa.ChunkedArray):
        cells = cells.combine_chunks()
    whole = bytes(_whole(cells)[1])
    for plain, escaped in _ESCAPES:
        # To look for a byte in all texts at once takes a hundredth of the time.
        if plain.encode() in whole:
            cells = pc.replace_substring(cells, plain, escaped)
    return pc.fill_null(cells, _MISSING)


def _are_plain_times(column: pd.Series) -> bool:
    """Return whether a column has times in UTC or without a zone, in whole seconds of our era."""
    zone = getattr(column.dtype, "tz", None)
    if not pd.api.types.is_datetime64_any_dtype(column.dtype) or str(zone) not in {"None", "UTC"}:
        return False
    known = column.dropna()
    if known.empty or not _YEARS[0] <= known.min().year <= known.max().year <= _YEARS[1]:
        return False
    return bool((known.dt.microsecond == 0).all() and (known.dt.nanosecond == 0).all())


def _plain_times(column: pd.Series) -> pa.Array:
    """Return times as ``str(Timestamp)`` writes them."""
    zone = "" if getattr(column.dtype, "tz", None) is None else "+00:00"
    plain = column.dt.tz_convert(None) if zone else column
    missing = plain.isna().to_numpy()
    seconds = np.where(missing, 0, plain.to_numpy().astype("datetime64[s]").astype("int64"))
    # A table of days and one of the seconds of a day, as writing each time anew takes long.
    codes, days = pd.factorize(seconds // _DAY)
    dates = np.datetime_as_string(days.astype("datetime64[D]")).astype("S10")
    hours = np.datetime_as_string(np.arange(_DAY).astype("datetime64[s]")).astype("S19")
    clock = hours.view("S1").reshape(_DAY, -1)[:, len("1970-01-01T") :].copy().view("S8").ravel()
    parts = [("date", "S10"), ("blank", "S1"), ("clock", "S8"), *[("zone", "S6")] * bool(zone)]
    texts = np.empty(len(column), dtype=parts)
    texts["date"], texts["blank"], texts["clock"] = dates[codes], b" ", clock[seconds % _DAY]
    if zone:
        texts["zone"] = zone.encode()
    written = _of_one_length(texts.view("S1").reshape(len(column), -1))
    gone = pa.scalar(_MISSING, pa.large_string())
    return pc.if_else(pa.array(missing), gone, written) if missing.any() else written


def _of_one_length(characters: np.ndarray[Any, Any]) -> pa.Array:
    """Return texts of equal length, from an array with one character in each place."""
    count, length = characters.shape
    ends = np.arange(count + 1, dtype="int64") * length
    buffers = [None, pa.py_buffer(ends), pa.py_buffer(np.ascontiguousarray(characters))]
    return pa.Array.from_buffers(pa.large_string(), count, buffers)


def _whole(cells: pa.Array) -> tuple[np.ndarray[Any, np.dtype[np.int64]], memoryview]:
    """Return the length of each text in bytes, and all texts as they lie behind each other."""
    _, offsets, content = cells.buffers()
    ends = np.frombuffer(offsets, dtype="<i8")[cells.offset : cells.offset + len(cells) + 1]
    lengths = np.diff(ends).astype("<i8")
    return lengths, memoryview(content or b"")[int(ends[0]) : int(ends[-1])]


def _is_too_large(column: pd.Series) -> bool:
    """Return whether whole numbers would lose digits as float64: those are digested as text."""
    if not pd.api.types.is_integer_dtype(column):
        return False
    values = column.dropna()
    largest = max(abs(int(values.min())), abs(int(values.max()))) if len(values) else 0
    return largest > EXACT_IN_FLOAT64


def _words(prints: Prints, part: slice) -> np.ndarray[Any, np.dtype[np.uint64]]:
    """Return eight bytes of each fingerprint as one whole number."""
    return np.ascontiguousarray(prints[:, part]).view(">u8").ravel().astype("uint64")


def _unit(prints: Prints, part: slice) -> np.ndarray[Any, np.dtype[np.float64]]:
    # 53 bits: what a float64 holds exactly, so that no position rounds up to 1.0.
    return np.asarray((_words(prints, part) >> np.uint64(11)).astype("float64") * 2.0**-53)


def _texts(column: pd.Series) -> list[str]:
    missing = column.isna().to_numpy()
    if pd.api.types.is_numeric_dtype(column) and not _is_too_large(column):
        texts = _numbers(column.to_numpy(dtype="float64", na_value=np.nan))
    else:
        texts = [_escaped(str(value)) for value in column.tolist()]
    return [_MISSING if gone else text for text, gone in zip(texts, missing, strict=True)]


def _numbers(values: np.ndarray[Any, np.dtype[np.float64]]) -> list[str]:
    """Return the shortest exact text of each number, whole numbers without '.0'."""
    return [text.removesuffix(".0") for text in map(repr, (values + 0.0).tolist())]


def _escaped(text: str) -> str:
    for plain, escaped in _ESCAPES:
        text = text.replace(plain, escaped)
    return text
