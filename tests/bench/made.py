"""Makes the table of a night: as large as wine quality, and the same on every machine. Pure.

6,497 rows: eleven numbers, a colour, and a mark in halves from 3 to 9 that depends on some of them.
"""

from __future__ import annotations

import random

ROWS = 6497
SEED = 20
TARGET = "quality"
_RED_SHARE = 0.25
_NOISE = 0.5
_NUMBERS = {  # mean, standard deviation, decimals, weight in the mark
    "fixed acidity": (7.2, 1.3, 1, 0.0),
    "volatile acidity": (0.34, 0.16, 2, -0.3),
    "citric acid": (0.32, 0.15, 2, 0.05),
    "residual sugar": (5.4, 4.8, 1, 0.1),
    "chlorides": (0.056, 0.035, 3, -0.1),
    "free sulfur dioxide": (30.5, 17.7, 0, 0.1),
    "total sulfur dioxide": (115.7, 56.5, 0, -0.1),
    "density": (0.9947, 0.003, 5, 0.0),
    "pH": (3.22, 0.16, 2, 0.0),
    "sulphates": (0.53, 0.15, 2, 0.15),
    "alcohol": (10.5, 1.2, 1, 0.45),
}


def table() -> str:
    """Return the table as CSV with a header."""
    chance = random.Random(SEED)  # noqa: S311 - no secret
    lines = [",".join([*_NUMBERS, "color", TARGET])]
    lines += [_line(chance) for _ in range(ROWS)]
    return "\n".join(lines) + "\n"


def _line(chance: random.Random) -> str:
    mark, cells = 5.8, []
    for mean, deviation, decimals, weight in _NUMBERS.values():
        value = chance.gauss(0.0, 1.0)
        mark += weight * value
        cells.append(f"{abs(mean + deviation * value):.{decimals}f}")
    cells.append("red" if chance.random() < _RED_SHARE else "white")
    mark = min(max(mark + chance.gauss(0.0, _NOISE), 3.0), 9.0)
    return ",".join([*cells, f"{round(mark * 2) / 2}"])
