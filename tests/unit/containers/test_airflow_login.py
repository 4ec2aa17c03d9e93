"""Wrong logins are counted by address and name; the real Airflow's are asked in tests/stack."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from understudy.containers.airflow_login import WrongLogins
from understudy.containers.guesses import OF_ALL, OF_ONE, Guesses

if TYPE_CHECKING:
    from starlette.types import Message, Receive, Scope, Send

pytestmark = pytest.mark.unit

Ask = Callable[..., Awaitable[httpx.Response]]


async def _login(_scope: Scope, receive: Receive, send: Send) -> None:
    """Answer as Airflow does: 201 for the right password, 401 for others, 400 for no login."""
    message: Message = await receive()
    right = b'"right"' in message["body"]
    status = 201 if right else 401 if b"password" in message["body"] else 400
    await send({"type": "http.response.start", "status": status, "headers": []})
    await send({"type": "http.response.body", "body": message["body"]})


def _run(asking: Callable[[Ask], Awaitable[None]]) -> None:
    app = WrongLogins(_login)

    async def main() -> None:
        async def ask(
            name: str, password: str, address: str = "10.0.0.1", **how: Any
        ) -> httpx.Response:
            transport = httpx.ASGITransport(app, client=(address, 1))
            async with httpx.AsyncClient(transport=transport, base_url="http://a") as http:
                body = {"username": name, "password": password}
                path = how.pop("path", "/auth/token")
                return await http.post(path, **(how or {"json": body}))

        await asking(ask)

    asyncio.run(main())


def test_who_guesses_is_slowed_down_and_nobody_else() -> None:
    """The right password counts neither way; another name, or address, still gets in."""

    async def asking(ask: Ask) -> None:
        assert (await ask("ann", "right")).status_code == 201
        said = [(await ask("ann", f"guess {one}")).status_code for one in range(OF_ONE + 2)]
        assert said == [401] * OF_ONE + [429] * 2
        refused = await ask("ann", "right", path="/auth/token/cli/")
        assert refused.status_code == 429
        assert refused.headers["retry-after"] == "60"
        assert (await ask("bob", "right")).status_code == 201
        assert (await ask("ann", "right", "10.0.0.2")).status_code == 201
        assert (await ask("ann", "wrong", path="/api/v2/dags")).status_code == 401

    _run(asking)


@pytest.mark.parametrize(
    "content", [b"", b"[1]", b'"password', b'{"username": ["x"], "password": 1}', b"\xff\xfe"]
)
def test_what_is_no_login_is_counted_as_well(content: bytes) -> None:
    """Whatever is sent: it is answered as before, and then no more."""

    async def asking(ask: Ask) -> None:
        said = [(await ask("", "", content=content)).status_code for _ in range(OF_ONE + 1)]
        assert set(said[:-1]) <= {400, 401}
        assert said[-1] == 429

    _run(asking)


def test_a_name_by_basic_authentication_is_a_name() -> None:
    """FAB takes it from either place."""

    async def asking(ask: Ask) -> None:
        for _ in range(OF_ONE):
            await ask("", "", auth=("ann", "guess"))
        assert (await ask("", "", auth=("ann", "right"))).status_code == 429
        assert (await ask("", "", auth=("bob", "guess"))).status_code == 400

    _run(asking)


def test_what_is_too_large_is_not_read() -> None:
    """A login is short."""

    async def asking(ask: Ask) -> None:
        assert (await ask("ann", "x" * 70_000)).status_code == 413

    _run(asking)


def test_an_address_may_not_try_name_after_name() -> None:
    """One password for everybody is a guess, too."""
    guesses = Guesses()
    for number in range(OF_ALL):
        assert not guesses.are_many("a", f"name {number}")
        guesses.remember("a", f"name {number}")
    assert guesses.are_many("a", "one more")
    assert not guesses.are_many("b", "name 1")


def test_a_long_name_fills_no_memory() -> None:
    """Two of the same beginning count as one."""
    guesses = Guesses()
    for number in range(OF_ONE):
        guesses.remember("a", "x" * 60_000 + str(number))
    assert guesses.are_many("a", "x" * 60_000)
    assert max(len(name or "") for _, name in guesses._wrong) < 1000
