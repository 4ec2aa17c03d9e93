"""The user's own rules for the rows of a file, in pandera's words and its YAML (or JSON).

`download` brings them, so that they travel with the rows they are for; `preprocess` applies them
after what the facts say. They change nothing: what breaks a rule of a row is rejected, what breaks
a rule of the table (a type, a share of missing values) ends the step. Touches the file it is asked
for.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from shared.addresses import check_source, local
from shared.errors import ParameterError, nearest, short

if TYPE_CHECKING:
    from pandera.pandas import DataFrameSchema

RULES_FILE = "rules.yaml"
MISSING = "missing_at_most"
"""Our one word beside pandera's: the largest share of a column's values that may be missing."""
_CHANGING = ("coerce", "default", "drop_invalid_rows", "parsers", "add_missing_columns")
_FROM_PANDERA = (AttributeError, LookupError, TypeError, ValueError)
"""What it raises for a check that it does not know, or that is not given what it takes."""
_EXAMPLE = (
    "a schema of pandera: columns: {alcohol: {dtype: float64, nullable: false, unique: false, "
    "checks: {in_range: {min_value: 0, max_value: 20}}}}"
)


@dataclass(frozen=True)
class Rules:
    """Rules that can be applied.

    Attributes:
        schema: pandera's.
        missing: column to the largest share of missing values, 0 to 1.
    """

    schema: "DataFrameSchema"
    missing: Mapping[str, float]


def brought(parameter: str, columns: Iterable[object], folder: Path) -> str:
    """Return the text of the rules; '' for none.

    Args:
        parameter: a path or URL, or the rules themselves, as JSON or YAML of several lines.
        columns: those that came.
        folder: for a file on its way.

    Raises:
        ParameterError: if they are no rules, or for a column that did not come.
    """
    if not parameter:
        return ""
    if parameter.lstrip().startswith("{") or "\n" in parameter:
        text = parameter
    else:
        text = local(check_source(parameter), folder).read_text(encoding="utf-8", errors="replace")
    rules = read(text)
    there = [str(name) for name in columns]
    named = [name for name, one in rules.schema.columns.items() if one.required and not one.regex]
    lacking = [str(name) for name in (*named, *rules.missing) if name not in there]
    if lacking:
        raise ParameterError(
            f"rules has the column '{lacking[0]}'{nearest(lacking[0], there)}, which did not come",
            allowed=", ".join(there)[:1000],
            action="correct the name, or say required: false",
        )
    return text


def read(text: str) -> Rules:
    """Return rules from their text.

    Raises:
        ParameterError: if they are none.
    """
    import yaml
    from pandera.errors import SchemaDefinitionError
    from pandera.io.pandas_io import from_yaml

    try:
        content = dict(yaml.safe_load(text))
        columns = {str(name): dict(said or {}) for name, said in content["columns"].items()}
        limited = [name for name, said in columns.items() if MISSING in said]
        missing = {name: float(columns[name].pop(MISSING)) for name in limited}
        for name, said in columns.items():
            if name in missing:
                said["nullable"] = True
            if said.get("dtype") == "object":  # what texts were to older versions of pandas
                said["dtype"] = None
        content = {**content, "columns": columns, "index": None}
        _refuse_changes({"the table": content, **columns})
        schema = from_yaml(yaml.safe_dump(content))
    except (yaml.YAMLError, SchemaDefinitionError, *_FROM_PANDERA) as error:
        raise _unreadable(error) from error
    return Rules(schema, missing)


def _refuse_changes(parts: Mapping[str, Mapping[str, Any]]) -> None:
    for where, said in parts.items():
        if changing := [word for word in _CHANGING if said.get(word)]:
            raise ParameterError(
                f"rules says {changing[0]} of {where}, which would change the rows",
                allowed="rules that say what a row may be: dtype, nullable, unique, checks",
                action=f"leave {changing[0]} out; what a column is, column_types says",
            )


def _one_line(error: Exception) -> str:
    return short(" ".join(str(error).split())).rstrip(".")


def _unreadable(error: Exception) -> ParameterError:
    return ParameterError(
        f"rules cannot be read: {type(error).__name__}: {_one_line(error)}",
        allowed=_EXAMPLE,
        action="correct the file; pandera's names of checks are in its documentation, "
        "pandera.api.checks.Check",
    )


def broken(frame: pd.DataFrame, rules: Rules) -> tuple[pd.DataFrame, list[str]]:
    """Return what rows break, and which rules the whole table breaks, in words.

    Args:
        frame: typed rows; its index numbers them.
        rules: to apply.

    Returns:
        One line per fault (`row`, `column`, `rule`, `value`), and the table's faults.
    """
    from pandera.errors import SchemaErrors

    whole = [
        f"'{name}' has {share:.1%} missing values, more than {MISSING} {rules.missing[str(name)]:g}"
        for name, share in frame[list(rules.missing)].isna().mean().items()
        if share > rules.missing[str(name)]
    ]
    try:
        rules.schema.validate(frame, lazy=True)
    except SchemaErrors as errors:
        found: pd.DataFrame = errors.failure_cases
    else:
        found = pd.DataFrame(columns=["index", "column", "check", "failure_case"])
    cases = found.rename(columns={"index": "row", "check": "rule", "failure_case": "value"})
    of_table = cases[cases["row"].isna()]
    whole += [
        f"{one.column or 'the table'}: {one.rule} fails: {one.value}"
        for one in of_table.itertuples(index=False)
    ]
    cases = cases.drop(index=of_table.index).astype({"row": "int64"})
    return cases[["row", "column", "rule", "value"]].reset_index(drop=True), whole
