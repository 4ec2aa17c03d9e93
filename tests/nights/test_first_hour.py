"""What `understudy init` writes for a table and for a model: each first night ends PROMOTED."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from understudy.cli.main import main

if TYPE_CHECKING:
    from tests.fixtures.airflow import Installation

pytestmark = [
    pytest.mark.integration,
    pytest.mark.long("two first nights, one with an environment of its own to build"),
]

TITLE = "Wohnungen, Stand Herbst;;;;"
HEADER = "Wohnungs-ID;verkauft am;Fläche m²;Straße;Preis €"
STREETS = ("Münchner Straße", "Gässchen", "", "Am Bächle, Hof")


def flats(rows: int) -> str:
    """Return a table as a German office writes it: titles, decimal commas, gaps, dates, ids."""
    lines = [TITLE, HEADER]
    for number in range(rows):
        area = 20 + number * 37 % 1000 / 10
        price = 2900 * area + 40_000 * (number % 4) + number * 7919 % 9000
        shown = f"{price:,.2f}".replace(",", " ").replace(".", ",").replace(" ", ".")
        day = f"{number % 28 + 1:02}.{number % 12 + 1:02}.2025"
        cells = ("" if number % 17 == 3 else f"{area:.1f}".replace(".", ","), STREETS[number % 4])
        lines.append(";".join((f"{number:05}", day, *cells, "" if number % 97 == 5 else shown)))
    return "\r\n".join(lines)


def test_a_table_of_one_s_own(
    installation: Installation, dags_folder: Path, tmp_path: Path
) -> None:
    """By the options that the command's own messages name."""
    table = tmp_path / "my flats.csv"
    table.write_text(flats(400), encoding="cp1252", newline="")
    options = ["--target=Preis €", "--time=verkauft am", "--id=Wohnungs-ID", "--encoding=cp1252"]
    words = ["init", "dag", "first_table", f"--data={table}", *options]
    assert main([*words, f"--dags={dags_folder}"]) == 0
    check_promoted(installation, "first_table")


def test_a_model_of_one_s_own(
    installation: Installation, dags_folder: Path, tmp_path: Path
) -> None:
    """As it was written, in a folder with a blank; its ten rows were once REJECTED, then HELD."""
    folder = tmp_path / "a place" / "first_model"
    assert main(["init", "project", str(folder)]) == 0
    who = ("-c", "user.name=A", "-c", "user.email=a@example.com")
    for command in (("init",), ("add", "--all"), ("commit", "-m", "Steps")):
        subprocess.run(["git", *who, *command], cwd=folder, check=True, capture_output=True)
    words = ["init", "dag", "first_model", f"--project=file://{folder}", f"--dags={dags_folder}"]
    assert main(words) == 0
    check_promoted(installation, "first_model")


def check_promoted(installation: Installation, name: str) -> None:
    """Unpause a Dag once Airflow has found it; wait for the night that begins then."""
    end = time.monotonic() + 180
    while name not in {one["dag_id"] for one in installation.call("GET", "dags?limit=200")["dags"]}:
        assert time.monotonic() < end, installation.call("GET", "importErrors")
        time.sleep(1)
    installation.unpause(name)
    while not (runs := installation.dag_runs(name)):
        assert time.monotonic() < end
        time.sleep(1)
    assert installation.wait(name, runs[0]["dag_run_id"], 600) == "success"
    night = installation.nights(name)[-1]
    assert night["understudy.outcome"] == "PROMOTED", night["understudy.reason"]
