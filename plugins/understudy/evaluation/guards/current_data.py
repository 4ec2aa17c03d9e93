"""The current night's rows, opened, and what their columns are: what every guard reads."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal

from understudy.contract import HOLDOUT_FILE, TRAIN_FILE
from understudy.errors import DecisionError, nearest
from understudy.evaluation.guards.table import RowTable, ValueKind
from understudy.gate.evidence import Finding
from understudy.gate.verdict import CheckResult

TRAINING: Final = "training rows"
HOLDOUT: Final = "holdout rows"

Numbers = dict[str, float | str | None]


@dataclass(frozen=True, slots=True)
class CurrentData:
    """The two parts of a night's rows, and what their columns are.

    Attributes:
        train: What the challenger was trained on.
        holdout: What both models are compared on.
        roles: What is known of the columns; the time is named only where the rows have it.
    """

    train: RowTable
    holdout: RowTable
    roles: Roles

    @classmethod
    def open(cls, folder: Path, roles: Roles | None = None) -> CurrentData:
        """Open the rows that ``preprocess`` logged.

        Args:
            folder: With ``train.parquet`` and ``holdout.parquet``.
            roles: What the columns are; None for what the folder says itself.

        Raises:
            DecisionError: when they are not there, are no Parquet files, or lack the target.
        """
        known = Roles.of(folder) if roles is None else roles
        for name in (TRAIN_FILE, HOLDOUT_FILE):
            if not (folder / name).is_file():
                there = some(sorted(path.name for path in folder.glob("*"))) or "nothing"
                raise DecisionError(
                    f"There is no {name} among the data of this night, which are {there}",
                    allowed=f"{TRAIN_FILE} and {HOLDOUT_FILE}, as the step preprocess logs them",
                    action="log them, or turn the guards off",
                )
        train = RowTable(folder / TRAIN_FILE, known.row_id)
        holdout = RowTable(folder / HOLDOUT_FILE, known.row_id)
        if known.target and known.target not in train.kinds:
            hint = nearest(known.target, train.kinds)
            raise DecisionError(
                f"The rows in {folder.name} have no target {known.target!r}{hint}",
                allowed=some([repr(name) for name in train.content], 20),
                action="correct what the step preprocess logs",
            )
        timed = train.kinds.get(known.time) is ValueKind.TIME
        return cls(train, holdout, known if timed else replace(known, time=""))

    @property
    def parts(self) -> tuple[tuple[str, RowTable], ...]:
        """Both parts with what they are called."""
        return (TRAINING, self.train), (HOLDOUT, self.holdout)

    @property
    def features(self) -> tuple[str, ...]:
        """The columns that a model takes, as far as the training rows have them."""
        known, roles = self.train.content, self.roles
        if roles.features:
            return tuple(name for name in roles.features if name in known)
        return tuple(name for name in known if name not in {roles.target, roles.time})


def made(
    guard: str, level: str, problems: str, fine: str, numbers: Numbers | None = None
) -> Finding:
    """Return a finding that failed where there are problems, one that passed where there are none.

    Args:
        guard: Its name.
        level: What it is declared to do.
        problems: A sentence about them; '' for none.
        fine: The sentence to say otherwise.
        numbers: What it saw.
    """
    result = CheckResult.FAILED if problems else CheckResult.PASSED
    return Finding(guard, level, result.value, problems or fine, numbers or {})


def unchecked(guard: str, level: str, why: str) -> Finding:
    """Return a finding that nothing could be found."""
    return Finding(guard, level, CheckResult.UNDECIDED.value, f"not checked: {why}", {})


def some(items: Iterator[str] | list[str], most: int = 5) -> str:
    """Return the first of several items for a sentence, and how many more there are."""
    shown = list(items)
    more = f" and {len(shown) - most} more" if len(shown) > most else ""
    return ", ".join(shown[:most]) + more


FACTS: Final = "dataset.json"
"""Where a project says what its columns are: an object with ``target``, and, as far as it knows,
``features`` (names), ``time`` and ``task``. Every field may be missing, and so may the file."""
ROW_ID: Final = "row_id"

Task = Literal["regression", "classification", ""]
_TASKS: Final[dict[str, Task]] = {
    "regression": "regression",
    "classification": "classification",
}


@dataclass(frozen=True, slots=True)
class Roles:
    """What is known of a table's columns.

    Attributes:
        target: Column to predict; '' where it is not known.
        features: Columns that a model takes; empty for all but target, name and time.
        time: Column with a row's time; '' where rows have none.
        task: What kind of prediction; '' where the target's values have to tell.
        row_id: Column that names a row.
    """

    target: str = ""
    features: tuple[str, ...] = ()
    time: str = ""
    task: Task = ""
    row_id: str = ROW_ID

    @classmethod
    def of(cls, folder: Path) -> Roles:
        """Return the roles of a folder's columns, as far as it has a file with them.

        Raises:
            DecisionError: when that file holds no JSON object, or values of other types.
        """
        path = folder / FACTS
        if not path.is_file():
            return cls()
        try:
            facts = json.loads(path.read_text(encoding="utf-8"))
            return cls(
                target=_text(facts, "target"),
                features=tuple(map(str, facts.get("features") or ())),
                time=_text(facts, "time"),
                # A task of another name is none that we know: the target's values decide.
                task=_TASKS.get(_text(facts, "task"), ""),
            )
        except (ValueError, AttributeError, TypeError) as error:
            raise DecisionError(
                f"{FACTS} does not say what the columns are: {error}",
                allowed="a JSON object with target, features, time and task, as far as known",
                action="look at what the step preprocess logged",
            ) from error


def _text(facts: Mapping[str, Any], name: str) -> str:
    value = facts.get(name) or ""
    if not isinstance(value, str):
        raise TypeError(f"{name} is {value!r}, no text")
    return value
