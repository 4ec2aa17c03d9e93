"""What a run logged is known by content."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from understudy.runner.reuse.outputs import LoggedFile, Outputs

pytestmark = pytest.mark.unit

NAMES = st.text("ab/", min_size=1, max_size=4).filter(lambda name: name == name.strip("/"))
FILES = st.dictionaries(NAMES, st.builds(LoggedFile, st.integers(0, 3), st.text("01", max_size=3)))


def outputs(**files: str) -> Outputs:
    """Return outputs with these contents; ``__`` in a name stands for '/'."""
    logged = {
        name.replace("__", "/"): LoggedFile(len(text), hashlib.sha256(text.encode()).hexdigest())
        for name, text in files.items()
    }
    return Outputs(logged, {})


@given(FILES, FILES)
def test_equal_digests_are_equal_contents(
    one: dict[str, LoggedFile], other: dict[str, LoggedFile]
) -> None:
    """Names and contents; the size follows from the content."""
    shas = [{name: file.sha256 for name, file in files.items()} for files in (one, other)]
    assume(one or other)
    same = Outputs(one, {}).digest("") == Outputs(other, {}).digest("")
    assert same == (shas[0] == shas[1])


@given(FILES)
def test_the_record_survives_being_written(files: dict[str, LoggedFile]) -> None:
    """As text and back; the order of the files leaves no trace."""
    made = Outputs(files, {"m-1": {"MLmodel": 3}})
    assert Outputs.from_json(made.to_json()) == made
    shuffled = Outputs(dict(reversed(list(files.items()))), made.models)
    assert shuffled.to_json() == made.to_json()


def test_the_digest_of_a_folder_is_what_is_below_it() -> None:
    """Wherever the folder lies; a file is not the folder that holds just it."""
    logged = outputs(raw__a="1", raw__b__c="2", other__a="1", other__b__c="2", raws="3")
    assert logged.digest("raw") == logged.digest("other") != logged.digest("")
    assert logged.digest("raw/b") != logged.digest("raw/b/c")
    assert logged.digest("ra") == logged.digest("raw/a/") == logged.digest("raw/x") == ""
