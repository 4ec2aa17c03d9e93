"""The record of an environment: exact, with hashes where all are known, without passwords."""

from __future__ import annotations

import pytest

from understudy.runner.environment.store import record

pytestmark = pytest.mark.unit

LOCK = """
six==1.16.0 \\
    --hash=sha256:aa \\
    --hash=sha256:bb
Some_Name[extra]==2.0 ; python_version > "3.8" --hash=sha256:cc
"""


def test_hashes_come_from_the_lock_files() -> None:
    """Names are compared as the index does."""
    text = record({"Python": "3.11.7", "Platform": ""}, "six==1.16.0\nsome-name==2.0\n", [LOCK])
    assert text.splitlines() == [
        "# Python 3.11.7",
        "six==1.16.0 --hash=sha256:aa --hash=sha256:bb",
        "some-name==2.0 --hash=sha256:cc",
    ]


@pytest.mark.parametrize("stranger", ["idna==3.1", "six==1.17.0", "x @ git+https://host/x@abc"])
def test_hashes_for_some_lines_only_are_left_out(stranger: str) -> None:
    """Or pip would refuse the file."""
    text = record({}, f"{stranger}\nsome-name==2.0", [LOCK])
    assert text.splitlines() == [stranger, "some-name==2.0"]


def test_no_password_is_recorded() -> None:
    """Of URLs that were installed; the user of an ssh address is part of the address."""
    frozen = "a @ git+https://me:s3cret@host/a@1f\nb @ git+ssh://git@host/b@2e"
    assert record({}, frozen).splitlines() == [
        "a @ git+https://host/a@1f",
        "b @ git+ssh://git@host/b@2e",
    ]
