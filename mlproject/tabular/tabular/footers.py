"""Tells rows at the end of a file that sum up those above from rows. Touches nothing."""

from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from tabular.malformed import LONGEST_TEXT, Malformed

_MOST_TOTALS = 3  # lines at the end of a file
_FEWEST_SUMMED = 3  # rows of which a sum is no coincidence
_ROUNDING = 1e-9  # relative
_TOTALS = {
    *("total", "totals", "grand total", "sum", "average", "mean"),
    *("summe", "gesamt", "gesamtsumme", "insgesamt", "mittelwert", "durchschnitt"),
    *("somme", "moyenne", "totale", "suma", "promedio"),
}


def last_row(table: pa.Table) -> dict[str, Any]:
    """Return the last row of a table; {} if it has none."""
    row: list[dict[str, Any]] = table.slice(max(table.num_rows - 1, 0), 1).to_pylist()
    return row[0] if row else {}


def without_totals(table: pa.Table) -> tuple[pa.Table, tuple[Malformed, ...]]:
    """Return the rows without those at the end that say what they are: a total, an average."""
    totals: list[Malformed] = []
    while len(totals) < _MOST_TOTALS and table.num_rows and _is_total(table):
        totals.append(Malformed(0, "a total, no row", _shown(last_row(table))))
        table = table.slice(0, table.num_rows - 1)
    return table, tuple(totals)


def _is_total(table: pa.Table) -> bool:
    words = {name: text for name, text in last_row(table).items() if text is not None}
    for name, text in words.items():
        if text.strip().rstrip(":").lower() in _TOTALS:
            if table.column_names.count(name) > 1:
                return False
            # A word that other rows have, too, is a value.
            return int(pc.sum(pc.equal(table[name], text)).as_py()) == 1
    return False


def without_sum(table: pa.Table) -> tuple[pa.Table, tuple[Malformed, ...]]:
    """Return the rows without a last one that has gaps and else only the sums of its columns."""
    last = last_row(table)
    known = {name: value for name, value in last.items() if value is not None}
    if not known or len(known) == len(last) or table.num_rows <= _FEWEST_SUMMED:
        return table, ()
    above = table.slice(0, table.num_rows - 1)
    for name, value in known.items():
        if not isinstance(value, int | float) or not value:
            return table, ()
        if abs((pc.sum(above[name]).as_py() or 0) - value) > _ROUNDING * abs(value):
            return table, ()
    return above, (Malformed(0, "the sum of the rows above, no row", _shown(last)),)


def _shown(row: Mapping[str, object]) -> str:
    return ", ".join("" if value is None else str(value) for value in row.values())[:LONGEST_TEXT]
