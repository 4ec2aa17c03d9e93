"""Entry point `preprocess`: checks the raw rows, splits them, and logs both parts under `data/`.

The rows stay raw: scaling and encoding are inside the model. Touches the MLflow run and a
temporary folder.
"""

import dataclasses
import shutil
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from shared.commandline import RAW, Option
from shared.errors import DataError
from shared.json_files import MALFORMED_FILE, read_json
from shared.space import room_for
from shared.tracking import Step, log_new_params, main, say
from tabular.declaration import Holdout
from tabular.facts import RAW_FILE, Facts, write_rows
from tabular.memory import check_parquet
from tabular.split import Split, split, with_row_ids

FEWEST_CLASSES = 2
MOST_NAMED = 10
"""Classes that a line of the log names."""
TRAIN_FILE, HOLDOUT_FILE = "train.parquet", "holdout.parquet"

OPTIONS = (
    RAW,
    Option(
        "holdout",
        "",
        "which rows are held out; '' as the data set says",
        choices=("", "hash", "newest"),
    ),
    Option("holdout_fraction", 0.2, "share held out by hash", above=0, below=1),
    Option(
        "holdout_days",
        0.0,
        "length of the newest window in days; 0 as the data set says",
        minimum=0,
        maximum=36500,
    ),
    Option(
        "training_days",
        0.0,
        "length of the training window before it in days; 0 for all",
        minimum=0,
        maximum=36500,
    ),
    Option(
        "max_rejected",
        0.05,
        "largest share of rows that the schema may reject",
        minimum=0,
        maximum=1,
    ),
)


def preprocess(values: Mapping[str, Any]) -> None:
    """Do the step within the active MLflow run.

    Args:
        values: the parameters, as `OPTIONS` names them.

    Raises:
        StepError: see `errors`.
    """
    raw = Path(values["raw"])
    facts = Facts.read(raw)
    how = Split(
        values["holdout"] or facts.holdout.policy,
        values["holdout_fraction"],
        values["holdout_days"] or facts.holdout.days,
        values["training_days"],
    )
    # Later steps follow the split that was made: the folds of a search, for one.
    facts = dataclasses.replace(facts, holdout=Holdout(how.policy, how.holdout_days))
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        # Not kept here: the parts take as much memory as the rows.
        parts = _parts(_checked(raw, facts, values["max_rejected"], folder), facts, how)
        _log(*parts, facts, folder)
    log_new_params({name: value for name, value in values.items() if name != "raw"})


def _checked(raw: Path, facts: Facts, max_rejected: float, folder: Path) -> pd.DataFrame:
    """Return the rows that pass; log the report in any case, also where too many fail."""
    import mlflow

    from tabular.report import Report
    from tabular.rules import RULES_FILE, read
    from tabular.schema import check

    frame = _rows(raw / RAW_FILE)
    malformed = read_json(raw, MALFORMED_FILE)
    rules = None
    if (raw / RULES_FILE).is_file():
        rules = read((raw / RULES_FILE).read_text(encoding="utf-8"))
        shutil.copy(raw / RULES_FILE, folder)
    report = Report(facts, len(frame) + len(malformed), malformed, check(frame, facts, rules))
    report.write(folder)
    mlflow.set_tags({"data.sha256": facts.sha256, "data.rejected.rows": str(report.rejected)})
    if report.rejected:
        say(f"{report.rejected:,} of {report.rows:,} rows rejected; most often: {report.worst()}")
    if report.checked.broken:
        mlflow.log_artifacts(str(folder), "data")
        raise DataError(
            f"the table breaks {len(report.checked.broken)} of its rules: "
            + "; ".join(report.checked.broken[:MOST_NAMED]),
            allowed=f"a table that obeys {RULES_FILE}",
            action="read data/schema_report.html in the run and mend the data or the rules",
        )
    if report.share > max_rejected:
        mlflow.log_artifacts(str(folder), "data")
        raise DataError(
            f"{report.rejected:,} of {report.rows:,} rows ({report.share:.1%}) fail the schema; "
            f"most often: {report.worst()}",
            allowed=f"at most {max_rejected:.1%} (parameter max_rejected)",
            action="read data/schema_report.html in the run and mend the data or the declaration",
        )
    return report.checked.rows


def _parts(rows: pd.DataFrame, facts: Facts, how: Split) -> tuple[pd.DataFrame, pd.DataFrame]:
    from tabular.identity import identity_columns

    identity = identity_columns(facts.identity, facts.target, rows)
    numbered, prints = with_row_ids(rows, identity)
    train, holdout = split(numbered, prints, facts.time, how)
    if facts.task == "classification":
        check_classes(train[facts.target], "training")
        _say_classes(train[facts.target], holdout[facts.target])
    return train, holdout


def _say_classes(train: pd.Series, holdout: pd.Series) -> None:
    """Say which classes one part lacks: what it does not define is not judged on it."""
    for there, lacks, words in (
        (train, holdout, "no holdout row is of the class"),
        (holdout, train, "no training row is of the class"),
    ):
        lacking = sorted(set(there.unique()) - set(lacks.unique()), key=str)
        if lacking:
            more = f" and of {len(lacking) - MOST_NAMED} more" if len(lacking) > MOST_NAMED else ""
            say(f"{words} {', '.join(map(repr, map(str, lacking[:MOST_NAMED])))}{more}")


def check_classes(target: pd.Series, part: str) -> None:
    """Check that a part has at least two classes.

    Raises:
        DataError: if it has one.
    """
    if target.nunique() < FEWEST_CLASSES:
        raise DataError(
            f"the {part} rows have one class only, {target.iloc[0]!r}",
            allowed="at least two classes",
            action="bring rows of other classes, or check which column is the target",
        )


def _log(train: pd.DataFrame, holdout: pd.DataFrame, facts: Facts, folder: Path) -> None:
    import mlflow

    from tabular.identity import content_sha256
    from tabular.statistics import describe_columns, write

    with room_for(folder, int(train.memory_usage(deep=True).sum())):
        write_rows(train, folder / TRAIN_FILE)
        write_rows(holdout, folder / HOLDOUT_FILE)
        facts.write(folder)
        write(describe_columns(train, facts), folder / "statistics.json")
    mlflow.log_artifacts(str(folder), "data")
    mlflow.set_tags(
        {
            "data.train.rows": str(len(train)),
            "data.holdout.rows": str(len(holdout)),
            "data.holdout.sha256": content_sha256(holdout),
        }
    )
    say(f"{facts.dataset}: {len(train):,} training rows, {len(holdout):,} holdout rows")


def read_part(folder: Path, name: str) -> pd.DataFrame:
    """Return the training or the holdout rows that `preprocess` logged.

    Raises:
        DataError: if the folder does not hold them.
    """
    if not (folder / name).is_file():
        read_json(folder, name)
    return _rows(folder / name)


def _rows(path: Path) -> pd.DataFrame:
    check_parquet([path])
    # Each column as it was read: to put numbers together into one array would copy them all.
    return pd.read_parquet(path, to_pandas_kwargs={"split_blocks": True, "self_destruct": True})


STEP = Step("preprocess", OPTIONS, preprocess)

if __name__ == "__main__":
    sys.exit(main(STEP))
