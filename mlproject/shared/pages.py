"""A page of tables and pictures for people, in one file. Touches nothing.

Nothing from data reaches it unescaped.
"""

import base64
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
img {{ display: block; max-width: 100%; margin: 1rem 0 }}
.wide {{ overflow-x: auto }}
td, th {{ border: 1px solid #ccc; padding: .2rem .6rem; text-align: left; vertical-align: top }}
</style>
<h1>{title}</h1>
<p>{summary}</p>
{pictures}
{tables}
</html>
"""


def page(
    title: str,
    summary: str,
    tables: Mapping[str, Rows],
    pictures: Mapping[str, bytes] | None = None,
) -> str:
    """Return the page, which needs no other file.

    Args:
        title: of the page.
        summary: one sentence, as text.
        tables: rows by the table's title; the first row has the names of all columns.
        pictures: PNG files by what they show; they stand above the tables.
    """
    drawn = "\n".join(_picture(what, content) for what, content in (pictures or {}).items())
    return _PAGE.format(
        title=html.escape(title),
        summary=html.escape(summary),
        pictures=drawn,
        tables="\n".join(_table(name, rows) for name, rows in tables.items()),
    )


def _picture(what: str, content: bytes) -> str:
    data = base64.b64encode(content).decode("ascii")
    text = html.escape(what)
    return f'<h2>{text}</h2><img alt="{text}" src="data:image/png;base64,{data}">'


def _table(title: str, rows: Rows) -> str:
    if not rows:
        return f"<h2>{html.escape(title)}</h2><p>None.</p>"
    head = "".join(f"<th>{html.escape(str(name))}</th>" for name in rows[0])
    body = "".join(
        "<tr>" + "".join(f"<td>{html.escape(str(cell))}</td>" for cell in row.values()) + "</tr>"
        for row in rows
    )
    table = f"<table><tr>{head}</tr>{body}</table>"
    return f'<h2>{html.escape(title)}</h2><div class="wide">{table}</div>'
