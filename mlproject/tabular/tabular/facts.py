"""The facts of one download: what travels with the rows from step to step as `dataset.json`.

Made once, by `download`, from the declaration, the user's parameters and the columns that really
came; later steps read them and need neither the declaration nor the parameters. Touches only the
files it is asked to read or write.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shared.json_files import FACTS_FILE, read_json, write_json
from tabular.declaration import Column, Holdout, Task

if TYPE_CHECKING:
    import pandas as pd

RAW_FILE = "data.parquet"


@dataclass(frozen=True)
class Facts:
    """What is known about one table.

    Attributes:
        dataset: name of the data set.
        task: "regression" or "classification".
        target: column to predict.
        columns: what each column that is used may hold, the target included.
        features: columns that a model takes, in the order of the file.
        left_out: columns that came and are no features, with the reason.
        identity: columns that identify a row.
        time: column with the UTC time of the row; '' where rows have none.
        slices: columns for results per group.
        holdout: the natural split; after `preprocess`, the one that was made.
        source: where the rows came from, without credentials.
        as_of: the date asked for; '' for everything.
        newest: ISO 8601 time of the newest row; '' where rows have no time.
        sha256: digest of the raw rows, see `identity.content_sha256`.
        taken: what each column that came was taken for, in words.
    """

    dataset: str
    task: Task
    target: str
    columns: Mapping[str, Column]
    features: tuple[str, ...]
    left_out: Mapping[str, str] = field(default_factory=dict)
    identity: tuple[str, ...] = ()
    time: str = ""
    slices: tuple[str, ...] = ()
    holdout: Holdout = field(default_factory=Holdout)
    source: str = ""
    as_of: str = ""
    newest: str = ""
    sha256: str = ""
    taken: Mapping[str, str] = field(default_factory=dict)

    @property
    def split_by(self) -> str:
        """The column with the time by which the rows are split; '' where by their identity."""
        return self.time if self.holdout.policy == "newest" else ""

    def write(self, folder: Path) -> None:
        """Write the facts into `folder`."""
        write_json(asdict(self), folder / FACTS_FILE)

    @classmethod
    def read(cls, folder: Path) -> "Facts":
        """Return the facts that lie in `folder`.

        Raises:
            DataError: if the folder is not what the step before logged.
        """
        content = read_json(folder, FACTS_FILE)
        columns = {name: _column(value) for name, value in content.pop("columns").items()}
        for name in ("features", "identity", "slices"):
            content[name] = tuple(content[name])
        holdout = Holdout(**content.pop("holdout"))
        return cls(columns=columns, holdout=holdout, **content)


def write_rows(rows: "pd.DataFrame", path: Path) -> None:
    """Write rows as Parquet; numbers as they lie, as they seldom repeat so often that it pays."""
    texts = [str(name) for name, kind in rows.dtypes.items() if kind.kind == "O"]
    rows.to_parquet(path, index=False, use_dictionary=texts)


def _column(value: dict[str, Any]) -> Column:
    return Column(**{**value, "choices": tuple(value["choices"])})
