"""A page of tables for people; nothing from data reaches it unescaped. Touches nothing."""

import html
from collections.abc import Mapping, Sequence

MOST_LISTED = 1000
"""Faults that are listed one by one; all are counted."""

Rows = Sequence[Mapping[str, object]]

_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>{title}</title>
<style>
body {{ font: 15px/1.5 system-ui, sans-serif; max-width: 60rem;
  margin: 2rem auto; padding: 0 1rem }}
table {{ border-collapse: collapse; margin: 1rem 0 }}
td, th {{ border: 1px solid #ccc; padding: .2rem .6rem; text-align: left; vertical-align: top }}
</style>
<h1>{title}</h1>
<p>{summary}</p>
{tables}
</html>
"""


def page(title: str, summary: str, tables: Mapping[str, Rows]) -> str:
    """Return the page.

    Args:
        title: of the page.
        summary: one sentence, as text.
        tables: rows by the table's title; the first row has the names of all columns.
    """
    shown = "\n".join(_table(name, rows) for name, rows in tables.items())
    return _PAGE.format(title=html.escape(title), summary=html.escape(summary), tables=shown)


def _table(title: str, rows: Rows) -> str:
    if not rows:
        return f"<h2>{html.escape(title)}</h2><p>None.</p>"
    head = "".join(f"<th>{html.escape(str(name))}</th>" for name in rows[0])
    body = "".join(
        "<tr>" + "".join(f"<td>{html.escape(str(cell))}</td>" for cell in row.values()) + "</tr>"
        for row in rows
    )
    return f"<h2>{html.escape(title)}</h2><table><tr>{head}</tr>{body}</table>"
