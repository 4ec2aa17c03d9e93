"""Nights of one pipeline that all tests of a file look at, and its champion over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from tests.fixtures.loopback import serving
from tests.fixtures.played_nights import Nights, Served

pytest.register_assert_rewrite("tests.nights.whole_nights")

if TYPE_CHECKING:
    from tests.fixtures.airflow import Installation


@pytest.fixture(scope="module")
def ugly_nights(request: pytest.FixtureRequest, installation: Installation) -> Iterator[Nights]:
    """Run the nights of the file's ``TABLE``, one after another."""
    content: dict[str, bytes] = {}
    with serving(content) as address:
        made = Nights(installation, request.module.TABLE, content, address)
        made.run()
        yield made


@pytest.fixture(scope="module")
def served(ugly_nights: Nights, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Serve the champion as production does."""
    made = Served(ugly_nights, tmp_path_factory.mktemp("served"))
    try:
        yield made
    finally:
        made.process.terminate()
        made.process.wait(60)
