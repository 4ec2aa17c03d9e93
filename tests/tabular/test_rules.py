"""Rules of the user's own, in pandera's words: what breaks them, and what is no rule."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pandas as pd
import pytest

from shared.errors import ParameterError
from tabular import rules as rules_of_ones_own
from tabular.facts import Facts
from tabular.report import Report
from tabular.rules import broken, brought, read
from tabular.schema import check

pytestmark = pytest.mark.unit

ROWS = pd.DataFrame(
    {
        "alcohol": [9.0, 12.0, None, 40.0],
        "number": [1, 2, 2, 3],
        "colour": pd.Series(["red", "red", "blue", None], dtype="str"),
    }
)
COLUMNS = list(ROWS.columns)


def faults(rules: str) -> tuple[set[tuple[int, str, str]], list[str]]:
    """Return the rows' faults and the table's."""
    found, whole = broken(ROWS, read(rules))
    return set(found[["row", "column", "rule"]].itertuples(index=False, name=None)), whole


@pytest.mark.parametrize(
    ("rules", "rows"),
    [
        (
            "columns: {alcohol: {nullable: true, checks: {less_than: 20}}}",
            {(3, "alcohol", "less_than(20)")},
        ),
        ("columns: {alcohol: {dtype: float64}}", {(2, "alcohol", "not_nullable")}),
        (
            "columns: {number: {dtype: int64, unique: true, report_duplicates: exclude_first}}",
            {(2, "number", "field_uniqueness")},
        ),
        (
            "columns: {colour: {dtype: str, nullable: true, checks: {isin: [red]}}}",
            {(2, "colour", "isin(['red'])")},
        ),
        ("columns: {colour: {dtype: object, nullable: true}}", set()),
        (
            "{columns: {number: {}}, unique: [number]}",
            {(row, "number", "multiple_fields_uniqueness") for row in (1, 2)},
        ),
        ("columns: {sugar: {required: false}}", set()),
    ],
)
def test_rules_of_rows(rules: str, rows: set[tuple[int, str, str]]) -> None:
    """Ranges, what may be missing, uniqueness, choices: each fault names its row."""
    assert faults(rules) == (rows, [])


@pytest.mark.parametrize(
    ("rules", "words"),
    [
        ("columns: {number: {dtype: float64}}", "number: dtype('float64') fails: int64"),
        (
            "columns: {alcohol: {missing_at_most: 0.2}}",
            "'alcohol' has 25.0% missing values, more than missing_at_most 0.2",
        ),
    ],
)
def test_rules_of_the_table(rules: str, words: str) -> None:
    """Types and the share that is missing are of no row."""
    assert faults(rules) == (set(), [words])
    assert faults("columns: {alcohol: {missing_at_most: 0.25}}") == (set(), [])


def test_the_rules_that_the_page_shows(tmp_path: Path) -> None:
    """For the red wines as they are published: two of them break a rule, and a wrong one each."""
    page = Path(rules_of_ones_own.__file__).parents[1] / "README.md"
    (shown,) = re.findall(r"```yaml\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    wines = pd.DataFrame(
        {
            "alcohol": [9.4, 9.8, None, 21.0],
            "quality": [5, 9, 6, 6],
            "pH": [3.51, 3.2, 3.26, 3.16],
            "total sulfur dioxide": [34.0, 67.0, 54.0, 289.0],
        }
    )
    assert brought(shown, wines.columns, tmp_path) == shown
    found, whole = broken(wines, read(shown))
    assert list(found[["row", "column"]].itertuples(index=False, name=None)) == [
        (3, "alcohol"),
        (1, "quality"),
        (3, "total sulfur dioxide"),
    ]
    assert whole == []


def test_rules_come_as_a_file_or_in_the_parameter(tmp_path: Path) -> None:
    """YAML in a file, JSON in the parameter; none is none."""
    text = "columns: {number: {unique: true}}"
    (tmp_path / "rules.yaml").write_text(text)
    assert brought(str(tmp_path / "rules.yaml"), COLUMNS, tmp_path) == text
    text = json.dumps({"columns": {"number": {"unique": True}}})
    assert brought(text, COLUMNS, tmp_path) == text
    assert brought("", COLUMNS, tmp_path) == ""


@pytest.mark.parametrize(
    ("rules", "words"),
    [
        ('{"columns": {"alcohl": {}}}', "the column 'alcohl' (did you mean 'alcohol'?), which"),
        ('{"columns": {"alcohol": {"checks": {"at_least": 3}}}}', "no attribute 'at_least'"),
        ('{"columns": {"alcohol": {"coerce": true}}}', "coerce of alcohol, which would change"),
        ('{"columns": {"alcohol": {"dtype": "flaot"}}}', "data type 'flaot' not understood"),
        ('{"rows": {}}', "rules cannot be read: KeyError: 'columns'. Allowed: a schema of pandera"),
        ('{"columns": ', "rules cannot be read: ParserError"),
        ("/nowhere/rules.yaml", "no file or folder /nowhere/rules.yaml"),
    ],
)
def test_what_is_no_rule_ends_download(rules: str, words: str, tmp_path: Path) -> None:
    """Before anything is logged, with the name that was meant."""
    with pytest.raises(ParameterError, match=re.escape(words)):
        brought(rules, COLUMNS, tmp_path)


def test_the_report_shows_them(tmp_path: Path) -> None:
    """Rejected rows like any other, and what the table breaks."""
    facts = Facts("demo", "regression", "number", {}, ("alcohol",))
    rules = read("columns: {number: {dtype: float64, unique: true}}")
    checked = check(ROWS, facts, rules)
    assert (checked.rejected, len(checked.rows)) == (2, 2)
    Report(facts, 4, [], checked).write(tmp_path)
    page = (tmp_path / "schema_report.html").read_text()
    assert "field_uniqueness" in page
    assert "number: dtype(&#x27;float64&#x27;) fails: int64" in page
    assert json.loads((tmp_path / "schema_report.json").read_text())["broken_rules"]
