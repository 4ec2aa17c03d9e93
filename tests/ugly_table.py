"""A table as people really have it, for whole nights: it grows by the day, and little is clean.

Flats in a town, with a price to predict (regression) and a condition (classes). The same rows on
every machine: all that is random comes from one seed.
"""

from __future__ import annotations

import datetime as dt
import io
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

FIRST_DAY = dt.date(2026, 1, 1)
DAYS, A_DAY = 60, 40
PRICE, CONDITION = "Preis in €", "Zustand"
"""The two targets. Of each one in fifty is missing, and where it is no target it is a feature."""
IDENTITY, TIME = "Auftrags-Nr.", "Bestellt am"
"""Digits that begin with zeros; and a date, which one row in two hundred has not."""
AREA, ROOMS, BALCONY, GARAGE = "Fläche in m²", "Zimmer", "Balkon?", "Garage?"
"""A number and a whole one, both with gaps; truth values with gaps, and without."""
STREET, ENERGY = 'Straße "Lage"', "Energie=Klasse"
"""Hundreds of texts, of which new ones turn up every day; and five, with gaps."""
CHECKED, ENTERED = "Geprüft am", "Erfasst um"
"""Dates, with many gaps, and times."""
CONSTANT, EMPTY = "Währung", "Bemerkung"
RARE, LATE = 'Denkmal; "geschützt"', "abgerissen"
"""The class of one row in a hundred; and that of one in fifteen, which nobody saw for 45 days."""
SEPARATOR = ";"

Numbers = np.ndarray[Any, np.dtype[Any]]


def as_of(day: int) -> str:
    """Return the date of a day; day 0 is that of the first rows."""
    return (FIRST_DAY + dt.timedelta(days=day)).isoformat()


def rows(day: int) -> pd.DataFrame:
    """Return the rows that are there on a day, 1 to ``DAYS``, in the order of their arrival.

    One in twelve arrives up to five days after its date, between those of later days. One in a
    hundred is there twice.
    """
    table, arrives = _whole()
    return table[arrives < day].reset_index(drop=True)


def csv(day: int) -> bytes:
    """Return the table of a day as a CSV file: a missing value is an empty cell."""
    return rows(day).to_csv(sep=SEPARATOR, index=False).encode()


def parquet(day: int) -> bytes:
    """Return the table of a day as Parquet, which knows truth values, dates and times."""
    table, file = pa.Table.from_pandas(rows(day), preserve_index=False), io.BytesIO()
    pq.write_table(table, file)
    return file.getvalue()


@cache
def _whole() -> tuple[pd.DataFrame, pd.Series]:
    """Return all rows there will ever be, and the day on which each arrives, from 0."""
    chance, day = np.random.default_rng(7), np.repeat(np.arange(DAYS), A_DAY)
    table = pd.DataFrame({**_keys(chance, day), **_features(chance, day)})
    table = table.assign(**{PRICE: _prices(chance, table), CONDITION: _conditions(chance, table)})
    for name, share in _GAPS.items():
        table[name] = table[name].mask(chance.random(len(table)) < share)
    arrives = pd.Series(day + (chance.random(len(day)) < 1 / 12) * chance.integers(1, 6, len(day)))
    twice = pd.Series(chance.random(len(day)) < 1 / 100)
    order = pd.concat([arrives, arrives[twice] + 1]).sort_values(kind="stable")
    return table.loc[order.index].reset_index(drop=True), order.reset_index(drop=True)


_GAPS = {
    TIME: 0.005,
    AREA: 0.1,
    ROOMS: 0.1,
    BALCONY: 0.15,
    STREET: 0.05,
    ENERGY: 0.1,
    CHECKED: 0.3,
    ENTERED: 0.05,
    PRICE: 0.02,
    CONDITION: 0.02,
}
"""The share of a column's values that is missing."""


def _keys(chance: np.random.Generator, day: Numbers) -> dict[str, Any]:
    times = pd.Timestamp(FIRST_DAY) + pd.to_timedelta(day, "D")
    entered = times + pd.to_timedelta(chance.integers(0, 86_400, len(day)), "s")
    return {
        IDENTITY: pd.Series([f"{number:06}" for number in range(len(day))], dtype="str"),
        TIME: times.date,
        ENTERED: entered.as_unit("us"),
    }


def _features(chance: np.random.Generator, day: Numbers) -> dict[str, Any]:
    count = len(day)
    area = np.round(chance.lognormal(4.2, 0.4, count), 1)
    rooms = np.clip(np.round(area / 25 + chance.normal(0, 0.5, count)), 1, 9)
    street = np.floor(chance.random(count) ** 2 * (100 + 4 * day)).astype(int)
    checked = pd.Timestamp(FIRST_DAY) - pd.to_timedelta(chance.integers(1, 90, count), "D")
    return {
        AREA: area,
        ROOMS: pd.Series(rooms, dtype="Int64"),
        BALCONY: pd.Series(chance.random(count) < 0.6, dtype="boolean"),
        GARAGE: pd.Series(chance.random(count) < 0.3, dtype="boolean"),
        STREET: pd.Series([f'{one}. Straße, "{"NOSW"[one % 4]}"' for one in street], dtype="str"),
        ENERGY: pd.Series(chance.choice(list("ABCDE"), count), dtype="str"),
        CHECKED: checked.date,
        CONSTANT: pd.Series(["EUR"] * count, dtype="str"),
        EMPTY: pd.Series([None] * count, dtype="str"),
    }


def _prices(chance: np.random.Generator, table: pd.DataFrame) -> pd.Series:
    """Return what a flat costs: by its area and street, then by all else."""
    street = table[STREET].str.extract(r"^(\d+)")[0].astype(int)
    price = 12 * table[AREA] * (1 + street % 4 / 5) + 90 * table[ROOMS].astype(float)
    price += 150 * table[BALCONY].astype(float) + 120 * table[GARAGE].astype(float)
    price -= 60 * table[ENERGY].map("ABCDE".index)
    return (price + chance.normal(0, 60, len(table))).round(2)


def _conditions(chance: np.random.Generator, table: pd.DataFrame) -> pd.Series:
    """Return in which state a flat is: new ones use little energy, large ones were renovated."""
    energy = table[ENERGY].map("ABCDE".index) + chance.normal(0, 0.5, len(table))
    classes = np.where(energy < 1, "neu", np.where(table[AREA] > 70, "saniert", "einfach"))
    classes = np.where(chance.random(len(table)) < 1 / 100, RARE, classes)
    late = np.arange(len(table)) >= 45 * A_DAY
    classes = np.where(late & (chance.random(len(table)) < 1 / 15), LATE, classes)
    return pd.Series(classes, dtype="str")
