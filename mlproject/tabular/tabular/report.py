"""Writes the schema report: which rows were rejected and why, as JSON and as a page for people.

Touches the files it is asked to write.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from shared.errors import short
from shared.json_files import write_json
from shared.pages import MOST_LISTED, page
from tabular.facts import Facts
from tabular.schema import Checked

_MOST_SHOWN = 5
"""Of the values of a text column on the page; statistics.json has more."""
_LONGEST_SHOWN = 40  # characters of such a value
_QUANTILES = {"0": "least", "0.5": "median", "1": "most"}


@dataclass(frozen=True)
class Report:
    """What the check of one table found.

    Attributes:
        facts: the table's facts.
        rows: how many rows and malformed lines came.
        malformed: lines that could not become rows: line, reason, text.
        checked: the result of the schema check.
    """

    facts: Facts
    rows: int
    malformed: list[dict[str, Any]]
    checked: Checked

    @property
    def rejected(self) -> int:
        """Rows and lines that are not used."""
        return self.checked.rejected + len(self.malformed)

    @property
    def share(self) -> float:
        """Share of the rows that are not used, 0 to 1."""
        return self.rejected / self.rows if self.rows else 0.0

    def counts(self) -> list[dict[str, Any]]:
        """Return the faults by column and rule, the most frequent first."""
        failures = self.checked.failures
        if failures.empty:
            return []
        grouped = Counter(zip(failures["column"], failures["rule"], strict=True))
        return [
            {"column": column, "rule": rule, "rows": number}
            for (column, rule), number in grouped.most_common()
        ]

    def worst(self) -> str:
        """Return the most frequent fault in words; '' if there is none."""
        counts = self.counts()
        if counts:
            return f"'{counts[0]['column']}' {counts[0]['rule']} fails in {counts[0]['rows']} rows"
        return f"{len(self.malformed)} malformed lines" if self.malformed else ""

    def content(self) -> dict[str, Any]:
        """Return the report as plain data."""
        listed = self.checked.failures.head(MOST_LISTED).to_dict("records")
        return {
            "dataset": self.facts.dataset,
            "rows": self.rows,
            "rejected": self.rejected,
            "share": self.share,
            "faults": self.counts(),
            "broken_rules": list(self.checked.broken),
            "malformed": self.malformed[:MOST_LISTED],
            "rejected_rows": [{**fault, "value": str(fault["value"])[:200]} for fault in listed],
            "left_out": dict(self.facts.left_out),
        }

    def write(self, folder: Path) -> None:
        """Write schema_report.json and schema_report.html into `folder`."""
        content = self.content()
        write_json(content, folder / "schema_report.json")
        title = f"Schema report: {self.facts.dataset}"
        summary = f"{self.rejected:,} of {self.rows:,} rows rejected ({self.share:.2%})."
        tables = {
            "Rules that the table breaks": [{"rule": rule} for rule in self.checked.broken],
            "Faults by column and rule": content["faults"],
            f"Rejected rows (the first {MOST_LISTED})": content["rejected_rows"],
            f"Malformed lines (the first {MOST_LISTED})": content["malformed"],
            "Columns that are no features": [
                {"column": name, "why": why} for name, why in self.facts.left_out.items()
            ],
        }
        whole = page(title, summary, tables)
        (folder / "schema_report.html").write_text(whole, encoding="utf-8")


def write_data(
    report: Report, looked: Mapping[str, Any], drawn: Mapping[str, str], folder: Path
) -> None:
    """Write data.html: what a person looks at before modelling, pictures included, in one file.

    Args:
        report: what the check of the rows found.
        looked: what `explore` logs as statistics.json.
        drawn: the names of the pictures in `folder`, and what each shows.
        folder: where to write.
    """
    facts = report.facts
    names = dict.fromkeys((*looked["columns"], *facts.taken, *facts.left_out))
    related = looked["correlation_with_target"]
    tables = {
        "Columns": [_column(name, facts, looked["columns"].get(name, {})) for name in names],
        "Correlation of numbers with the target (Pearson)": [
            {"column": name, "correlation": f"{related[name]:.3f}"}
            for name in sorted(related, key=lambda name: -abs(related[name]))
        ],
        "Rows that fail the schema, by column and rule": report.counts(),
    }
    summary = (
        f"{looked['rows']:,} rows with {len(facts.features):,} features of {len(names):,} columns; "
        f"{report.rejected:,} rows more fail the schema. Predicted is '{facts.target}' "
        f"({facts.task}). From {facts.source}."
    )
    pictures = {what: (folder / name).read_bytes() for name, what in drawn.items()}
    whole = page(f"Data: {facts.dataset}", summary, tables, pictures)
    (folder / "data.html").write_text(whole, encoding="utf-8")


def _column(name: str, facts: Facts, statistics: Mapping[str, Any]) -> dict[str, object]:
    """Return a row of the table of columns; columns that are no features have no statistics."""
    quantiles = statistics.get("quantiles", {})
    common = islice(statistics.get("most_frequent", {}).items(), _MOST_SHOWN)
    shown = (f"{short(level, _LONGEST_SHOWN)} ({rows:,})" for level, rows in common)
    return {
        "column": name,
        "taken for": facts.taken.get(name, ""),
        "is": facts.left_out.get(name) or ("target" if name == facts.target else "feature"),
        "missing": statistics.get("missing", ""),
        "mean": _number(statistics.get("mean")),
        **{title: _number(quantiles.get(of)) for of, title in _QUANTILES.items()},
        "most frequent": ", ".join(shown),
    }


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"
