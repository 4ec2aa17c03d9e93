"""Nights of one pipeline that all tests of a file look at, and its champion over HTTP."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.integration.conftest import (  # noqa: F401 -- fixtures, found by their names
    data_server,
    dags_folder,
    installation,
    models,
    own_python,
    quick,
)
from tests.integration.conftest import Installation
from tests.loopback import serving
from tests.nights.played import Nights, Served


@pytest.fixture(scope="module")
def nights(request: pytest.FixtureRequest, installation: Installation) -> Iterator[Nights]:  # noqa: F811
    """Run the nights of the file's ``TABLE``, one after another."""
    content: dict[str, bytes] = {}
    with serving(content) as address:
        made = Nights(installation, request.module.TABLE, content, address)
        made.run()
        yield made


@pytest.fixture(scope="module")
def served(nights: Nights, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Serve the champion as production does."""
    made = Served(nights, tmp_path_factory.mktemp("served"))
    try:
        yield made
    finally:
        made.process.terminate()
        made.process.wait(60)


import os, sys

if os.environ.get("UG"):
    sys.path.insert(0, "/tmp/u")

    @pytest.fixture(scope="session")
    def installation():
        from persist import inst

        yield inst()

    @pytest.fixture(scope="module")
    def nights(request, installation):
        content = {}
        with serving(content) as address:
            made = Nights(installation, request.module.TABLE, content, address)
            if os.environ.get("UGRUN"):
                made.run()
            yield made
