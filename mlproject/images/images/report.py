"""Writes the report on the images that came: how many, of which class, and what was no image.

Nothing that comes from data reaches the page unescaped. Touches the two files it is asked to write.
"""

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from images.facts import Facts, write_json

MOST_LISTED = 1000
"""Malformed files that are listed one by one; all are counted."""

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


@dataclass(frozen=True)
class Report:
    """What came.

    Attributes:
        facts: of the images.
        malformed: files that became no image: name and reason.
    """

    facts: Facts
    malformed: Sequence[Mapping[str, str]]

    @property
    def came(self) -> int:
        """Images and files that became none."""
        return self.facts.images + len(self.malformed)

    @property
    def share(self) -> float:
        """Share of the files that became no image, 0 to 1."""
        return len(self.malformed) / self.came

    def worst(self) -> str:
        """Return the first fault in words; '' if there is none."""
        return f"{self.malformed[0]['name']}: {self.malformed[0]['reason']}" if self.share else ""

    def write(self, counts: Mapping[str, Mapping[str, int]], folder: Path) -> None:
        """Write schema_report.json and schema_report.html into `folder`.

        Args:
            counts: images of each part, by class.
            folder: where to.
        """
        content = {
            "dataset": self.facts.dataset,
            "images": self.facts.images,
            "form": self.facts.form,
            "rejected": len(self.malformed),
            "share": self.share,
            "classes": [
                {"class": name, **{part: count.get(name, 0) for part, count in counts.items()}}
                for name in self.facts.classes
            ],
            "malformed": list(self.malformed[:MOST_LISTED]),
        }
        write_json(content, folder / "schema_report.json")
        (folder / "schema_report.html").write_text(_page(content), encoding="utf-8")


def _page(content: Mapping[str, Any]) -> str:
    summary = (
        f"{content['images']:,} images, {content['form']}; {content['rejected']:,} files "
        f"({content['share']:.2%}) became none."
    )
    tables = (
        _table("Images by class", content["classes"]),
        _table(f"What became no image (the first {MOST_LISTED})", content["malformed"]),
    )
    title = f"Schema report: {html.escape(content['dataset'])}"
    return _PAGE.format(title=title, summary=summary, tables="\n".join(tables))


def _table(title: str, rows: Sequence[Mapping[str, object]]) -> str:
    if not rows:
        return f"<h2>{html.escape(title)}</h2><p>None.</p>"
    head = "".join(f"<th>{html.escape(str(name))}</th>" for name in rows[0])
    body = "".join(
        "<tr>" + "".join(f"<td>{html.escape(str(cell))}</td>" for cell in row.values()) + "</tr>"
        for row in rows
    )
    return f"<h2>{html.escape(title)}</h2><table><tr>{head}</tr>{body}</table>"
