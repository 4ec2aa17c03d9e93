"""Entry point `download`: brings the rows of a data set as of a date and logs them under `raw/`.

What *as of* means: for rows with a time, those with a time before it; for a replayed data set,
those that arrived on or before its day; a file without times has no past, and the log says so.
Touches the MLflow run, the network and a temporary folder.
"""

import dataclasses
import datetime as dt
import json
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from tabular.commandline import Option
from tabular.declaration import Bundled, DataSet
from tabular.description import check_columns, describe, with_parameters
from tabular.errors import ParameterError
from tabular.facts import MALFORMED_FILE, RAW_FILE, Facts
from tabular.sources import Delivery, bring, malformed_rows
from tabular.space import room_for
from tabular.tracking import Step, log_new_params, main, name_run, say

OPTIONS = (
    Option("dataset", "diabetes", "name of the data set"),
    Option("as_of", "", "ISO 8601 date or time, UTC; '' for everything there is"),
    Option("source", "", "path or URL of your file"),
    Option("target", "", "column to predict, for csv and parquet"),
    Option("separator", ",", "between the fields of your CSV; 'tab' for a tabulator"),
    Option("identity", "", "columns that identify a row, separated by commas"),
    Option("time_column", "", "column with the time of a row"),
    Option("leave_out", "", "columns that are no features, by commas; patterns like 'x_*' too"),
    Option("task", "auto", "what to predict", choices=("auto", "regression", "classification")),
)


def download(values: Mapping[str, Any]) -> None:
    """Do the step within the active MLflow run.

    Args:
        values: the parameters, as `OPTIONS` names them.

    Raises:
        TabularError: see `errors`.
    """
    from tabular.datasets import find
    from tabular.times import read_as_of

    as_of = read_as_of(values["as_of"])
    data_set = with_parameters(find(values["dataset"]), values)
    separator = _separator(values["separator"])
    with tempfile.TemporaryDirectory() as place:
        delivery = bring(data_set, values["source"], separator, Path(place) / "incoming")
        check_columns(data_set, delivery.table.frame)
        delivery, newest = _as_of(data_set, delivery, as_of)
        facts = _facts(data_set, delivery, values["as_of"], newest)
        _log(facts, delivery, Path(place) / "raw")
    name_run(f"download {data_set.name}")
    log_new_params({**values, "source": facts.source if values["source"] else ""})


def _separator(text: str) -> str:
    separator = {"tab": "\t", "\\t": "\t", "": ","}.get(text, text)
    if len(separator) != 1:
        raise ParameterError(
            f"parameter 'separator' is {text!r}",
            allowed="one character, or 'tab'",
            action="correct -P separator=...",
        )
    return separator


def _as_of(
    data_set: DataSet, delivery: Delivery, as_of: dt.datetime | None
) -> tuple[Delivery, str]:
    """Return the rows there were as of the moment, and the time of the newest one."""
    table = delivery.table
    if data_set.time:
        from tabular.times import before, stamped

        table = stamped(table, data_set.time)
        frame = before(table.frame, data_set.time.name, as_of)
        newest = frame[data_set.time.name].max().isoformat()
    elif isinstance(data_set.source, Bundled):
        frame, newest = _replayed(data_set, table.frame, as_of)
    else:
        if as_of:
            say(f"{data_set.name} has no times: as_of {as_of.date()} changes nothing")
        return delivery, ""
    return dataclasses.replace(delivery, table=dataclasses.replace(table, frame=frame)), newest


def _replayed(
    data_set: DataSet, frame: pd.DataFrame, as_of: dt.datetime | None
) -> tuple[pd.DataFrame, str]:
    if as_of is None or not isinstance(data_set.source, Bundled):
        return frame, ""
    from tabular.identity import identity_columns
    from tabular.replay import arrived

    identity = identity_columns(data_set.identity, data_set.target, frame)
    rows, newest = arrived(frame, identity, data_set.source.replay, as_of)
    return rows, newest.isoformat()


def _facts(data_set: DataSet, delivery: Delivery, as_of: str, newest: str) -> Facts:
    from tabular.identity import content_sha256

    frame = delivery.table.frame
    return dataclasses.replace(
        describe(data_set, frame),
        source=delivery.source,
        as_of=as_of,
        newest=newest,
        sha256=content_sha256(frame),
    )


def _log(facts: Facts, delivery: Delivery, folder: Path) -> None:
    import mlflow

    frame = delivery.table.frame
    folder.mkdir()
    with room_for(folder, int(frame.memory_usage(deep=True).sum())):
        frame.to_parquet(folder / RAW_FILE, index=False)
        facts.write(folder)
        lines = json.dumps(malformed_rows(delivery.table.malformed), ensure_ascii=False, indent=1)
        (folder / MALFORMED_FILE).write_text(lines + "\n", encoding="utf-8")
    mlflow.log_artifacts(str(folder), "raw")
    mlflow.set_tags(
        {
            "data.sha256": facts.sha256,
            "data.rows": str(len(frame)),
            "data.newest": facts.newest,
            "data.source": facts.source,
            "data.as_of": facts.as_of,
        }
    )
    say(
        f"{facts.dataset}: {len(frame):,} rows, {len(facts.features)} features, from {facts.source}"
    )


STEP = Step("download", OPTIONS, download)

if __name__ == "__main__":
    sys.exit(main(STEP))
