"""The gate's process and what it may take."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytestmark = pytest.mark.unit

TOO_MUCH = """
import resource, sys
from pathlib import Path
from understudy.evaluation import child

def needs_more(_request):
    resource.setrlimit(resource.RLIMIT_DATA, (300 << 20, 300 << 20))
    import numpy
    numpy.ones(1 << 30)

child.exchange.read = lambda *_: [None]
child.answered = needs_more
sys.exit(child.main(["in", "out"]))
"""


def test_what_needs_more_memory_than_there_is_ends_in_words() -> None:
    """A file of a megabyte may hold a hundred million rows; nothing else of the machine ends."""
    done = subprocess.run(
        [sys.executable, "-c", TOO_MUCH], capture_output=True, text=True, check=False
    )
    assert done.returncode == 71
    assert "MemoryError: the rows need more than the" in done.stderr


LIMITED = """
import resource
from understudy.evaluation import child
most = child.limit_memory()
assert resource.getrlimit(resource.RLIMIT_DATA) == (most, most)
print(most)
"""


def test_it_may_take_most_of_the_machine() -> None:
    """Ten million rows take some gigabytes: a night's comparison is not ended by it."""
    done = subprocess.run(
        [sys.executable, "-c", LIMITED], capture_output=True, text=True, check=True
    )
    assert int(done.stdout) > 1 << 30
