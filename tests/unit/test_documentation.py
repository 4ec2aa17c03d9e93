"""What the documentation prints: its commands are understood as they stand, its links lead there.

The tutorials are run whole by tests/integration/test_tutorials.py.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.fixtures.machine import CHECKOUT

from understudy.cli.main import parsed

_BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\((?!https?://|#|mailto:)([^)#\s]+)[^)]*\)")
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
def test_links_lead_to_files_that_are_there(page: Path) -> None:
    """Also those of images; addresses elsewhere are not asked."""
    for link in _LINK.findall(_FENCED.sub("", page.read_text(encoding="utf-8"))):
        assert (page.parent / link).exists(), link
