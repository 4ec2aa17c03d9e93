"""Finds the numbers in a column of texts: plain ones, with a decimal comma, with signs around them.

Whatever is no number in an exact way stays text: codes with leading zeros, whole numbers that a
float would round. What two readers would read differently (1,234) is said, not guessed. Touches
nothing.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

import pyarrow as pa
import pyarrow.compute as pc

from tabular.declaration import Kind

NUMBER_SHARE = 0.8
"""A text column with at least this share of numbers is a number column with faulty rows."""
EXACT = 2**53
"""Beyond it a float64 does not hold every whole number."""
_SAMPLE = 200  # values by which a column of words is told from one of numbers
_HALF = 0.5
NULLS = pa.array([
    "", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN",
    "<NA>", "N/A", "NA", "NULL", "NaN", "NaT", "None", "n/a", "nan", "none", "null",
])  # fmt: skip
"""What means "missing" between numbers: what pandas and pyarrow write or read as such."""
_CURRENCIES = (
    "EUR|USD|GBP|CHF|JPY|CNY|INR|AUD|CAD|NZD|SEK|NOK|DKK|PLN|CZK|HUF|RON|TRY|BRL|MXN|ZAR|KRW|RUB"
)
_SIGN = rf"%|‰|[$€£¥₹₩₽]|{_CURRENCIES}"
_BLANK = " \u00a0\u202f\u2009'’"  # noqa: RUF001 - a typographic apostrophe is one, too
_NUMERAL = (
    rf"^(?P<open>\()?(?P<minus>[-+−]?)\s*(?P<before>{_SIGN})?\s*(?P<inner>[-+−]?)"  # noqa: RUF001
    rf"(?P<digits>\d(?:[\d.,{_BLANK}]*[\d.,])?|[.,]\d+)(?P<power>[eE][-+]?\d+)?"
    rf"\s*(?P<after>{_SIGN})?(?P<behind>-)?(?P<close>\))?$"
)
_GROUPED = {  # by decimal sign: what is well formed
    ".": rf"^(\d*|\d{{1,3}}([,{_BLANK}]\d{{3}})+)(\.\d*)?$",
    ",": rf"^(\d*|\d{{1,3}}([.{_BLANK}]\d{{3}})+)(,\d*)?$",
}
_CERTAIN = {  # by decimal sign: what is well formed with this one only
    ".": rf"^(\d*\.(\d{{0,2}}|\d{{4,}})|0\d*\.\d+|\d{{4,}}\.\d+|\d{{1,3}}([,{_BLANK}]\d{{3}})+\.\d*"
    r"|\d{1,3}(,\d{3}){2,})$",
    ",": rf"^(\d*,(\d{{0,2}}|\d{{4,}})|0\d*,\d+|\d{{4,}},\d+|\d{{1,3}}([.{_BLANK}]\d{{3}})+,\d*"
    r"|\d{1,3}(\.\d{3}){2,})$",
}
_UNCLEAR = r"^[-+]?[1-9]\d{0,2}[.,]\d{3}$"
"""A decimal sign with three digits behind it, or one between thousands."""
_CODE = r"^0\d|^\d{16,}$"
Doubt = Literal["", "decimal", "points", "signs"]


@dataclass(frozen=True)
class Taken:
    """What a column was taken for.

    Attributes:
        kind: "number" or "text".
        how: in words, where it is not as plain as that; '' where it is.
    """

    kind: Kind
    how: str = ""

    def __str__(self) -> str:
        return f"{self.kind} ({self.how})" if self.how else self.kind


@dataclass(frozen=True)
class Column:
    """A column after a first look.

    Attributes:
        cells: its values: numbers where they are plain, else texts.
        taken: what it is.
        decimal: "." or ",": its decimal sign where a value shows which; '' where none does.
        doubt: what has to be settled: "decimal" where 1,234 may be either, "points" where 1.234 is
            1234 if the table has decimal commas, "signs" where values have different ones around
            them.
        example: a value that shows the doubt.
        count: how many values look like numbers.
    """

    cells: pa.ChunkedArray
    taken: Taken
    decimal: str = ""
    doubt: Doubt = ""
    example: str = ""
    count: int = 0


def first_look(texts: pa.ChunkedArray, words: Iterable[str], *, forced: bool = False) -> Column:
    """Return what a column of texts seems to hold.

    Args:
        texts: the values; null where one is missing.
        words: texts that mean "missing", of the user's.
        forced: whether the user says that it is a number: codes and huge ones are then no text.
    """
    cells = _known(pc.utf8_trim_whitespace(texts), pa.array([*words, ""]))
    if cells.null_count == len(cells):
        return Column(pc.cast(cells, pa.float64()), Taken("number", "no values"))
    # First, because pyarrow takes long to find out that words are no numbers.
    if _cast(_sampled(cells)) is None and _share(cells) < _HALF:
        return Column(cells, Taken("text"))
    plain = _cast(cells)
    if plain is None:
        filled = _known(cells, NULLS)
        if cells.null_count < filled.null_count < len(cells):
            plain = _cast(filled)
    if plain is not None:
        if not forced and _has_leading_zeros(cells):
            return Column(cells, Taken("text", "leading zeros"))
        if not forced and _is_inexact(cells, plain):
            return Column(cells, Taken("text", "whole numbers beyond 2^53"))
        return Column(plain, Taken("number", _powers(cells, plain)))
    return _looked_through(cells)


def _known(cells: pa.ChunkedArray, words: pa.Array) -> pa.ChunkedArray:
    """Return the values with these words as missing."""
    gone = pc.is_in(cells, value_set=words)
    return pc.if_else(gone, pa.scalar(None, cells.type), cells) if pc.any(gone).as_py() else cells


def _cast(cells: pa.ChunkedArray) -> pa.ChunkedArray | None:
    for kind in (pa.int64(), pa.float64()):
        try:
            # pyarrow takes long to find out that many values cannot be cast: some go first.
            pc.cast(cells.slice(0, _SAMPLE), kind)
            return pc.cast(cells, kind)
        except pa.ArrowInvalid:
            continue
    return None


def _has_leading_zeros(cells: pa.ChunkedArray) -> bool:
    # Cheap tests first: most columns have not one such value, and a regular expression takes long.
    zero = pc.and_(pc.starts_with(cells, "0"), pc.greater(pc.binary_length(cells), 1))
    odd = pc.and_not(zero, pc.starts_with(cells, "0."))
    if not pc.any(odd).as_py():
        return False
    return bool(pc.any(pc.match_substring_regex(cells.filter(odd), r"^0[0-9xX]")).as_py())


def _is_inexact(cells: pa.ChunkedArray, numbers: pa.ChunkedArray) -> bool:
    bounds = pc.min_max(numbers)
    if max(-bounds["min"].as_py(), bounds["max"].as_py()) <= EXACT:
        return False
    whole = pa.types.is_integer(numbers.type)
    return whole or bool(pc.any(pc.match_substring_regex(cells, r"^[-+]?\d{16,}$")).as_py())


def _powers(cells: pa.ChunkedArray, numbers: pa.ChunkedArray) -> str:
    """Say that values such as 12E3 were read as numbers: no program writes one so, codes are."""
    if pa.types.is_integer(numbers.type) or not pc.any(pc.match_substring(cells, "E")).as_py():
        return ""
    such = cells.filter(pc.match_substring_regex(cells, r"^\d+E\d+$"))
    return f"{such[0]} is {float(such[0].as_py()):g}, unless it is a code" if len(such) else ""


def _sampled(cells: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return values from all over the column: the first rows may differ from the rest."""
    known = cells.drop_null()
    step = max(len(known) // _SAMPLE, 1)
    return known.take(pa.array(range(0, len(known), step))) if step > 1 else known


def _share(cells: pa.ChunkedArray) -> float:
    """Return the share of numerals among some of the values that are no words for "missing"."""
    for some in (_sampled(cells), cells):
        there = some.drop_null()
        known = there.filter(pc.invert(pc.is_in(there, value_set=NULLS)))
        if len(known):
            share: float = pc.mean(pc.match_substring_regex(_sampled(known), _NUMERAL)).as_py()
            return share
    return 0.0


def _looked_through(cells: pa.ChunkedArray) -> Column:
    """Return a column of which many values are numerals, not all of them plain numbers."""
    filled = _known(cells, NULLS)
    parts = _parts(filled)
    # With one decimal sign or the other: no date, no address.
    either = [pc.match_substring_regex(parts["digits"], form) for form in _GROUPED.values()]
    numeral = pc.fill_null(pc.or_(*either), fill_value=False)
    count = pc.sum(numeral).as_py()
    share = count / (len(filled) - filled.null_count)
    if share < NUMBER_SHARE:
        how = f"{share:.0%} of the values look like numbers" if share >= _HALF else ""
        return Column(cells, Taken("text", how))
    if _any(parts["digits"], _CODE):
        return Column(cells, Taken("text", "leading zeros, or more digits than a number keeps"))
    signs = pc.unique(parts["sign"].filter(numeral)).to_pylist()
    if len(signs) > 1:
        shown = " and ".join(repr(text) if text else "none" for text in sorted(signs))
        taken = Taken("text", f"numbers with different signs: {shown}")
        return Column(cells, taken, doubt="signs", example=shown, count=count)
    doubt, decimal = _decimal(parts["digits"])
    commas = pc.match_substring(parts["digits"].filter(numeral), ",")
    example = str(filled.filter(numeral)[max(int(pc.index(commas, value=True).as_py()), 0)])
    taken = Taken("number", f"sign {signs[0]}" if signs[0] else "")
    column = Column(filled, taken, decimal, doubt, example, count)
    return column if doubt else settled(column, decimal or ".")


def _decimal(digits: pa.ChunkedArray) -> tuple[Doubt, str]:
    """Return what is in doubt about the decimal sign, and the sign where a value shows it."""
    certain = [mark for mark, form in _CERTAIN.items() if _any(digits, form)]
    if len(certain) == 1:
        return "", certain[0]
    if certain or _any(digits, _UNCLEAR.replace(".,", ",")):
        return "decimal", ""
    return ("points" if _any(digits, _UNCLEAR) else ""), ""


def _parts(cells: pa.ChunkedArray) -> dict[str, pa.ChunkedArray]:
    """Return the digits, the sign around them, the power, and whether each value is negative.

    Null where a value is no numeral; a part that a numeral has not is ''.
    """
    found = pc.extract_regex(cells, pattern=_NUMERAL)
    names = ("open", "minus", "before", "inner", "digits", "power", "after", "behind")
    part = {name: pc.struct_field(found, name) for name in names}
    minus = pc.binary_join_element_wise(
        part["open"], part["minus"], part["inner"], part["behind"], ""
    )
    negative = pc.is_in(minus, value_set=pa.array(["-", "−", "("]))  # noqa: RUF001
    sign = pc.binary_join_element_wise(part["before"], part["after"], "")
    return {"digits": part["digits"], "power": part["power"], "sign": sign, "negative": negative}


def _any(texts: pa.ChunkedArray, pattern: str) -> bool:
    return bool(pc.any(pc.match_substring_regex(texts, pattern)).as_py())


def settled(column: Column, decimal: str) -> Column:
    """Return a column of numerals as numbers, now that the decimal sign is known.

    Where some values are none, the numbers are written plainly and the others stay what they are:
    the schema check tells which rows these are.
    """
    parts = _parts(column.cells)
    good = pc.match_substring_regex(parts["digits"], _GROUPED[decimal])
    written = pc.if_else(pc.fill_null(good, fill_value=False), _plain(parts, decimal), column.cells)
    numbers = _cast(written)
    signs = [column.taken.how, "decimal comma" if decimal == "," else ""]
    return Column(
        cells=written if numbers is None else numbers,
        taken=Taken("number", ", ".join(filter(None, signs))),
        decimal=column.decimal,
        count=column.count,
    )


def _plain(parts: Mapping[str, pa.ChunkedArray], decimal: str) -> pa.ChunkedArray:
    """Return numerals as pyarrow and pandas read them: 1.234,50 € becomes 1234.50."""
    between = f"[{'.' if decimal == ',' else ','}{_BLANK}]"
    digits = pc.replace_substring_regex(parts["digits"], between, "")
    digits = pc.replace_substring(digits, ",", ".")
    minus = pc.if_else(parts["negative"], "-", "")
    return pc.binary_join_element_wise(minus, digits, parts["power"], "")


def with_points(texts: pa.ChunkedArray, column: Column) -> Column:
    """Return a column of plain numbers with what its points say of the decimal sign.

    12.345 alone is in doubt; a value like 1.5 or 0.125 beside it shows a decimal point.

    Args:
        texts: its values as they were written.
        column: what was made of them.
    """
    for some in (_sampled(texts), texts):
        cells = pc.utf8_trim_whitespace(some)
        pointed = cells.filter(pc.match_substring(cells, "."))
        if len(pointed) and not pc.all(pc.match_substring_regex(pointed, _UNCLEAR)).as_py():
            return replace(column, decimal=".")
    if not len(pointed):
        return column
    count = len(column.cells) - column.cells.null_count
    return Column(_known(cells, NULLS), column.taken, "", "decimal", str(pointed[0]), count)
