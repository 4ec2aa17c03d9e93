"""The tutorials of tables, from nothing to the last line, as a person types them.

They build their environments, start their servers and clone over HTTP. Only the public addresses
and the fixed ports are replaced, by what stands in for them on loopback.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from tests.fixtures.machine import CHECKOUT
from tests.fixtures.tutorials import PUBLIC_GIT, Block, pages, ports, run, shell_variables

pytestmark = [
    pytest.mark.integration,
    pytest.mark.long("installs every environment that a reader would, and searches"),
    pytest.mark.timeout(1500),
]

HAPPINESS = Path("world-happiness-2021", "world-happiness-report-2021.csv")
PUBLIC_DATA = "https://archive.ics.uci.edu"
LOG_A_RUN = """
import mlflow

with mlflow.start_run() as run:
    mlflow.log_metric("rmse", 0.5)
    mlflow.log_text("a file", "file.txt")
print(list(mlflow.search_runs()["metrics.rmse"]))
print(mlflow.artifacts.load_text(f"{run.info.artifact_uri}/file.txt"))
"""


def test_tables(published: str, real_data: Path, data_server: str, tmp_path: Path) -> None:
    """Wine quality, then the exercise on world happiness, with one server and one environment."""
    shutil.copy(real_data / HAPPINESS, tmp_path)
    wine = ("wine-quality", "wine-quality-packaged", "wine-quality-champion")
    mirror = {"UNDERSTUDY_DATA_MIRROR": data_server}
    wrong = run(
        pages("setup", *wine, "world-happiness"),
        tmp_path,
        {PUBLIC_GIT: published, PUBLIC_DATA: data_server, **ports(5000, 5001, 5002)},
        shell_variables(**mirror, XDG_STATE_HOME=str(tmp_path / "state")),
    )
    assert wrong == ""


def test_the_server_of_a_team(published: str, postgresql: str, tmp_path: Path) -> None:
    """The page's lines, with a real PostgreSQL; a folder stands in for the bucket."""
    page = (CHECKOUT / "docs" / "tutorials" / "setup.md").read_text(encoding="utf-8")
    install, serve = re.findall(r"^\$ ((?:.*\\\n)*.*)$", page, re.MULTILINE)
    environments, server, client = pages("setup")
    wait = server.code.splitlines()[-1]
    team = Block(server.place, "sh", f"{install}\n{serve} > server.log 2>&1 &\n{wait}\n")
    asked = Block("the client", "python", LOG_A_RUN, ("[0.5]", "a file"))
    public = {"user@host": postgresql, "s3://bucket/path": "./artifacts"}
    wrong = run(
        [environments, team, client, asked],
        tmp_path,
        {PUBLIC_GIT: published, **public, **ports(5000)},
        shell_variables(),
    )
    assert wrong == ""
