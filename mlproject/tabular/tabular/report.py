"""Writes the schema report: which rows were rejected and why, as JSON and as a page for people.

Nothing that comes from data reaches the page unescaped. Touches the two files it is asked to write.
"""

import html
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tabular.facts import Facts
from tabular.schema import Checked

MOST_LISTED = 1000
"""Faults that are listed one by one; all are counted."""

_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>{title}</title>
<style>
body {{ font: 15px/1.5 system-ui, sans-serif; max-width: 60rem;
  margin: 2rem auto; padding: 0 1rem }}
table {{ border-collapse: collapse; margin: 1rem 0 }}
td, th {{ border: 1px solid #ccc; padding: .2rem .6rem; text-align: left; vertical-align: top }}
td.n {{ text-align: right }}
</style>
<h1>{title}</h1>
<p>{summary}</p>
{tables}
</html>
"""


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
            "malformed": self.malformed[:MOST_LISTED],
            "rejected_rows": [{**fault, "value": _plain(fault["value"])} for fault in listed],
            "left_out": dict(self.facts.left_out),
        }

    def write(self, folder: Path) -> None:
        """Write schema_report.json and schema_report.html into `folder`."""
        content = self.content()
        text = json.dumps(content, indent=2, ensure_ascii=False)
        (folder / "schema_report.json").write_text(text + "\n", encoding="utf-8")
        (folder / "schema_report.html").write_text(_page(content), encoding="utf-8")


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
    title = f"Columns: {html.escape(facts.dataset)}"
    summary = f"{len(facts.features):,} features of {len(rows):,} columns."
    page = _PAGE.format(title=title, summary=summary, tables=_table("What came", rows))
    (folder / "columns.html").write_text(page, encoding="utf-8")


def _plain(value: object) -> str:
    return str(value)[:200]


def _page(content: Mapping[str, Any]) -> str:
    title = f"Schema report: {html.escape(content['dataset'])}"
    summary = (
        f"{content['rejected']:,} of {content['rows']:,} rows rejected ({content['share']:.2%})."
    )
    left_out = [{"column": name, "why": why} for name, why in content["left_out"].items()]
    tables = (
        _table("Faults by column and rule", content["faults"]),
        _table(f"Rejected rows (the first {MOST_LISTED})", content["rejected_rows"]),
        _table(f"Malformed lines (the first {MOST_LISTED})", content["malformed"]),
        _table("Columns that are no features", left_out),
    )
    return _PAGE.format(title=title, summary=summary, tables="\n".join(tables))


def _table(title: str, rows: list[dict[str, Any]]) -> str:
    if not rows:
        return f"<h2>{html.escape(title)}</h2><p>None.</p>"
    head = "".join(f"<th>{html.escape(str(name))}</th>" for name in rows[0])
    body = "".join(
        "<tr>" + "".join(f"<td>{html.escape(str(cell))}</td>" for cell in row.values()) + "</tr>"
        for row in rows
    )
    return f"<h2>{html.escape(title)}</h2><table><tr>{head}</tr>{body}</table>"
