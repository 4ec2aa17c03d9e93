"""The set-up: built once, built anew when unfinished, brought up to date when the lock changed."""

import ssl
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from understudy.devstack import bootstrap
from understudy.devstack.place import CHECKOUT

SETUP = CHECKOUT / "plugins" / "understudy" / "devstack" / "setup.sh"


@pytest.fixture
def layout(tmp_path: Path) -> bootstrap.Layout:
    """Return a checkout with one empty lock, which needs no package index."""
    (tmp_path / "requirements").mkdir()
    (tmp_path / "requirements" / "mlflow.txt").write_text("# nothing\n")
    return bootstrap.Layout(tmp_path)


@pytest.fixture
def target(
    layout: bootstrap.Layout, monkeypatch: pytest.MonkeyPatch
) -> bootstrap.VirtualEnvironment:
    """Return the environment of that lock, built by the uv of the environment of these tests."""
    monkeypatch.setattr(bootstrap, "uv_of", lambda _: Path(sys.executable).with_name("uv"))
    return bootstrap.environments(layout)["mlflow"]


def test_a_complete_environment_is_left_alone(
    layout: bootstrap.Layout, target: bootstrap.VirtualEnvironment
) -> None:
    """The second time there is nothing to do."""
    assert bootstrap.ensure(target, layout)
    assert target.python.exists()
    assert not bootstrap.ensure(target, layout)


def test_an_unfinished_environment_is_built_anew(
    layout: bootstrap.Layout,
    target: bootstrap.VirtualEnvironment,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Without its stamp nothing in it is trusted."""
    bootstrap.ensure(target, layout)
    (target.path / bootstrap.STAMP).unlink()
    (target.path / "half").touch()
    assert bootstrap.ensure(target, layout)
    assert not (target.path / "half").exists()
    assert "unfinished" in capsys.readouterr().err


def test_another_lock_brings_the_environment_up_to_date(
    layout: bootstrap.Layout, target: bootstrap.VirtualEnvironment
) -> None:
    """The stamp holds the digest of the lock, so a change is noticed."""
    bootstrap.ensure(target, layout)
    before = target.stamped()
    target.lock.write_text("# something else\n")
    assert bootstrap.ensure(target, layout)
    assert target.stamped() == target.digest() != before


def test_a_failure_shows_the_program_s_own_words(
    layout: bootstrap.Layout, target: bootstrap.VirtualEnvironment
) -> None:
    """A lock that cannot be installed leaves no stamp, and says why."""
    target.lock.write_text("no-such-package==1 --hash=sha256:" + "0" * 64 + " trailing words\n")
    with pytest.raises(bootstrap.SetupError, match=r"(?s)installing mlflow.txt.*Allowed:.*Next:"):
        bootstrap.ensure(target, layout)
    assert target.stamped() is None


def test_a_distribution_s_metadata_counts(
    target: bootstrap.VirtualEnvironment, tmp_path: Path
) -> None:
    """New entry points in pyproject.toml install the checkout again."""
    (tmp_path / "pyproject.toml").write_text("one")
    editable = replace(target, checkout=tmp_path)
    before = editable.digest()
    (tmp_path / "pyproject.toml").write_text("two")
    assert editable.digest() != before


def _setup(script: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    argv = ["/bin/sh", script, "mlflow"]
    return subprocess.run(argv, check=False, capture_output=True, text=True, env=variables)


def test_a_python_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    """The message says what was found, what is allowed and what to do."""
    old = tmp_path / "python"
    old.write_text("#!/bin/sh\ncase $2 in *exit*) exit 1;; *) echo Python 3.9.2;; esac\n")
    old.chmod(0o755)
    done = _setup(SETUP, PATH="/usr/bin:/bin", PYTHON=str(old))
    assert done.returncode == 2
    assert f"PYTHON={old} is Python 3.9.2." in done.stderr
    assert "Allowed: Python 3.11, 3.12 or 3.13." in done.stderr
    assert "Next:" in done.stderr


def _copy_of_setup(folder: Path) -> Path:
    script = folder / "plugins" / "understudy" / "devstack" / "setup.sh"
    script.parent.mkdir(parents=True)
    script.write_bytes(SETUP.read_bytes())
    return script


def test_a_folder_that_is_no_checkout_is_refused(tmp_path: Path) -> None:
    """An unpacked archive has no commits to run."""
    done = _setup(_copy_of_setup(tmp_path), PATH="/usr/bin:/bin", PYTHON=sys.executable)
    assert done.returncode == 2
    assert "is no git checkout" in done.stderr


def test_a_machine_without_git_is_told_so(tmp_path: Path) -> None:
    """Without git nothing here works, and that is said at once."""
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "dirname").symlink_to("/usr/bin/dirname")
    done = _setup(_copy_of_setup(tmp_path), PATH=str(programs), PYTHON=sys.executable)
    assert done.returncode == 2
    assert "git is not on PATH" in done.stderr


def test_the_system_s_certificates_count_unless_the_caller_says_otherwise() -> None:
    """Behind a company's proxy nobody else vouches for its certificate."""
    assert bootstrap.child_environment({})["UV_SYSTEM_CERTS"] == "true"
    store = ssl.get_default_verify_paths()
    assert bootstrap.child_environment({}).get("PIP_CERT", "") in {store.cafile, store.capath, ""}
    own = {"UV_SYSTEM_CERTS": "false", "PIP_CERT": "mine.pem"}
    assert own.items() <= bootstrap.child_environment(own).items()


@pytest.mark.parametrize(("given", "said"), [("", "true"), ("UV_SYSTEM_CERTS=false ", "false")])
def test_a_shell_with_the_environment_trusts_as_the_set_up_does(
    layout: bootstrap.Layout, target: bootstrap.VirtualEnvironment, given: str, said: str
) -> None:
    """Else uv, which it puts on PATH, would not reach an index behind a company's proxy."""
    bootstrap.ensure(target, layout)
    line = f"{given}; . {target.path}/bin/activate; echo $UV_SYSTEM_CERTS"
    shell = ["/usr/bin/env", "-i", "sh", "-c", line.removeprefix("; ")]
    assert subprocess.run(shell, check=True, capture_output=True, text=True).stdout == f"{said}\n"


def test_a_certificate_that_nobody_knows_is_told_with_its_switch() -> None:
    """In uv's words and in pip's."""
    for words in ("invalid peer certificate: UnknownIssuer", "[SSL: CERTIFICATE_VERIFY_FAILED]"):
        said = [sys.executable, "-c", f"import sys; print({words!r}); sys.exit(1)"]
        with pytest.raises(bootstrap.SetupError, match="SSL_CERT_FILE and PIP_CERT"):
            bootstrap.run(said, doing="installing")
