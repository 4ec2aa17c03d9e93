"""Entry point `explore`: logs a page, pictures and statistics of the raw rows under `explore/`.

Rows that fail the schema are left out of them and counted. Touches the MLflow run and a
temporary folder.
"""

import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from shared.commandline import RAW
from shared.errors import DataError
from shared.space import room_for
from shared.tracking import Step, main, say
from tabular.facts import RAW_FILE, Facts

_PICTURE_ROOM = 1 << 22  # bytes; what the pictures take at most, as a rule

OPTIONS = (RAW,)


def explore(values: Mapping[str, Any]) -> None:
    """Do the step within the active MLflow run, as `Step.work` says."""
    import mlflow

    from tabular.pictures import correlations, draw_all
    from tabular.report import Report, write_data
    from tabular.schema import check
    from tabular.statistics import describe_columns, write

    raw = Path(values["raw"])
    facts = Facts.read(raw)
    rows = pd.read_parquet(raw / RAW_FILE)
    checked = check(rows, facts)
    if checked.rows.empty:
        raise DataError(
            "not one row passes the schema, so there is nothing to look at",
            allowed="rows that fit the data set's declaration",
            action="run preprocess and read its schema report",
        )
    with tempfile.TemporaryDirectory() as place, room_for(Path(place), _PICTURE_ROOM):
        folder = Path(place)
        related = correlations(checked.rows, facts).dropna()
        content: dict[str, Any] = {
            "rows": len(checked.rows),
            "rejected": checked.rejected,
            "taken": dict(facts.taken),
            "columns": describe_columns(checked.rows, facts),
            "correlation_with_target": {str(k): float(v) for k, v in related.items()},
        }
        write(content, folder / "statistics.json")
        drawn = draw_all(checked.rows, facts, folder)
        write_data(Report(facts, len(rows), [], checked), content, drawn, folder)
        mlflow.log_artifacts(place, "explore")
    mlflow.set_tag("data.sha256", facts.sha256)
    say(f"{facts.dataset}: {len(checked.rows):,} rows, {', '.join(drawn)}")


STEP = Step("explore", OPTIONS, explore)

if __name__ == "__main__":
    sys.exit(main(STEP))
