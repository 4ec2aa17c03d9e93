"""``understudy`` itself: its version, the server that it finds, the exit codes of mistakes."""

from __future__ import annotations

import json
import os
import socket
import time
from importlib import metadata
from pathlib import Path

import pytest
from tests.fixtures.loopback import free_port, serving

import understudy
from understudy.cli import arguments
from understudy.cli.main import main

pytestmark = pytest.mark.unit


@pytest.fixture(autouse=True)
def _no_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no server be named, and the shell stand in a folder of a checkout."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")
    monkeypatch.setenv("UNDERSTUDY_CACHE", str(tmp_path / "cache"))
    (tmp_path / "dags").mkdir()
    monkeypatch.chdir(tmp_path / "dags")


def stack(folder: Path, port: int) -> Path:
    """Write what a started stack leaves below a checkout; return its record."""
    folder.mkdir(parents=True)
    (folder / "ports.json").write_text(json.dumps({"mlflow": port}))
    (folder / "stack.json").write_text("{}")
    return folder / "stack.json"


def test_the_version_is_the_distribution_s(capsys: pytest.CaptureFixture[str]) -> None:
    """On the command line, as an attribute, and in the metadata."""
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"understudy {understudy.__version__}\n"
    assert metadata.version("understudy") == understudy.__version__


def test_without_a_server_the_message_speaks_to_a_shell(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Not to who sets up Airflow's workers."""
    assert main(["history", "wine"]) == 1
    said = capsys.readouterr().err
    assert "MLFLOW_TRACKING_URI is not set" in said
    assert "Next: export MLFLOW_TRACKING_URI=" in said
    assert "workers" not in said


def test_another_server_is_told_from_mlflow(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A page of some other program: the address is wrong, no run or model is."""
    with serving({"/health": b"OK"}) as other:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", other)
        assert main(["history", "wine"]) == 1
    said = capsys.readouterr().err
    assert "What answers knows no call of MLflow's" in said
    assert said.rstrip().endswith("Next: correct MLFLOW_TRACKING_URI.")


def test_the_stack_of_the_checkout_is_found_while_it_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """From any folder of it; that of make up before the demo's; the variable before both.

    Each is said once, however often a command asks.
    """
    with serving({"/health": b"OK"}) as demo, serving({"/health": b"OK"}) as lasting:
        stack(tmp_path / ".state" / "demo", int(demo.rpartition(":")[2]))
        assert arguments.tracking_address() == demo
        record = stack(tmp_path / ".state" / "stack", int(lasting.rpartition(":")[2]))
        assert arguments.tracking_address() == lasting
        record.unlink()
        assert arguments.tracking_address() == demo
    said = capsys.readouterr().err.splitlines()
    folders = ((demo, "demo"), (lasting, "stack"))
    assert said == [
        f"understudy: the MLflow of {tmp_path / '.state' / name}, {address}"
        for address, name in folders
    ]
    assert arguments.tracking_address() == ""


def test_with_a_stack_its_cache_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where its nights have built their environments; one that is named counts."""
    with serving({"/health": b"OK"}) as demo:
        stack(tmp_path / ".state" / "demo", int(demo.rpartition(":")[2]))
        assert arguments.tracking_address() == demo
        assert os.environ["UNDERSTUDY_CACHE"] == str(tmp_path / "cache")
        monkeypatch.delenv("UNDERSTUDY_CACHE")
        assert arguments.tracking_address() == demo
        assert os.environ["UNDERSTUDY_CACHE"] == str(tmp_path / ".state" / "cache")


@pytest.mark.parametrize(
    ("named", "variables", "expected"),
    [
        ("", {}, ("ann", "a password")),
        ("{}/", {}, ("ann", "a password")),
        ("http://127.0.0.1:1", {}, (None, None)),
        ("", {"MLFLOW_TRACKING_USERNAME": "bob"}, ("bob", None)),
        ("", {"MLFLOW_TRACKING_TOKEN": "a token"}, (None, None)),
    ],
)
def test_a_stack_s_login_is_taken_for_its_server_alone(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    named: str,
    variables: dict[str, str],
    expected: tuple[str | None, str | None],
) -> None:
    """Found or named by its address; a login of the shell counts; no other server hears it."""
    login = ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD")
    for name in (*login, "MLFLOW_TRACKING_TOKEN"):
        monkeypatch.setenv(name, "")  # so that what is set below is gone afterwards
        monkeypatch.delenv(name)
    with serving({"/health": b"OK"}) as demo:
        folder = tmp_path / ".state" / "demo"
        stack(folder, int(demo.rpartition(":")[2]))
        (folder / "airflow").mkdir()
        (folder / "airflow" / "passwords.json").write_text('{"ann": "a password"}')
        monkeypatch.setenv("MLFLOW_TRACKING_URI", named.format(demo))
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        assert arguments.tracking_address() == (named.format(demo).rstrip("/") or demo)
    assert tuple(map(os.environ.get, login)) == expected


def test_a_stack_of_another_user_s_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else who plants one in a folder for all has us load models of theirs."""
    with serving({"/health": b"OK"}) as demo:
        stack(tmp_path / ".state" / "demo", int(demo.rpartition(":")[2]))
        owner = os.getuid()
        monkeypatch.setattr(os, "getuid", lambda: owner + 1)
        assert arguments.tracking_address() == ""


@pytest.mark.parametrize("silent", [False, True])
def test_a_server_that_is_away_is_an_error_soon(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *, silent: bool
) -> None:
    """Whether nobody listens or nobody answers; a word says what is waited for."""
    monkeypatch.setattr(arguments, "_PATIENCE_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1] if silent else free_port()
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://user:secret@127.0.0.1:{port}")
        began = time.monotonic()
        assert main(["history", "wine"]) == 1
    said = capsys.readouterr().err
    assert time.monotonic() - began < 5
    assert "waiting for the MLflow server" in said
    assert f":{port} did not answer" in said
    assert "secret" not in said


def test_ctrl_c_while_a_command_is_loaded_is_no_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """MLflow's import takes seconds, in which people give up."""

    def interrupted(_name: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("understudy.cli.main.import_module", interrupted)
    assert main(["history", "wine"]) == 130
    assert capsys.readouterr().err == "understudy: interrupted\n"
