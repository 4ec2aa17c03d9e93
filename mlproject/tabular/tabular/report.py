"""Writes the schema report: which rows were rejected and why, as JSON and as a page for people.

Touches the files it is asked to write.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shared.json_files import write_json
from shared.pages import MOST_LISTED, page
from tabular.facts import Facts
from tabular.schema import Checked


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


def write_columns(facts: Facts, statistics: Mapping[str, Any], folder: Path) -> None:
    """Write columns.html into `folder`: what each column that came was taken for.

    Args:
        facts: the table's facts.
        statistics: of the target and the features, see `statistics.describe_columns`.
        folder: where to write.
    """
    rows = [
        {
            "column": name,
            "taken for": facts.taken.get(name, ""),
            "is": facts.left_out.get(name) or ("target" if name == facts.target else "feature"),
            "missing": statistics.get(name, {}).get("missing", ""),
        }
        for name in dict.fromkeys((*facts.taken, *facts.left_out))
    ]
    summary = f"{len(facts.features):,} features of {len(rows):,} columns."
    whole = page(f"Columns: {facts.dataset}", summary, {"What came": rows})
    (folder / "columns.html").write_text(whole, encoding="utf-8")
