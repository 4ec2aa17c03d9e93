"""Nights of one pipeline that all tests of a file look at, its champion over HTTP, a browser."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from tests.fixtures.browser import ARGUMENTS, CHROMIUM
from tests.fixtures.loopback import serving
from tests.fixtures.played_nights import Nights, Served

pytest.register_assert_rewrite("tests.nights.whole_nights")

if TYPE_CHECKING:
    from playwright.sync_api import Browser
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


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Start chromium; end it afterwards."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield started
        started.close()
