"""Ports: free, distinct, and the same again at the next start."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from understudy.devstack import ports


@pytest.fixture
def taken_port() -> Iterator[int]:
    """Return a port that somebody listens on."""
    with socket.socket() as server:
        server.bind((ports.LOOPBACK, 0))
        server.listen()
        yield server.getsockname()[1]


def test_each_name_gets_a_free_port_of_its_own() -> None:
    """No two names share a port."""
    chosen = ports.choose(["a", "b", "c"], {})
    assert len(set(chosen.values())) == 3
    assert all(port in ports.PORTS and ports.is_free(port) for port in chosen.values())


def test_a_remembered_port_is_chosen_again(tmp_path: Path) -> None:
    """Addresses last from one start to the next."""
    chosen = ports.choose(["a", "b"], {})
    ports.remember(tmp_path / "ports.json", chosen)
    assert ports.choose(["a", "b"], ports.remembered(tmp_path / "ports.json")) == chosen


def test_a_remembered_port_that_somebody_took_is_replaced(taken_port: int) -> None:
    """A stack never trips over a port that is not free any more."""
    assert not ports.is_free(taken_port)
    assert ports.choose(["a"], {"a": taken_port})["a"] != taken_port


@pytest.mark.parametrize("content", ["", "{", '{"a": "x"}'])
def test_half_written_ports_are_forgotten(tmp_path: Path, content: str) -> None:
    """A file that a killed start left behind does no harm."""
    (tmp_path / "ports.json").write_text(content)
    assert ports.remembered(tmp_path / "ports.json") == {}
