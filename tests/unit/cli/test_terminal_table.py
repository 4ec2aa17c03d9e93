"""The demo's table."""

import io
import sys
from contextlib import redirect_stdout

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
