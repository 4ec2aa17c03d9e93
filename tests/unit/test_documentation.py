"""What the documentation prints: its commands are understood as they stand, its links lead there.

The tutorials are run whole by tests/integration/test_tutorials.py and its neighbour.
"""

from __future__ import annotations

import ast
import os
import re
import shlex
from collections.abc import Iterator
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from docs.reference.generate import PAGES as REFERENCE
from tests.fixtures.machine import CHECKOUT

import understudy
from understudy.cli.main import parsed

_BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\((?!https?://|mailto:)([^)#\s]*)(?:#([^)\s]+))?\)")
_HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)
_LONGEST = 200
"""Lines of a page; a reference may have more."""
_MOST_WORDS = 45
"""Of a sentence; a piece of code and the address of a link count as one word."""
_BLOCKS = re.compile(r"\n\s*\n|\n(?=\s*(?:[*-]|\d+\.)\s)|\n(?=[#|>])|\s\|\s")
_SENTENCES = re.compile(r"(?<=[.!?])[)\"*]*\s+(?=[A-Z*`\[0-9\"(])")
_SECTION = re.compile(r"^## \[(.+)\] - (.+)$", re.MULTILINE)
_TARGET = re.compile(r"^([a-z-]+):", re.MULTILINE)
PAGES = [CHECKOUT / "README.md", CHECKOUT / "CONTRIBUTING.md", *CHECKOUT.glob(".github/*.md")]
PAGES += [*sorted(CHECKOUT.glob("docs/**/*.md")), *sorted(CHECKOUT.glob("mlproject/*/README.md"))]


def commands(page: Path) -> Iterator[list[str]]:
    """Yield the words of each command of ours in a page's blocks of shell."""
    for block in _BLOCK.findall(page.read_text(encoding="utf-8")):
        for line in block.replace("\\\n", " ").splitlines():
            if line.startswith(("understudy ", "make ")):
                yield shlex.split(re.split(r"\s[#>|&]", line)[0])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(CHECKOUT)))
def test_commands_are_understood_as_printed(page: Path) -> None:
    """Each `understudy ...` by its parser; each `make ...` is a target."""
    targets = set(_TARGET.findall((CHECKOUT / "Makefile").read_text()))
    for words in commands(page):
        match words:
            case ["understudy", *given] if not {"--help", "--version"} & {*given}:
                assert callable(parsed(given).run), words
            case ["make", *given]:
                assert {word for word in given if "=" not in word} <= targets, words


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(CHECKOUT)))
def test_links_lead_to_files_and_headings_that_are_there(page: Path) -> None:
    """Also those of images; addresses elsewhere are not asked."""
    for link, anchor in _LINK.findall(_FENCED.sub("", page.read_text(encoding="utf-8"))):
        target = (page.parent / link) if link else page
        assert target.exists(), link
        if anchor and target.suffix == ".md":
            assert anchor in anchors(target.resolve()), f"{link}#{anchor}"


@cache
def anchors(page: Path) -> frozenset[str]:
    """Return what the headings of a page are called in addresses, here and at a Git host."""
    headings = _HEADING.findall(_FENCED.sub("", page.read_text(encoding="utf-8")))
    plain = [re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading.lower()) for heading in headings]
    return frozenset(re.sub(r"\s", "-", re.sub(r"[^\w\s-]", "", one).strip()) for one in plain)


def site_pages() -> dict[str, list[str]]:
    """Return the pages of the site by the kind that a reader looks for."""

    def below(entry: Any) -> Iterator[str]:  # noqa: ANN401 -- of YAML
        if isinstance(entry, str):
            yield entry
        for one in entry if isinstance(entry, list) else ():
            for value in one.values():
                yield from below(value)

    loaded = yaml.safe_load((CHECKOUT / "mkdocs.yml").read_text(encoding="utf-8"))
    return {kind: list(below(value)) for one in loaded["nav"] for kind, value in one.items()}


def test_every_page_has_its_place_in_the_site() -> None:
    """Under one of the kinds, once."""
    kinds = site_pages()
    assert list(kinds) == ["Understudy", "Tutorials", "How to", "Reference"]
    listed = sorted(page for pages in kinds.values() for page in pages)
    docs = [str(page.relative_to(CHECKOUT)) for page in PAGES]
    wanted = {*docs, "CHANGELOG.md"} - {one for one in docs if one.startswith(".github")}
    assert listed == sorted(wanted)


def test_a_release_is_one_number_with_a_date_and_notes() -> None:
    """Of the package, the citation and the newest section with a date; its notes say an upgrade."""
    sections = _SECTION.findall((CHECKOUT / "CHANGELOG.md").read_text(encoding="utf-8"))
    released = [number for number, day in sections if day != "Unreleased"]
    assert all(date.fromisoformat(day) for _, day in sections if day != "Unreleased")
    assert [day for _, day in sections[1:]].count("Unreleased") == 0
    cited = yaml.safe_load((CHECKOUT / "CITATION.cff").read_text(encoding="utf-8"))["version"]
    assert released[0] == understudy.__version__ == cited
    notes = {page.stem: page.read_text("utf-8") for page in CHECKOUT.glob("docs/releases/*.md")}
    assert sorted(notes) == sorted(released)
    assert all("\n## Upgrading\n" in text for text in notes.values())


def test_no_page_but_a_reference_is_long() -> None:
    """Who reads from top to bottom comes to an end."""
    kinds = site_pages()
    for page in (page for kind in kinds if kind != "Reference" for page in kinds[kind]):
        assert len((CHECKOUT / page).read_text(encoding="utf-8").splitlines()) <= _LONGEST, page


def sentences(text: str) -> Iterator[str]:
    """Yield the sentences of a page, list items and cells of tables among them, without code."""
    plain = re.sub(r"`[^`]*`", "`code`", _FENCED.sub("\n\n", text))
    for block in _BLOCKS.split(re.sub(r"\]\([^)]*\)", "]", plain)):
        yield from _SENTENCES.split(" ".join(block.split()))


def test_no_sentence_is_long() -> None:
    """Not even where it lists much: a reader keeps its beginning in mind."""
    long = [
        f"{page}: {sentence}"
        for page in PAGES
        if page.parent.name != "reference"
        for sentence in sentences(page.read_text(encoding="utf-8"))
        if len(sentence.split()) > _MOST_WORDS
    ]
    assert not long, "\n".join(long)


def test_sentences_are_told_apart() -> None:
    """A row of a table is several, a block of code none, a line end within one nothing."""
    text = "One [two](a b.md)\nthree. `Four five`.\n\n| six | Seven |\n\n```sh\nx\n```\n* Eight"
    assert [one for one in sentences(text) if one] == [
        *("One [two] three.", "`code`.", "| six", "Seven", "* Eight")
    ]


@pytest.mark.filterwarnings("ignore:Using `httpx`")
@pytest.mark.parametrize("name", REFERENCE)
def test_the_reference_is_what_the_code_says(name: str) -> None:
    """After a change of the code: make reference."""
    made = CHECKOUT / "docs" / "reference" / name
    assert made.read_text(encoding="utf-8") == REFERENCE[name](), "make reference writes it anew"


def test_every_tag_has_a_meaning_of_one_line() -> None:
    """The table of tags has no empty cell."""
    text = (CHECKOUT / "docs" / "reference" / "tags.md").read_text(encoding="utf-8")
    assert not re.search(r"\|\s*\|$", text, re.MULTILINE)


def test_messages_that_are_explained_are_messages_of_ours() -> None:
    """Word by word as the code has them, with its names for what is filled in."""
    said = "\n".join(messages())
    page = (CHECKOUT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
    explained = re.findall(r"^\| `([^`]+)` \|", page, re.MULTILINE)
    assert len(explained) > 25
    assert not [message for message in explained if message not in said]


def messages() -> Iterator[str]:
    """Yield every text in the package and in the set-up's shell script."""
    package = CHECKOUT / "plugins" / "understudy"
    yield (package / "devstack" / "setup.sh").read_text(encoding="utf-8")
    for folder, _, names in os.walk(package):
        for name in names:
            if name.endswith(".py"):
                source = Path(folder, name).read_text(encoding="utf-8")
                yield from texts(ast.parse(source))


def texts(tree: ast.AST) -> Iterator[str]:
    """Yield the texts of a module, joined as Python joins them."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
        if isinstance(node, ast.JoinedStr):
            yield "".join(
                str(part.value) if isinstance(part, ast.Constant) else f"{{{shown(part)}}}"
                for part in node.values
            )


def shown(part: ast.expr) -> str:
    """Return what stands between the braces of an f-string."""
    assert isinstance(part, ast.FormattedValue)
    how = "" if part.conversion < 0 else f"!{chr(part.conversion)}"
    return ast.unparse(part.value) + how
