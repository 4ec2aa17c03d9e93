"""The tutorials of images, as those of tables; a file of their own, so that both run at once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.fixtures.loopback import serving
from tests.fixtures.tutorials import PUBLIC_GIT, pages, ports, run, shell_variables

pytestmark = [
    pytest.mark.integration,
    pytest.mark.long("installs TensorFlow as a reader would, and trains networks"),
]

PUBLIC_MNIST = "/cvdf-datasets/mnist"


@pytest.fixture(scope="module")
def mnist_server(real_data: Path) -> Iterator[str]:
    """Serve the real MNIST on loopback under the paths of its public addresses."""
    files = sorted((real_data / "mnist").glob("*.gz"))
    with serving({f"{PUBLIC_MNIST}/{file.name}": file.read_bytes() for file in files}) as address:
        yield address


@pytest.mark.timeout(3000)
def test_images(published: str, mnist_server: str, tmp_path: Path) -> None:
    """Digits from raw pixels to a served network, then MNIST for an epoch."""
    mirror = {"UNDERSTUDY_DATA_MIRROR": mnist_server}
    wrong = run(
        pages("setup", "images", "images-champion"),
        tmp_path,
        {PUBLIC_GIT: published, **ports(5000, 5003)},
        shell_variables(**mirror, XDG_STATE_HOME=str(tmp_path / "state")),
    )
    assert wrong == ""
