"""The tutorials in docs/, from nothing to the last line, as a person types them.

They build their environments, start their servers and clone over HTTP. Only the public addresses
and the fixed ports are replaced, by what stands in for them on loopback.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.fixtures.git_hosts import http_host
from tests.fixtures.loopback import free_port, serving
from tests.fixtures.tutorials import Block, blocks, run

pytestmark = [
    pytest.mark.integration,
    pytest.mark.long("installs every environment that a reader would, and trains networks"),
]

ROOT = Path(__file__).parents[2]
REAL_DATA = Path(os.environ.get("UNDERSTUDY_TEST_DATA", ROOT.parent / "shared" / "data"))
HAPPINESS = REAL_DATA / "world-happiness-2021" / "world-happiness-report-2021.csv"
PUBLIC_GIT = "https://github.com/acme/understudy.git"
PUBLIC_DATA = "https://archive.ics.uci.edu"
PUBLIC_MNIST = "/cvdf-datasets/mnist"
_PORT_WORDS = ("127.0.0.1:", "--port ")


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Serve this checkout, as it is in the working tree, by a Git server; return its address."""
    base = tmp_path_factory.mktemp("published")
    made = base / "understudy.git"
    listing = ("git", "ls-files", "--cached", "--others", "--exclude-standard", "--deduplicate")
    names = subprocess.run(listing, cwd=ROOT, check=True, capture_output=True, text=True)
    for name in filter(lambda name: os.path.lexists(ROOT / name), names.stdout.splitlines()):
        (made / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, made / name, follow_symlinks=False)
    identity = ("-c", "user.name=Test", "-c", "user.email=test@example.com")
    for command in (
        ("init", "--quiet", "--initial-branch=main"),
        ("add", "--all"),
        (*identity, "commit", "--quiet", "--message=published"),
    ):
        subprocess.run(("git", *command), cwd=made, check=True)
    with http_host(base) as host:
        yield f"{host.url}/understudy.git"


@pytest.mark.timeout(1500)
def test_tables(published: str, data_server: str, tmp_path: Path) -> None:
    """Wine quality, then the exercise on world happiness, with one server and one environment."""
    if not HAPPINESS.exists():
        pytest.skip(f"the real data are not here: {HAPPINESS}")
    shutil.copy(HAPPINESS, tmp_path)
    wine = ("wine-quality", "wine-quality-packaged", "wine-quality-champion")
    names = ("setup", *wine, "world-happiness")
    tutorial = [block for name in names for block in _blocks(name)]
    wrong = run(
        tutorial,
        tmp_path,
        {PUBLIC_GIT: published, PUBLIC_DATA: data_server, **_ports(5000, 5001, 5002)},
        {
            **_clean(),
            "UNDERSTUDY_DATA_MIRROR": data_server,
            "XDG_STATE_HOME": str(tmp_path / "state"),
        },
    )
    assert wrong == ""


@pytest.mark.timeout(3000)
def test_images(published: str, mnist_server: str, tmp_path: Path) -> None:
    """Digits from raw pixels to a served network, then MNIST for an epoch."""
    tutorial = [block for name in ("setup", "images", "images-champion") for block in _blocks(name)]
    wrong = run(
        tutorial,
        tmp_path,
        {PUBLIC_GIT: published, **_ports(5000, 5003)},
        {
            **_clean(),
            "UNDERSTUDY_DATA_MIRROR": mnist_server,
            "XDG_STATE_HOME": str(tmp_path / "state"),
        },
    )
    assert wrong == ""


@pytest.fixture(scope="module")
def mnist_server() -> Iterator[str]:
    """Serve the real MNIST on loopback under the paths of its public addresses."""
    files = sorted((REAL_DATA / "mnist").glob("*.gz"))
    if not files:
        pytest.skip(f"the real data are not here: {REAL_DATA / 'mnist'}")
    with serving({f"{PUBLIC_MNIST}/{file.name}": file.read_bytes() for file in files}) as address:
        yield address


@pytest.mark.timeout(1500)
def test_the_server_of_a_team(published: str, postgresql: str, tmp_path: Path) -> None:
    """The page's lines, with a real PostgreSQL; a folder stands in for the bucket."""
    page = (ROOT / "docs" / "tutorials" / "setup.md").read_text(encoding="utf-8")
    install, serve = re.findall(r"^\$ ((?:.*\\\n)*.*)$", page, re.MULTILINE)
    environments, server, client = _blocks("setup")
    wait = server.code.splitlines()[-1]
    team = Block(server.place, "sh", f"{install}\n{serve} > server.log 2>&1 &\n{wait}\n")
    asked = Block("the client", "python", _LOG_A_RUN, ("[0.5]", "a file"))
    wrong = run(
        [environments, team, client, asked],
        tmp_path,
        {
            PUBLIC_GIT: published,
            "user@host": postgresql,
            "s3://bucket/path": "./artifacts",
            **_ports(5000),
        },
        _clean(),
    )
    assert wrong == ""


_LOG_A_RUN = """
import mlflow

with mlflow.start_run() as run:
    mlflow.log_metric("rmse", 0.5)
    mlflow.log_text("a file", "file.txt")
print(list(mlflow.search_runs()["metrics.rmse"]))
print(mlflow.artifacts.load_text(f"{run.info.artifact_uri}/file.txt"))
"""


def _blocks(name: str) -> list[Block]:
    return blocks(ROOT / "docs" / "tutorials" / f"{name}.md")


def _ports(*fixed: int) -> dict[str, str]:
    """Return a free port for each fixed one, in the two ways in which tutorials write them."""
    free = {port: free_port() for port in fixed}
    return {f"{word}{port}": f"{word}{free[port]}" for port in fixed for word in _PORT_WORDS}


def _clean() -> dict[str, str]:
    """Return the variables of a person's shell, with uv on its path, and quiet servers."""
    misleading = ("MLFLOW_", "UNDERSTUDY_", "VIRTUAL_ENV", "PYTHON")
    kept = {name: v for name, v in os.environ.items() if not name.startswith(misleading)}
    return {
        **kept,
        "PATH": f"{os.environ['PATH']}{os.pathsep}{Path(sys.executable).parent}",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "NO_PROXY": "127.0.0.1",
        "no_proxy": "127.0.0.1",
    }
