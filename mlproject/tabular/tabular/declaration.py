"""The words in which a data set is declared: where it comes from, its columns, its target.

A declaration is frozen data. `facts.py` turns it, with the user's parameters and the columns that
really came, into the facts that travel with the data. Touches nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from shared.replay import REPLAY, Replay

Task = Literal["regression", "classification"]
Kind = Literal["number", "text"]


@dataclass(frozen=True)
class Column:
    """What the values of one column may be; rows with other values are rejected and reported.

    Attributes:
        kind: "number" or "text".
        minimum, maximum: inclusive bounds in the column's own unit; None means unbounded.
        choices: the only texts that may occur; empty means any.
        nullable: whether a value may be missing (the model then imputes it).
    """

    kind: Kind = "number"
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] = ()
    nullable: bool = False


@dataclass(frozen=True)
class Bundled:
    """A data set that scikit-learn ships: no network.

    Attributes:
        loader: name of the function in `sklearn.datasets`.
        arguments: its keyword arguments, beside `as_frame=True`.
        class_names: whether the target's numbers are replaced by the class names of the set.
        replay: when its rows arrive.
    """

    loader: str
    arguments: Mapping[str, bool] = field(default_factory=dict)
    class_names: bool = False
    replay: Replay = REPLAY


@dataclass(frozen=True)
class Remote:
    """A file at a public address whose content is pinned.

    Attributes:
        url: http or https address.
        sha256: lower-case hexadecimal digest of the file at that address.
        separator: between the fields of the CSV.
        member: name of the file inside the zip archive; '' where the file is no archive.
        member_sha256: digest of that member; lets a mirror hold the member or a repacked archive.
        adds: columns to add, name to the constant text they hold.
    """

    url: str
    sha256: str
    separator: str = ","
    member: str = ""
    member_sha256: str = ""
    adds: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class UserFile:
    """A file of the user's, given by the parameter `source` (path or URL).

    Attributes:
        format: "csv" or "parquet".
        described: whether target, identity, time column and task are parameters too. False means
            that the declaration knows them and only the address is the user's.
    """

    format: Literal["csv", "parquet"] = "csv"
    described: bool = False


@dataclass(frozen=True)
class TimeColumn:
    """Where the time of a row stands.

    Attributes:
        name: column that holds it, as a UTC time stamp, in what `download` writes.
        date: source column with the day (ISO 8601); '' means that `name` itself is in the source.
        hour: source column with the hour of the day, 0 to 23; '' means none.
    """

    name: str
    date: str = ""
    hour: str = ""


@dataclass(frozen=True)
class Holdout:
    """Which rows neither model may be trained on, unless the parameters say otherwise.

    Attributes:
        policy: "hash" (by the row's identity, for ever) or "newest" (the newest window).
        days: length of the newest window in days.
    """

    policy: Literal["hash", "newest"] = "hash"
    days: float = 0.0


@dataclass(frozen=True)
class DataSet:
    """One data set; the whole of what the project knows about it.

    Attributes:
        name: value of the parameter `dataset`.
        title: one line for people.
        source: where the rows come from; several remote files are stacked.
        target: column to predict; '' means that the user names it.
        task: what kind of prediction; "auto" lets the target's values decide.
        columns: what must be there and what it may hold. Empty means that the data decides.
        left_out: columns that are not features, name (or shell pattern) to the reason.
        identity: columns that identify a row; empty means all columns but the target.
        time: where the time of a row stands; None means that rows have no time.
        slices: columns to carry into `predictions.parquet` for results per group.
        holdout: the natural split.
        terms: licence and source, for people.
    """

    name: str
    title: str
    source: Bundled | tuple[Remote, ...] | UserFile
    target: str = ""
    task: Task | Literal["auto"] = "auto"
    columns: Mapping[str, Column] = field(default_factory=dict)
    left_out: Mapping[str, str] = field(default_factory=dict)
    identity: tuple[str, ...] = ()
    time: TimeColumn | None = None
    slices: tuple[str, ...] = ()
    holdout: Holdout = Holdout()
    terms: str = ""
