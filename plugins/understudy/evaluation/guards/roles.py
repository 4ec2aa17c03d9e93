"""What the columns of a night's rows are: target, features, time. Reads one small JSON file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from understudy.errors import DecisionError

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
