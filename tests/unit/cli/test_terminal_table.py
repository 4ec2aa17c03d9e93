"""The demo's table."""

from understudy.cli.terminal import render


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
