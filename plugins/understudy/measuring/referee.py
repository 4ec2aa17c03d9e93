"""Has one or two models predict by turns, each in a process and an environment of its own.

Started as ``python -I -S referee.py PLAN``; PLAN is a JSON file (see ``plan``), and the result is
written beside it. While one model predicts, the other one waits for its turn; who begins changes
from round to round, so that neither has the better half of a machine that slows down. Standard
library only.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

_WARM_UP_CALLS = 3


class LostError(Exception):
    """A contestant has ended, or told why it cannot go on."""


class Player:
    """One contestant and what it answered so far."""

    def __init__(self, argv: list[str], folder: str, variables: dict[str, str]) -> None:
        self._process = subprocess.Popen(
            argv,
            cwd=folder,
            env=variables,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.costs: dict[str, Any] = {"single": [], "batch": []}

    def ready(self) -> None:
        """Wait until the model is loaded."""
        self.costs.update(self._answer())

    def play(self, first: int, calls: int, *, counts: bool = True) -> None:
        """Have it predict: some single rows, then many at once."""
        self._ask({"first": first, "calls": calls})
        answer = self._answer()
        if counts:
            self.costs["single"].append(answer["single"])
            self.costs["batch"].append(answer["batch"])

    def end(self) -> None:
        """Let it end; what does not end by itself is ended by who watches us."""
        with contextlib.suppress(BrokenPipeError), self._process:
            pass  # leaving closes both its pipes, and waits

    def _ask(self, question: dict[str, int]) -> None:
        stdin = self._process.stdin
        if stdin is None or self._process.poll() is not None:
            raise LostError(self._why())
        print(json.dumps(question), file=stdin, flush=True)

    def _answer(self) -> dict[str, Any]:
        line = self._process.stdout.readline() if self._process.stdout else ""
        if not line.strip():
            raise LostError(self._why())
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            self.costs["unreachable"] = answer.get("unreachable", False)
            raise LostError(answer["error"])
        return answer

    def _why(self) -> str:
        return f"its process ended with exit code {self._process.wait()}"


def main(plan_file: str) -> int:
    """Measure what a plan says."""
    path = Path(plan_file)
    result = measured(json.loads(path.read_text(encoding="utf-8")))
    path.with_name("measured.json").write_text(json.dumps(result), encoding="utf-8")
    return 0


def measured(plan: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the costs of each contestant of a plan, in its order.

    Args:
        plan: ``contestants``, each with ``argv``, ``folder`` and ``variables``; how many ``rounds``
            there are, of how many single ``calls``, and after how many ``seconds`` no further
            round begins.
    """
    all_players = [Player(**contestant) for contestant in plan["contestants"]]
    # They load at the same time, which is not measured; a list, as every one has to be waited for.
    players = [player for player in all_players if _kept(player, player.ready)]
    began = time.monotonic()
    for number in range(-1, plan["rounds"]):
        if not players or time.monotonic() - began > plan["seconds"]:
            break
        players = _round(players, number, plan["calls"])
    for player in players:
        player.end()
    return [player.costs for player in all_players]


def _round(players: list[Player], number: int, calls: int) -> list[Player]:
    """Let each play, the first one first in every other round; return who goes on."""
    ordered = players if number % 2 else players[::-1]
    warm_up = number < 0
    share = _WARM_UP_CALLS if warm_up else calls
    lost = [
        player
        for player in ordered
        if not _kept(
            player,
            lambda player=player: player.play(max(number, 0) * calls, share, counts=not warm_up),
        )
    ]
    return [player for player in players if player not in lost]


def _kept(player: Player, step: Any) -> bool:  # noqa: ANN401 -- a callable without arguments
    try:
        step()
    except (LostError, BrokenPipeError) as error:
        player.costs["error"] = str(error) or "its process has ended"
        player.end()
        return False
    return True


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
