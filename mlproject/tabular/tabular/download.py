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
import textwrap
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pandas as pd

from shared.commandline import Option, read_as_of
from shared.errors import DataError
from shared.json_files import MALFORMED_FILE
from shared.space import room_for
from shared.tracking import Step, log_new_params, main, say
from tabular.declaration import Bundled, DataSet
from tabular.description import check_columns, describe, with_parameters
from tabular.facts import RAW_FILE, Facts, write_rows
from tabular.reading import Reading, reading
from tabular.rules import RULES_FILE, brought
from tabular.sources import Delivery, bring, malformed_rows
from tabular.split import ROW_ID

LONGEST_LINE = 1000  # characters of a line of the log that names columns

OPTIONS = (
    Option("dataset", "diabetes", "name of the data set"),
    Option("as_of", "", "ISO 8601 date or time, UTC; '' for everything there is"),
    Option("source", "", "path or URL of your file, or path of a folder of part files"),
    Option("target", "", "column to predict, for csv and parquet"),
    Option("separator", ",", "between the fields of your CSV; 'tab' for a tabulator"),
    Option("encoding", "", "of your CSV; '' for UTF-8, or UTF-16 and UTF-32 as their bytes show"),
    Option("decimal", "", "the decimal sign, for 1,234 and 1.234 alone", choices=("", ".", ",")),
    Option("missing_words", "", "texts that mean 'missing' in every column, by commas"),
    Option(
        "column_types", "", "name:text or name:number, by commas, whatever the values look like"
    ),
    Option("identity", "", "columns that identify a row, separated by commas"),
    Option("time_column", "", "column with the time of a row"),
    Option("time_format", "", "'' for ISO 8601; s, ms, us, ns since 1970, or such as %d.%m.%Y"),
    Option("time_zone", "", "of times that say none; '' for UTC"),
    Option("leave_out", "", "columns that are no features, by commas; patterns like 'x_*' too"),
    Option("rules", "", "path or URL of rules for the rows, pandera's YAML; or the same as JSON"),
    Option("task", "auto", "what to predict", choices=("auto", "regression", "classification")),
)


def download(values: Mapping[str, Any]) -> None:
    """Do the step within the active MLflow run.

    Args:
        values: the parameters, as `OPTIONS` names them.

    Raises:
        StepError: see `errors`.
    """
    with tempfile.TemporaryDirectory() as place:
        facts, delivery = delivered(values, Path(place) / "incoming")
        rules = brought(values["rules"], delivery.table.frame.columns, Path(place) / "rules")
        _log(facts, delivery, rules, Path(place) / "raw")
    log_new_params({**values, "source": facts.source if values["source"] else ""})


def delivered(values: Mapping[str, Any], folder: Path) -> tuple[Facts, Delivery]:
    """Return the rows as of the date, and what is known of them.

    Args:
        values: the parameters, as `OPTIONS` names them.
        folder: for files on their way.

    Raises:
        StepError: see `errors`.
    """
    from tabular.datasets import find

    as_of = read_as_of(values["as_of"])
    data_set = with_parameters(find(values["dataset"]), values)
    how = reading(data_set, values)
    delivery = bring(data_set, values["source"], how, folder)
    check_columns(data_set, delivery.table.frame)
    data_set, delivery = _renamed(data_set, delivery)
    delivery, newest = _as_of(data_set, delivery, as_of, how)
    return _facts(data_set, delivery, values["as_of"], newest), delivery


def _renamed(data_set: DataSet, delivery: Delivery) -> tuple[DataSet, Delivery]:
    """Give way to the steps' own name of a row: a column of this name is called otherwise.

    Raises:
        DataError: if it is the target or a feature, by whose name a model is asked.
    """
    table = delivery.table
    if ROW_ID not in table.frame:
        return data_set, delivery
    apart = ROW_ID in data_set.identity or any(fnmatchcase(ROW_ID, x) for x in data_set.left_out)
    if data_set.target == ROW_ID or not apart:
        raise DataError(
            f"a column is called '{ROW_ID}', as the steps call what tells rows apart",
            allowed="another name, or a column that is no feature",
            action=f"pass -P identity={ROW_ID} if it tells rows apart, -P leave_out={ROW_ID} if it "
            "is of no use, else rename it in the file",
        )
    other = f"{ROW_ID} of the file"
    taken = {other if name == ROW_ID else name: what for name, what in table.taken.items()}
    table = dataclasses.replace(
        table, frame=table.frame.rename(columns={ROW_ID: other}), taken=taken
    )
    identity = tuple(other if name == ROW_ID else name for name in data_set.identity)
    left_out = {other if name == ROW_ID else name: why for name, why in data_set.left_out.items()}
    data_set = dataclasses.replace(data_set, identity=identity, left_out=left_out)
    return data_set, dataclasses.replace(delivery, table=table)


def _as_of(
    data_set: DataSet, delivery: Delivery, as_of: dt.datetime | None, how: Reading
) -> tuple[Delivery, str]:
    """Return the rows there were as of the moment, and the time of the newest one."""
    table = delivery.table
    if data_set.time:
        from tabular.times import before, stamped

        table = stamped(table, data_set.time, how)
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
        describe(data_set, delivery.table),
        source=delivery.source,
        as_of=as_of,
        newest=newest,
        sha256=content_sha256(frame),
    )


def _log(facts: Facts, delivery: Delivery, rules: str, folder: Path) -> None:
    import mlflow

    frame = delivery.table.frame
    folder.mkdir()
    with room_for(folder, int(frame.memory_usage(deep=True).sum())):
        write_rows(frame, folder / RAW_FILE)
        facts.write(folder)
        lines = json.dumps(malformed_rows(delivery.table.malformed), ensure_ascii=False, indent=1)
        (folder / MALFORMED_FILE).write_text(lines + "\n", encoding="utf-8")
        if rules:
            (folder / RULES_FILE).write_text(rules, encoding="utf-8")
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
    for line in (*delivery.table.notes, *_taken(facts)):
        say(line)


def _taken(facts: Facts) -> Iterator[str]:
    """Yield what each column was taken for, columns of one kind in one line."""
    columns: dict[str, list[str]] = {}
    for name, what in facts.taken.items():
        columns.setdefault(f"taken for {what}", []).append(name)
    for name, why in facts.left_out.items():
        columns.setdefault(f"no feature ({why})", []).append(name)
    for what, names in columns.items():
        yield f"{what}: {textwrap.shorten(', '.join(names), LONGEST_LINE, placeholder=' ...')}"


STEP = Step("download", OPTIONS, download)

if __name__ == "__main__":
    sys.exit(main(STEP))
