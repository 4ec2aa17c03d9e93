"""Keeps the proxy on the champion: looks at the alias, brings the next version up, lets go the old.

Runs in a thread beside the front. A champion that does not load, or answers otherwise than in its
rehearsal, never answers a request: the one before goes on, and every look says so, loudly.
"""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from weakref import WeakSet

from understudy.errors import UnderstudyError
from understudy.runner.process.process import OnLine
from understudy.serving.instance import Instance, Opener
from understudy.serving.proxy import Proxy
from understudy.serving.server import ModelServer

Champion = Callable[[], str | None]
"""Returns the champion's version; raises what the tracking server's silence raises."""

_DRAIN: Final = 120.0
"""Seconds that the version before may still answer what it has taken."""
_FIRST_PAUSE: Final = 5.0
_LONGEST_PAUSE: Final = 300.0
"""Seconds before a version that failed is tried again: the first time, and at most."""
_NOTED: Final = 30.0
"""Seconds between two notes, beside the own copy, that it is still the champion."""


@dataclass(slots=True)
class Trouble:
    """A version that did not come up.

    Attributes:
        version: Which.
        reason: Why.
        pause: Seconds until the next try.
        again_at: The time (monotonic) of that.
    """

    version: str
    reason: str
    pause: float
    again_at: float


class AliasWatcher:
    """Follows one model's champion.

    Args:
        front: What asks the version in production.
        champion: Looks at the alias.
        opener: Brings versions up.
        poll: Seconds between two looks.
        say: Takes lines for the log.
    """

    def __init__(
        self, proxy: Proxy, champion: Champion, opener: Opener, poll: float, say: OnLine
    ) -> None:
        self._proxy, self._champion, self._opener = proxy, champion, opener
        self._poll, self._say = poll, say
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="follower", daemon=True)
        self._trouble: Trouble | None = None
        self._silent = False
        self._noted_at = 0.0
        self._leaving: list[threading.Thread] = []
        self._known_dead: WeakSet[ModelServer] = WeakSet()

    def start(self) -> None:
        """Begin to follow."""
        self._thread.start()

    def stop(self) -> None:
        """End all servers; returns when they are gone."""
        # In this order: no further look, no further start; then the thread can be waited for, even
        # if it is building an environment.
        self._over.set()
        self._opener.stop()
        self._thread.join()
        for leaving in self._leaving:
            leaving.join()
        last = self._proxy.switch(None)
        if last is not None:
            last.close(_DRAIN)

    def _follow(self) -> None:
        while not self._over.is_set():
            try:
                self.look()
            except Exception:  # noqa: BLE001 -- what serves must go on, whatever we did not foresee
                self._say(f"ERROR looking at the champion failed:\n{traceback.format_exc()}")
            self._over.wait(self._poll)

    def look(self) -> None:
        """Look once, and do what is to be done."""
        # A tracking server that is away, or a champion that is gone, is no reason to stop serving:
        # predictions need neither.
        try:
            champion = self._champion()
        except UnderstudyError as error:
            self._proxy.doubt()
            self._complain(f"{error} What is served stays as it is.")
            self._go_on_alone()
            return
        self._proxy.confirm()
        if champion is None:
            self._complain(f"{self._proxy.model} has no champion. What is served stays as it is.")
            return
        self._silent = False
        current = self._proxy.current
        # Also the same version again, where one of its servers died.
        dead = current.dead if current is not None else []
        for server in dead:
            self._lost(server)
        if current is None or current.version != champion or dead:
            self._bring_up(champion)
        elif time.monotonic() > self._noted_at + _NOTED:
            self._opener.copy_of(self._proxy.model).confirm()
            self._noted_at = time.monotonic()

    def _go_on_alone(self) -> None:
        """Serve this machine's own copy where nothing is served, or a server of it has died."""
        current = self._proxy.current
        if current is None or current.dead:
            for server in current.dead if current is not None else []:
                self._lost(server)
            self._bring_up("")

    def _lost(self, server: ModelServer) -> None:
        """Say once that a server has ended."""
        if server not in self._known_dead:
            self._known_dead.add(server)
            last = server.last_lines or "it said nothing"
            self._say(f"ERROR a server of {self._proxy.model} ended with {server.end}: {last}")

    def _complain(self, message: str) -> None:
        """Say what is wrong with the registry, once until it is right again."""
        if not self._silent:
            # Before the first night there is no champion, which is no fault.
            kind = "ERROR" if self._proxy.current is not None else "WARNING"
            self._say(f"{kind} {message}")
        self._silent = True

    def _bring_up(self, version: str) -> None:
        """Bring a version up; '' for the one that this machine has a copy of."""
        trouble = self._trouble
        if trouble and trouble.version == version and time.monotonic() < trouble.again_at:
            return
        try:
            new = self._opened(version)
        except UnderstudyError as error:
            self._failed(version, error)
            return
        if new is None:
            return
        self._trouble = None
        self._proxy.note = {"since": datetime.now(UTC).isoformat(timespec="milliseconds")}
        # The new version takes requests before the old one is ended: one of them is always there.
        old = self._proxy.switch(new)
        self._leaving = [thread for thread in self._leaving if thread.is_alive()]
        # In a thread of its own: the next look need not wait for the requests that it answers.
        if old is not None:
            leaving = threading.Thread(target=old.close, args=(_DRAIN,), name="leaving")
            leaving.start()
            self._leaving.append(leaving)
        self._say(f"Serving {self._proxy.model} version {new.version}")

    def _opened(self, version: str) -> Instance | None:
        model = self._proxy.model
        if version:
            self._say(f"Bringing up {model} version {version}")
            opened = self._opener.open(model, version)
            self._noted_at = time.monotonic()
            return opened
        found = self._opener.open_kept(model)
        if found is None:
            return None
        new, age = found
        self._proxy.doubt(age)
        self._say(
            f"WARNING version {new.version} of {model} is served from this machine's own copy:"
            f" it was champion {age:.0f} s ago, when MLflow last answered"
        )
        return new

    def _failed(self, version: str, error: UnderstudyError) -> None:
        # Stopped while it was being brought up: that is why it failed.
        if self._over.is_set():
            return
        # Doubled each time: a broken champion must not keep the machine busy with building it.
        known = self._trouble if self._trouble and self._trouble.version == version else None
        pause = min(known.pause * 2, _LONGEST_PAUSE) if known else _FIRST_PAUSE
        self._trouble = Trouble(version, str(error), pause, time.monotonic() + pause)
        current = self._proxy.current
        still = f"version {current.version} goes on serving" if current else "nothing is served"
        self._proxy.note = {
            **self._proxy.note,
            "refused": {"version": version, "reason": str(error)},
        }
        self._say(
            f"ERROR the champion, version {version or 'as kept here'} of {self._proxy.model}, did"
            " not come up;"
            f" {still}. Tried again in {pause:.0f} s. {error}"
        )
