"""The JSON files that one step leaves for the next. Touches only the file it is asked for."""

import json
from pathlib import Path
from typing import Any

from shared.errors import DataError

FACTS_FILE, MALFORMED_FILE = "dataset.json", "malformed.json"


def write_json(content: object, path: Path) -> None:
    """Write plain data as JSON for people and programs."""
    text = json.dumps(content, indent=2, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8")


def read_json(folder: Path, name: str) -> Any:  # noqa: ANN401 - JSON has no type
    """Return the content of the JSON file `name` in `folder`.

    Raises:
        DataError: if there is no such file.
    """
    path = folder / name
    if not path.is_file():
        there = ", ".join(sorted(entry.name for entry in folder.glob("*"))) or "nothing"
        raise DataError(
            f"there is no '{name}' in the input folder; it holds {there}",
            allowed="the artifact folder that the step before logged",
            action="pass -P raw=runs:/<download run>/raw or -P data=runs:/<preprocess run>/data",
        )
    return json.loads(path.read_text(encoding="utf-8"))
