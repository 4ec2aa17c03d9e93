"""Connections of clients that send half a request, on uvicorn itself."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import uvicorn
from tests.fixtures.loopback import free_port

from understudy.serving import proxy
from understudy.serving.proxy import Proxy, TimedConnection

if TYPE_CHECKING:
    import pytest

HALVES = (
    b"",
    b"GET /champion HTTP/1.1\r\nhost:",
    b"POST /invocations HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{",
)


async def _cut(port: int, half: bytes) -> float:
    """Return after how many seconds a connection with half a request is cut."""
    loop = asyncio.get_running_loop()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    began = loop.time()
    writer.write(half)
    try:
        await asyncio.wait_for(reader.read(), 10)
    except ConnectionResetError:
        pass
    finally:
        writer.close()
    return loop.time() - began


async def _asked_twice(port: int) -> list[bytes]:
    """Return the first lines of two answers on one connection, with a pause between them."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    lines = []
    for _ in range(2):
        writer.write(b"GET /champion HTTP/1.1\r\nhost: x\r\n\r\n")
        answer = await reader.readuntil(b"}")
        lines.append(answer.splitlines()[0])
        await asyncio.sleep(1.2)
    writer.close()
    return lines


async def _served() -> tuple[list[float], list[bytes]]:
    port = free_port()
    config = uvicorn.Config(
        Proxy("m", print).app(), port=port, http=TimedConnection, ws="none", log_level="warning"
    )
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110 -- uvicorn has no event for it
        await asyncio.sleep(0.01)
    try:
        cut = await asyncio.gather(*(_cut(port, half) for half in HALVES))
        return cut, await _asked_twice(port)
    finally:
        server.should_exit = True
        await serving


def test_half_a_request_is_cut_and_a_whole_one_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """After its time, whatever it has brought; a kept connection may wait between requests."""
    monkeypatch.setattr(proxy, "_ARRIVAL", 1.0)
    cut, lines = asyncio.run(_served())
    assert all(0.9 < seconds < 5 for seconds in cut)
    assert lines == [b"HTTP/1.1 200 OK"] * 2
