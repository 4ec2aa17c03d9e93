"""The demo: a fresh stack, one pipeline's nights run by the scheduler, and whether all went well.

Writes below the demo's own state folder and the shared cache; the checkout is only read.
"""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from understudy.devstack import nights
from understudy.devstack.follow import RunFollower
from understudy.devstack.place import StackPlace
from understudy.devstack.processes import StackError
from understudy.devstack.progress import ProgressLines
from understudy.devstack.stack import Stack, describe

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

PIPELINE = "diabetes"
NIGHTS = 4
"""How many nights a demo has at least."""


@dataclass
class Demo:
    """One demo on a stack of its own.

    Attributes:
        place: Where the stack's files are; what an earlier demo left there is removed.
        progress: Where it says what it does.
    """

    place: StackPlace
    progress: ProgressLines = field(default_factory=ProgressLines)

    def run(self) -> int:
        """Runs the demo; 0 when everything that it is to show has happened, else 1.

        Raises:
            StackError: the stack does not start, or a night fails.
        """
        self._warn_of_changes()
        stack = Stack(self.place, self.progress)
        stack.down()
        self._start_afresh()
        stack.up()
        self.progress.show(describe(stack))
        self._run_nights(stack)
        lacking = self._show_nights(stack)
        self._show_phases()
        self.progress.show(describe(stack))
        return self._close(lacking)

    def _warn_of_changes(self) -> None:
        argv = ["git", "-C", str(self.place.checkout), "status", "--porcelain", "--", "mlproject"]
        changes = subprocess.run(argv, check=True, capture_output=True, text=True).stdout
        if changes:
            self.progress.say("mlproject/ has changes that are not committed; the demo runs HEAD:")
            self.progress.show(changes.rstrip())

    def _start_afresh(self) -> None:
        """Removes everything of the last demo but its ports, so that its addresses stay."""
        kept = self.place.ports.read_bytes() if self.place.ports.exists() else None
        if self.place.state.exists():
            shutil.rmtree(self.place.state)
        self.place.state.mkdir(mode=0o700, parents=True)
        if kept is not None:
            self.place.ports.write_bytes(kept)

    def _run_nights(self, stack: Stack) -> None:
        api = stack.api()
        with self.progress.phase(f"The nights of {PIPELINE}, as the scheduler comes to them"):
            api.pause(PIPELINE, paused=False)
            RunFollower(api, PIPELINE, self.progress, NIGHTS).to_the_end()

    def _show_nights(self, stack: Stack) -> list[str]:
        client = _client(stack.addresses().mlflow)
        reports = nights.read_nights(client, PIPELINE)
        width = shutil.get_terminal_size((120, 24)).columns
        self.progress.show(f"\n{nights.as_table(reports, width)}\n")
        lacking = nights.missing(reports, nights.champion_version(client, PIPELINE))
        if len(reports) < NIGHTS:
            lacking.insert(0, f"{NIGHTS} nights (there were {len(reports)})")
        return lacking

    def _show_phases(self) -> None:
        for name, seconds in self.progress.phases.items():
            self.progress.show(f"  {seconds:7.1f} s  {name}")
        self.progress.show(f"  {self.progress.elapsed():7.1f} s  in all\n")

    def _close(self, lacking: list[str]) -> int:
        if not lacking:
            self.progress.say("the demo went as it should")
            return 0
        listing = "; ".join(lacking)
        raise StackError(
            f"The demo ended without: {listing}",
            allowed="nights with every outcome",
            action="compare the table above with dags/diabetes.py; the stack is still running",
        )


def _client(url: str) -> MlflowClient:
    from mlflow.tracking import MlflowClient

    return MlflowClient(tracking_uri=url, registry_uri=url)
