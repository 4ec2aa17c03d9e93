"""Writes the report on the images that came: how many, of which class, and what was no image.

Touches the two files it is asked to write.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from images.facts import Facts
from shared.json_files import write_json
from shared.pages import MOST_LISTED, page


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
        classes = [
            {"class": name, **{part: count.get(name, 0) for part, count in counts.items()}}
            for name in self.facts.classes
        ]
        malformed = list(self.malformed[:MOST_LISTED])
        content = {
            "dataset": self.facts.dataset,
            "images": self.facts.images,
            "form": self.facts.form,
            "rejected": len(self.malformed),
            "share": self.share,
            "classes": classes,
            "malformed": malformed,
        }
        write_json(content, folder / "schema_report.json")
        summary = (
            f"{self.facts.images:,} images, {self.facts.form}; {len(self.malformed):,} files "
            f"({self.share:.2%}) became none."
        )
        what = f"What became no image (the first {MOST_LISTED})"
        tables = {"Images by class": classes, what: malformed}
        whole = page(f"Schema report: {self.facts.dataset}", summary, tables)
        (folder / "schema_report.html").write_text(whole, encoding="utf-8")
