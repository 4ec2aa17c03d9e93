"""What a person says of a rollback, in words of this version and of the one before."""

from __future__ import annotations

import argparse
import subprocess
import sys

import pytest

from understudy.airflow.rollback_dag import _block
from understudy.cli import rollback
from understudy.registry.history import Scope


def test_what_may_not_return() -> None:
    """By default the version and what is made of the same."""
    parser = argparse.ArgumentParser()
    rollback.configure(parser)
    words = ["wine", "--why", "odd"]
    assert parser.parse_args(words).block is Scope.VERSION
    assert parser.parse_args([*words, "--block", "model"]).block is Scope.MODEL
    with pytest.warns(DeprecationWarning, match="--hold has a new name: write --block commit"):
        assert parser.parse_args([*words, "--hold", "commit"]).block is Scope.COMMIT
    assert "--hold" not in parser.format_help()


def test_the_form_of_the_dag_takes_the_former_name() -> None:
    """As a script gives it that was written for 0.1."""
    assert _block({"block": "version"}) == "version"
    with pytest.warns(DeprecationWarning, match="'hold' has a new name: write 'block'"):
        assert _block({"block": "version", "hold": "model"}) == "model"


def test_a_person_sees_the_warning() -> None:
    """Python would show it to nobody, were it of a module below."""
    words = ["rollback", "wine", "--why", "odd", "--hold", "commit", "--until", "never"]
    done = subprocess.run(
        [sys.executable, "-m", "understudy", *words], capture_output=True, text=True, check=False
    )
    assert "DeprecationWarning: --hold has a new name: write --block commit" in done.stderr
