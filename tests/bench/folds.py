"""Which of ten settings a search would choose, with equal rows in one fold and dealt freely.

    make bench BENCH=folds BENCH_ARGS='--data FOLDER [--json FILE]'

XGBoost with `max_depth` 1 to 10 on three tables in which rows repeat: wine, red wine, and white
wine with its quality as classes. Each setting's error is measured in five folds of the training
rows, in those of `search` and in folds that take every row for different, and on the holdout, which
is split off as `preprocess` does. Says how the two errors go together, and what the winner of each
is worth. The folder has the files of the data set's public address below `wine-quality`.
"""

from __future__ import annotations

import argparse
import json
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

PROJECT = Path(__file__).resolve().parents[2] / "mlproject" / "tabular"
sys.path[:0] = [str(PROJECT)]

from tabular import models  # noqa: E402 - the project is on the path now
from tabular.declaration import Column, Task  # noqa: E402
from tabular.facts import Facts  # noqa: E402
from tabular.folds import cut  # noqa: E402
from tabular.split import Split, split, with_row_ids  # noqa: E402

DEPTHS = range(1, 11)
COUNT, SEED, MODEL, TARGET = 5, 42, "xgboost", "quality"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the bench."""
    parser = argparse.ArgumentParser(prog="bench folds", description="Folds that can be trusted.")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    # Single-precision shares of XGBoost do not sum to one in double precision.
    warnings.filterwarnings("ignore", message="The y_prob values do not sum to one")
    folder = options.data / "wine-quality"
    red, white = (
        pd.read_csv(folder / f"winequality-{color}.csv", sep=";").assign(color=color)
        for color in ("red", "white")
    )
    both = pd.concat([red, white], ignore_index=True)
    classes = white.assign(**{TARGET: white[TARGET].astype("str")})
    found = []
    for name, frame in (
        ("wine", both),
        ("red wine", red.drop(columns="color")),
        ("white wine, classes", classes.drop(columns="color")),
    ):
        found.append(_table(name, frame))
        _report(found[-1])
    if options.json:
        options.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    return 0


def _table(name: str, frame: pd.DataFrame) -> dict[str, Any]:
    """Return the errors of all settings on one table."""
    facts = _facts(name, frame)
    numbered, prints = with_row_ids(frame, list(facts.features))
    train, holdout = split(numbered, prints, "", Split("hash"))
    numbers = pd.DataFrame({"number": range(len(train))})
    freely = train.assign(row_id=with_row_ids(numbers, ["number"])[0]["row_id"])
    metric = "log_loss" if facts.task == "classification" else "rmse"
    ways = {
        "freely": cut(freely, facts, COUNT, SEED, metric),
        "as here": cut(train, facts, COUNT, SEED, metric),
    }
    errors: dict[str, list[float]] = {name: [] for name in (*ways, "holdout")}
    for depth in DEPTHS:
        used = _used(facts, depth)
        for way, folds in ways.items():
            errors[way].append(folds.score(MODEL, used)[f"cv_{metric}"])
        errors["holdout"].append(ways["as here"].unseen(MODEL, used, holdout, metric)[metric])
    repeated = len(train) - train["row_id"].str.slice(0, 16).nunique()
    return {"data": name, "rows": len(train), "repeated": repeated, "metric": metric, **errors}


def _facts(name: str, frame: pd.DataFrame) -> Facts:
    columns = {
        str(column): Column(kind="text" if frame[column].dtype.kind not in "if" else "number")
        for column in frame
    }
    features = tuple(column for column in columns if column != TARGET)
    task: Task = "classification" if columns[TARGET].kind == "text" else "regression"
    return Facts(name, task, TARGET, columns, features)


def _used(facts: Facts, depth: int) -> dict[str, Any]:
    defaults = {option.name: option.default for option in models.OPTIONS}
    given = {**defaults, "max_depth": depth, "random_state": SEED}
    return models.choose(MODEL, facts.task, given)


def _report(found: dict[str, Any]) -> None:
    held = np.array(found["holdout"])
    repeated = f"{found['repeated']:,} of {found['rows']:,} training rows repeat another"
    best = DEPTHS[int(held.argmin())]
    lines = [f"{found['data']} ({found['metric']}): {repeated}; best on the holdout: depth {best}"]
    for way in ("freely", "as here"):
        won = int(np.argmin(found[way]))
        lines.append(
            f"  {way}: correlation {np.corrcoef(found[way], held)[0, 1]:.2f}; winner depth "
            f"{DEPTHS[won]}: {found[way][won]:.3f} in the folds, {held[won]:.3f} on the holdout"
        )
    sys.stdout.write("\n".join(lines) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
