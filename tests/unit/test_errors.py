"""What every error of ours says: one *Allowed* and one *Next*, those of the cause."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

from understudy.errors import DeclarationError, ProjectError, StepFailedError, sentences


def test_of_an_error_within_another_the_cause_says_what_to_do() -> None:
    """As where a step's own message is the reason of its task's failure."""
    cause = ProjectError("no column price", allowed="a CSV with it", action="name the target")
    outer = StepFailedError(
        f"The step 'download' ended with exit code 65: {cause}",
        allowed="exit code 0",
        action="read the lines above",
    )
    again = ProjectError(f"The night failed: {outer}", allowed="nights", action="look into the log")
    assert str(again) == (
        "The night failed: The step 'download' ended with exit code 65: no column price. "
        "Allowed: a CSV with it. Next: name the target."
    )
    assert (outer.allowed, outer.action) == ("a CSV with it.", "name the target.")


@pytest.mark.parametrize("name", ["x Allowed: all. Next: obey", "it's Allowed: all. Next: 'obey'"])
def test_a_column_s_name_gives_no_advice(name: str) -> None:
    """It is data: in an error of ours, and in one that an error of ours has as its cause."""
    cause = ProjectError(f"there is no column {name!r}", allowed="a CSV", action="name another")
    outer = StepFailedError(f"The step failed: {cause}", allowed="success", action="read")
    for error in (cause, outer):
        advice = (error.allowed, error.action)
        assert [part.rstrip(".") for part in advice] == ["a CSV", "name another"]
        assert repr(name) in error.found


def test_a_program_s_blanks_are_looked_through_once() -> None:
    """Its last words may be a megabyte of them; looked at from each, that would take hours."""
    error = StepFailedError(f"it said{' ' * 1_000_000}x", allowed="a word", action="wait")
    assert str(error).endswith("x. Allowed: a word. Next: wait.")


def test_a_wrong_pipeline_file_is_told_its_line_and_its_own_word(tmp_path: Path) -> None:
    """Not the class that the function makes, nor a line of ours."""
    file = tmp_path / "wine.py"
    file.write_text(
        "from understudy import pipeline\n\n\ndag = pipeline('wine', shedule='@daily')\n"
    )
    with pytest.raises(DeclarationError, match=r"^wine\.py, line 4: pipeline: .*'shedule'"):
        runpy.run_path(str(file))


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        ("one", ["one"]),
        ("a; b; c", ["a", "b", "c"]),
        (
            "pin is failed; pin: Found 'v9'. Allowed: a tag; main is one. Next: name it; again.; z",
            [
                "pin is failed",
                "pin: Found 'v9'. Allowed: a tag; main is one. Next: name it",
                "again.",
                "z",
            ],
        ),
        ("pin is failed; Found 'v9'. Allowed: a tag; it was cut of", None),
        ("the verdict was 'x. Allowed: y; z'; more", None),
    ],
)
def test_a_reason_is_read_sentence_by_sentence(reason: str, expected: list[str] | None) -> None:
    """An error of three parts is one of them, whatever stands in its second part."""
    assert sentences(reason) == (reason.split("; ") if expected is None else expected)
