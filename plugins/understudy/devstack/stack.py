"""Starts, repairs, describes and ends one local stack. Writes below the stack's state folder."""

from __future__ import annotations

import hashlib
import shlex
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

import httpx

from understudy.devstack import components, ports, processes, readiness, settings
from understudy.devstack.airflow_api import Account, AirflowApi
from understudy.devstack.place import StackPlace
from understudy.devstack.processes import Identity
from understudy.devstack.progress import ProgressLines


# `airflow db migrate` takes 5 s of CPU or more even when there is nothing to do; a copy takes none.
# Writes the stack's own database and the template in the shared cache.
def is_migrated(place: StackPlace) -> bool:
    """Whether the stack's database has the tables of the Airflow that is locked now."""
    marker = _marker(place)
    if _database(place).exists():
        return marker.exists() and marker.read_text("ascii") == _version(place)
    template = _template(place)
    if not template.exists():
        return False
    # The marker last: after an interruption in between, the next start migrates, which is slow and
    # never wrong.
    _copy(template, _database(place))
    marker.write_text(_version(place), "ascii")
    return True


def keep(place: StackPlace, *, fresh: bool) -> None:
    """Notes that the database was migrated; a fresh one becomes the template of the next stacks."""
    _marker(place).write_text(_version(place), "ascii")
    # While SQLite's write-ahead log is there, the database file alone is not all of it.
    if fresh and not (place.airflow / "airflow.db-wal").exists():
        template = _template(place)
        template.parent.mkdir(parents=True, exist_ok=True)
        _copy(_database(place), template)


def is_fresh(place: StackPlace) -> bool:
    """Whether there is no database yet."""
    return not _database(place).exists()


def _copy(source: Path, target: Path) -> None:
    draft = target.with_name(f"{target.name}.draft")
    shutil.copyfile(source, draft)
    draft.replace(target)


def _version(place: StackPlace) -> str:
    """The digest of the lock that Airflow was installed from."""
    lock = place.checkout / "requirements" / "airflow.txt"
    return hashlib.sha256(lock.read_bytes()).hexdigest()


def _template(place: StackPlace) -> Path:
    return place.cache / "airflow" / f"{_version(place)}.db"


def _database(place: StackPlace) -> Path:
    return place.airflow / "airflow.db"


def _marker(place: StackPlace) -> Path:
    return place.airflow / "migrated"


Record = processes.ProcessRecord
_COMPONENTS = frozenset({*components.BACKGROUND, *components.AIRFLOW})


@dataclass(frozen=True)
class Addresses:
    """Where a person and a program find the parts of a stack."""

    airflow: str
    mlflow: str
    repository: str


@dataclass
class Stack:
    """One stack of programs on this machine.

    Attributes:
        place: Where its files are.
        progress: Where progress is shown.
    """

    place: StackPlace
    progress: ProgressLines = field(default_factory=ProgressLines)

    def up(self) -> None:
        """Starts the stack, or what is missing of it, and waits until all of it answers.

        Raises:
            StackError: a component does not start, or a Dag file cannot be imported.
        """
        components.require_git_daemon()
        with processes.exclusively(self.place.lock):
            known = processes.read(self.place.record)
            alive = known.alive() if known else {}
            missing = frozenset(name for name in _COMPONENTS if not alive.get(name, False))
            if known and not missing and readiness.airflow_is_healthy(self.api()):
                self.progress.say("the stack is running already")
                # Airflow deletes an error once its file imports, so one of any age is still there.
                readiness.refuse_import_errors(self.api(), datetime.min.replace(tzinfo=UTC))
                return
            # A stack of which something lives is repaired: a demo's nights may be under way.
            if known and missing and missing != _COMPONENTS and self._is_current():
                self._mend(known, missing)
                return
            if known:
                self.progress.say("ending what is left of an earlier stack")
                self._end(known)
            self._start()

    def down(self) -> bool:
        """Ends everything that was started, and nothing else; False when there was nothing."""
        with processes.exclusively(self.place.lock):
            known = processes.read(self.place.record)
            if known is None:
                return False
            with self.progress.phase(f"ending the stack in {self.place.state.name}"):
                self._end(known)
            return True

    def kill(self) -> None:
        """Ends everything at once: its databases are whole, what was under way is lost."""
        known = processes.read(self.place.record)
        if known is not None:
            processes.kill_at_once([*known.processes.values()], self.place.state)
            processes.kill_marked(settings.MARK, known.mark)
            self.place.record.unlink(missing_ok=True)

    def state(self) -> dict[str, bool]:
        """Whether each component runs; empty when the stack was not started."""
        known = processes.read(self.place.record)
        return known.alive() if known else {}

    def addresses(self) -> Addresses:
        """Where the parts of the stack are, once it was started."""
        chosen = ports.remembered(self.place.ports)
        return Addresses(
            settings.airflow_url(chosen),
            settings.mlflow_url(chosen),
            settings.repository_url(chosen),
        )

    def api(self) -> AirflowApi:
        """A client of the running Airflow."""
        password = settings.password(self.place)
        return AirflowApi(Account(self.addresses().airflow, settings.USER, password))

    def _is_current(self) -> bool:
        """Whether it was started by this version: an earlier one had fewer ports, or no login."""
        known = set(components.PORTS) <= set(ports.remembered(self.place.ports))
        return known and self.place.form_key.exists()

    def _start(self) -> None:
        self.place.state.mkdir(mode=0o700, parents=True, exist_ok=True)
        chosen = ports.choose(components.PORTS, ports.remembered(self.place.ports))
        ports.remember(self.place.ports, chosen)
        settings.write(self.place, chosen)
        components.link_repository(self.place)
        try:
            _Start(self.place, chosen, self.progress).run()
        except KeyboardInterrupt:
            self.kill()
            raise

    def _mend(self, known: Record, missing: frozenset[str]) -> None:
        """Starts what has died, beside what lives; what it left behind is ended first."""
        self.progress.say(f"starting what is missing: {', '.join(sorted(missing))}")
        dead = [known.processes[name] for name in missing if name in known.processes]
        processes.end(dead, self.place.state)
        chosen = ports.remembered(self.place.ports)
        try:
            _Start(self.place, chosen, self.progress, known).mend(missing)
        except KeyboardInterrupt:
            # What lived before goes on, with the nights that it may be in.
            now = processes.read(self.place.record) or known
            begun = [now.processes[name] for name in missing if name in now.processes]
            processes.kill_at_once(begun, self.place.state)
            raise

    def _end(self, known: Record) -> None:
        recorded = known.processes
        # A migration, or a component of an earlier version, is in no order and ends with the first.
        others = tuple(name for name in recorded if name not in {*sum(components.STOP_ORDER, ())})
        for names in ((*components.STOP_ORDER[0], *others), *components.STOP_ORDER[1:]):
            leaders = [recorded[name] for name in names if name in recorded]
            processes.end(leaders, self.place.state)
        # Last, by the mark: tasks and steps have sessions of their own, and may have lost their
        # parents.
        processes.kill_marked(settings.MARK, known.mark)
        self.place.record.unlink()


class _Start:
    """One start of a stack; keeps the record as it goes."""

    def __init__(
        self,
        place: StackPlace,
        chosen: Mapping[str, int],
        progress: ProgressLines,
        known: Record | None = None,
    ) -> None:
        self._place, self._progress = place, progress
        self._record = known or Record()
        environment = settings.environment(place, chosen, self._record.mark)
        self._setting = components.Setting(place, chosen, environment)
        processes.write(place.record, self._record)

    def run(self) -> None:
        """Starts everything, in the order in which each can be useful to the next."""
        background = self._launch(components.BACKGROUND)
        if not is_migrated(self._place):
            with self._progress.phase("Airflow's database"):
                fresh = is_fresh(self._place)
                migration = self._launch_one("migration")
                watch = self._watch(("migration",))
                readiness.wait_for_exit(migration, watch, "migration")
                keep(self._place, fresh=fresh)
        began = datetime.now(UTC)  # Dag files are read while MLflow's server starts
        airflow = self._launch(components.AIRFLOW)
        with self._progress.phase("MLflow's server and the git server"):
            self._await_background(self._watch(background))
        with self._progress.phase("Airflow's components and the Dags"):
            watch = replace(self._watch((*background, *airflow)), began=began)
            api = self._await_healthy(watch)
            watch.until(lambda: readiness.dags_are_parsed(api, watch), "parsing the Dags")

    def mend(self, missing: frozenset[str]) -> None:
        """Starts some components beside those that live, and waits until all of them answer."""
        for name in (*components.BACKGROUND, *components.AIRFLOW):
            if name in missing:
                self._launch_one(name)
        with self._progress.phase("what was missing"):
            watch = self._watch((*components.BACKGROUND, *components.AIRFLOW))
            self._await_background(watch)
            self._await_healthy(watch)

    def _launch(self, names: Sequence[str]) -> Sequence[str]:
        for name in names:
            self._launch_one(name)
        return names

    def _launch_one(self, name: str) -> subprocess.Popen[bytes]:
        def record(identity: Identity) -> None:
            self._record = self._record.with_process(name, identity)
            processes.write(self._place.record, self._record)

        return processes.start(components.program(name, self._setting), record)

    def _watch(self, names: Sequence[str]) -> readiness.Watch:
        watched = {name: self._record.processes[name] for name in names}
        return readiness.Watch(self._place, watched)

    def _await_background(self, watch: readiness.Watch) -> None:
        chosen = self._setting.ports
        url = settings.mlflow_url(chosen)
        with httpx.Client(base_url=url, timeout=30, trust_env=False) as client:
            watch.until(lambda: readiness.answers(client, "/health"), "MLflow's server")
            readiness.log_in(client, settings.password(self._place), self._place.passwords)
        repository = settings.repository_url(chosen)
        watch.until(lambda: readiness.serves_git(repository), "the git server")

    def _await_healthy(self, watch: readiness.Watch) -> AirflowApi:
        chosen, password = self._setting.ports, settings.password(self._place)
        api = AirflowApi(Account(settings.airflow_url(chosen), settings.USER, password))
        tasks = f"{settings.task_api_url(chosen)}health"
        watch.until(lambda: readiness.airflow_is_healthy(api), "Airflow")
        # The first call builds the interface, which takes seconds: not those of the first task.
        with httpx.Client(timeout=30, trust_env=False) as client:
            watch.until(lambda: readiness.answers(client, tasks), "Airflow's interface for tasks")
        return api


def describe(stack: Stack) -> str:
    """How to get in; the last three lines are to be copied: shell, tracking server, page."""
    addresses = stack.addresses()
    activation = stack.place.environment("airflow") / "activate"
    return "\n".join(
        (
            f"  Airflow     {addresses.airflow}",
            f"  MLflow      {addresses.mlflow}",
            f"  both ask    user {settings.USER}, password {settings.password(stack.place)}",
            f"  this clone  {addresses.repository}",
            f"  logs        {stack.place.logs}",
            "  make down ends it. For a shell with understudy, mlflow and uv, and for the browser:",
            "",
            f"    . {shlex.quote(str(activation))}",
            f"    . {shlex.quote(str(stack.place.shell))}",
            f"    {addresses.airflow}/plugin/champions",
        )
    )
