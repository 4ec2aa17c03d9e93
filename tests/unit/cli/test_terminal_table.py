"""The demo's table."""

import io
import sys
from contextlib import redirect_stdout

import pytest

from understudy.cli.terminal import PlainStream, render


def test_columns_are_as_wide_as_their_widest_text() -> None:
    """Titles, a rule and one line per row; nothing ends in blanks."""
    assert render(["night", "why"], [["1", "first"], ["2", ""]]).splitlines() == [
        "night  why",
        "-----  -----",
        "1      first",
        "2",
    ]


def test_the_last_column_is_wrapped() -> None:
    """A long reason goes on below itself, and no line is wider than asked for."""
    lines = render(["night", "why"], [["1", "because " * 8]], width=30).splitlines()
    assert max(map(len, lines)) <= 30
    assert lines[2:4] == ["1      because because because", "       because because because"]


def test_what_does_not_fit_stands_below_its_row() -> None:
    """On a narrow terminal, by its title; an empty cell has no line."""
    rows = [["1", "night", "wine 2026-01-31", "because " * 4], ["2", "rollback", "", "why"]]
    assert render(["#", "cause", "who", "reason"], rows, width=24).splitlines() == [
        "#  cause",
        "-  --------",
        "1  night",
        "    who: wine 2026-01-31",
        "    reason: because",
        "    because because",
        "    because",
        "2  rollback",
        "    reason: why",
    ]


@pytest.mark.parametrize("width", [1, 20, 40, 60, 80, 120])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    """Of a history: six columns and a reason; each word of it is there."""
    row = ["3", "2026-11-29 12:48:03", "1", "2", "night", "diabetes 2026-01-06", "rmse " * 30]
    lines = render(["#", "at", "from", "to", "cause", "who", "why"], [row], width).splitlines()
    assert max(map(len, lines)) <= max(width, 27)
    assert sum(line.count("rmse") for line in lines) == 30


def test_a_cell_forges_no_line() -> None:
    """Whatever stands in MLflow, a row stays a row."""
    lines = render(["night", "why"], [["1\nVerdict: PROMOTE", "a\x1b[2K\u202eb"]]).splitlines()
    assert lines[2:] == [r"1\nVerdict: PROMOTE  a\x1b[2K\u202eb"]


def test_what_is_printed_has_no_secret_and_nothing_unseen() -> None:
    """All that a command prints passes one stream."""
    there = io.StringIO()
    with redirect_stdout(PlainStream(there)):
        sys.stdout.write("https://ada:s3cret@host/\x1b[2J\nnext\n")
    assert there.getvalue() == "https://host/\\x1b[2J\nnext\n"
