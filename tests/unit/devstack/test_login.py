"""One password for Airflow and MLflow of the local stack, in files of their owner's."""

from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path

import pytest

from understudy.devstack import components, settings
from understudy.devstack.components import Setting
from understudy.devstack.place import StackPlace

pytestmark = pytest.mark.unit
PORTS = dict.fromkeys(components.PORTS, 1)
NAMES = (*components.BACKGROUND, *components.AIRFLOW)


@pytest.fixture
def place(tmp_path: Path) -> StackPlace:
    """Return a stack whose settings are written."""
    made = StackPlace(tmp_path / "stack")
    settings.write(made, PORTS)
    return made


def test_files_with_the_password_are_their_owner_s(place: StackPlace) -> None:
    """And there are no others."""
    password = settings.password(place)
    files = [one for one in place.state.rglob("*") if one.is_file()]
    holding = {one for one in files if password in one.read_text("utf-8")}
    assert holding == {place.passwords, place.accounts, place.shell}
    for file in (*holding, place.form_key):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600, file


def test_no_program_is_told_it_on_its_command_line(place: StackPlace) -> None:
    """Whoever is on the machine sees command lines; variables are their process's alone."""
    password = settings.password(place)
    setting = Setting(place, PORTS, settings.environment(place, PORTS, "mark"))
    for name in NAMES:
        program = components.program(name, setting)
        assert password not in " ".join(program.argv)
        assert program.environment["MLFLOW_TRACKING_PASSWORD"] == password
        key = "MLFLOW_FLASK_SERVER_SECRET_KEY"
        assert (key in program.environment) is (name == "mlflow")


def test_a_second_start_keeps_them(place: StackPlace) -> None:
    """MLflow keeps the first password that it was given, in a database of its own."""
    before = settings.password(place), place.form_key.read_text()
    settings.write(place, PORTS)
    assert (settings.password(place), place.form_key.read_text()) == before


def test_a_shell_gets_in_by_one_line(place: StackPlace) -> None:
    """Which holds no password: it would stay in the shell's history."""
    script = '. "$1"; printf %s "$MLFLOW_TRACKING_USERNAME $MLFLOW_TRACKING_PASSWORD"'
    done = subprocess.run(
        ["sh", "-c", script, "sh", place.shell],
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == f"admin {settings.password(place)}"
