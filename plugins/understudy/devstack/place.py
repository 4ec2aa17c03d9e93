"""The paths of a stack's files. Only names; nothing here is created."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[3]
"""The checkout that this file lies in."""


@dataclass(frozen=True)
class StackPlace:
    """The folders and files of one stack.

    Attributes:
        state: The stack's own folder; everything it writes is below.
        checkout: The checkout whose Dags and projects it serves.
        dags: The folder of Dag files.
    """

    state: Path
    checkout: Path = CHECKOUT
    dags: Path = CHECKOUT / "dags"

    @property
    def cache(self) -> Path:
        """Mirrors, checkouts and step environments; kept when a demo starts afresh."""
        return self.checkout / ".state" / "cache"

    @property
    def airflow(self) -> Path:
        """AIRFLOW_HOME."""
        return self.state / "airflow"

    @property
    def mlflow(self) -> Path:
        """The tracking server's database and artifacts."""
        return self.state / "mlflow"

    @property
    def studies(self) -> Path:
        """The studies of searches, one file for each."""
        return self.state / "studies"

    @property
    def git(self) -> Path:
        """What the git server serves: one link to the checkout."""
        return self.state / "git"

    @property
    def logs(self) -> Path:
        """One file per component."""
        return self.state / "logs"

    @property
    def record(self) -> Path:
        """Which processes were started."""
        return self.state / "stack.json"

    @property
    def ports(self) -> Path:
        """Which ports were chosen."""
        return self.state / "ports.json"

    @property
    def lock(self) -> Path:
        """Held while a stack is started or ended; beside the state, which may be removed."""
        return self.state.with_name(f"{self.state.name}.lock")

    @property
    def passwords(self) -> Path:
        """The file, readable by its owner only, with the password of Airflow and MLflow."""
        return self.airflow / "passwords.json"

    @property
    def accounts(self) -> Path:
        """The settings of MLflow's login."""
        return self.mlflow / "accounts.ini"

    @property
    def form_key(self) -> Path:
        """What MLflow signs its own forms with."""
        return self.mlflow / "form.key"

    @property
    def shell(self) -> Path:
        """What a shell reads to reach MLflow; readable by its owner only."""
        return self.state / "mlflow.sh"

    def environment(self, name: str) -> Path:
        """The folder of programs of the virtual environment `name`."""
        return self.checkout / ".state" / "venvs" / name / "bin"

    def log(self, component: str) -> Path:
        """The log file of a component."""
        return self.logs / f"{component}.log"


def stack_place() -> StackPlace:
    """The place of `make up`."""
    return StackPlace(CHECKOUT / ".state" / "stack")


def demo_place() -> StackPlace:
    """The place of `make demo`."""
    return StackPlace(CHECKOUT / ".state" / "demo")


def bench_place() -> StackPlace:
    """The place of `make bench`."""
    folder = CHECKOUT / ".state" / "bench"
    return StackPlace(folder / "stack", CHECKOUT, folder / "dags")
