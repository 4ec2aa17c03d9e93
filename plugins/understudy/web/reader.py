"""Reads from MLflow what the pages show, and keeps it for a while. Writes and restores nothing.

A page costs at most four calls of MLflow, however many nights there are; what was read is kept by
pipeline and never by user, so whoever asks must be authorised first. While MLflow is away, what was
read last is given with the time at which that was.

MLflow takes two milliseconds for each run that it returns. So a page's first answer has a part of
the nights, the others are read meanwhile, and for some minutes after that only the latest are asked
for. What changes in an older one is seen when all are read again, which nobody waits for.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar, cast

from understudy.contract import DECISION_RECORD, DECISION_SUMMARY, Kind, Tag
from understudy.errors import ArtifactChangedError, TrackingUnavailableError, UnderstudyError
from understudy.redact import redacted
from understudy.registry.history import History, joined
from understudy.registry.history_log import EXPERIMENT, entries
from understudy.store.artifacts import check_seal, seal
from understudy.store.tracking import quoted, refusals, tracking_errors
from understudy.web.state import NightRow, NightState, PipelineState, Production

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.tracking import MlflowClient

T = TypeVar("T")
_LOG = logging.getLogger(__name__)

NIGHTS: Final = 90
"""Nights of one page of a pipeline."""
STRIP: Final = 14
"""Nights of a pipeline on the page of all champions."""
TIMEOUT: Final = 3
"""Seconds that a call of MLflow may take."""
_FRESH: Final = 10.0
"""Seconds for which what may change is not asked for again."""
_ASKED_FOR_ANEW: Final = 1.0
"""The same, for who has just acted."""
_WHOLE_FOR: Final = 300.0
"""Seconds for which nights that are not among the latest are not asked for again."""
_LATEST: Final = 8
"""Nights of a pipeline that are."""
_LATEST_OF_ALL: Final = 40
"""The same of all pipelines together."""
_AT_ONCE: Final = 45
"""Nights of a pipeline for which a page waits where none are known."""
_AT_ONCE_OF_ALL: Final = 100
"""The same of all pipelines together."""
_SETTLED_FOR: Final = 3600.0
_BETWEEN: Final = 0.5
"""Seconds in which whoever stores a decision has written its digest, too."""
_PAUSE: Final = 5.0
"""Seconds in which a server that did not answer is left alone."""
_KEPT: Final = 256
"""Pages and decisions that are kept."""
_PIPELINES: Final = 64
"""Pipelines whose nights are kept, some hundreds of kilobytes each."""
_PAGE: Final = 1000
_OVERVIEW: Final = 300
"""Nights of all pipelines together that are read at least: some may have several a day."""
_STEPS: Final = 200
_LARGEST: Final = 8_000_000
"""Bytes of a decision record that a page is still drawn of."""


@dataclass(frozen=True, slots=True)
class Seen(Generic[T]):
    """What was read, when, and whether MLflow is away now, so that it may be out of date."""

    value: T
    at: datetime
    stale: bool = False


class Shelf:
    """Keeps what was read by key; for each key one reader at a time asks, and the others wait."""

    def __init__(self, most: int = _KEPT, clock: Callable[[], float] = time.monotonic) -> None:
        self._most, self._clock = most, clock
        self._kept: OrderedDict[tuple[str, ...], tuple[float, datetime, Any]] = OrderedDict()
        self._locks: defaultdict[tuple[str, ...], threading.Lock] = defaultdict(threading.Lock)
        self._guard = threading.Lock()
        self._away: tuple[float, UnderstudyError] | None = None

    def get(self, key: tuple[str, ...], read: Callable[[], T], seconds: float) -> Seen[T]:
        """Return what is kept under a key, read anew where it is older than so many seconds.

        Raises:
            UnderstudyError: when MLflow does not answer and nothing is kept.
        """
        with self._guard:
            lock = self._locks[key]
        with lock:
            kept = self._kept.get(key)
            if kept is not None and self._clock() - kept[0] < seconds:
                return Seen(cast("T", kept[2]), kept[1])
            try:
                value = self._asked(read)
            except UnderstudyError:
                if kept is None:
                    raise
                return Seen(cast("T", kept[2]), kept[1], stale=True)
            now = datetime.now(UTC)
            self._keep(key, (self._clock(), now, value))
            return Seen(value, now)

    def refuse_away(self) -> None:
        """Raise what was known of a server that was away a moment ago.

        Else every page, and each call of one page, would wait for its timeout.
        """
        away = self._away
        if away is not None and self._clock() - away[0] < _PAUSE:
            raise away[1]

    def _asked(self, read: Callable[[], T]) -> T:
        self.refuse_away()
        try:
            value = read()
        except TrackingUnavailableError as error:
            self._away = (self._clock(), error)
            raise
        self._away = None
        return value

    def _keep(self, key: tuple[str, ...], entry: tuple[float, datetime, Any]) -> None:
        with self._guard:
            self._kept[key] = entry
            self._kept.move_to_end(key)
            while len(self._kept) > self._most:
                dropped, _ = self._kept.popitem(last=False)
                self._locks.pop(dropped, None)


Search = Callable[..., list[NightRow]]
"""Returns at most so many nights, the latest first; of those that meet a further condition."""


@dataclass(frozen=True, slots=True)
class _Known:
    """Nights of a pipeline, the latest first, and when all of them were read; None for a part."""

    rows: list[NightRow] = field(default_factory=list)
    at: float | None = None


class Nights:
    """Keeps the nights of pipelines, and asks then for the latest of them alone.

    MLflow works for two milliseconds on each night that it returns. So who comes first is given a
    part of them, and the others are read meanwhile.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._kept: OrderedDict[str, _Known] = OrderedDict()
        self._asking: set[str] = set()
        self._guard, self._turn = threading.Lock(), threading.Lock()

    def get(
        self, key: str, search: Search, at_once: int, latest: int
    ) -> tuple[list[NightRow], bool]:
        """Return a pipeline's nights, the latest first, and whether these are all.

        Args:
            key: The pipeline, '' for all.
            search: Asks for them.
            at_once: How many are asked for where none are known.
            latest: How many are asked for where the others are known.
        """
        with self._guard:
            known = self._kept.get(key, _Known())
        # Fewer are known than are asked for anew: that is all of them.
        if len(known.rows) <= latest:
            return self._began(key, search(at_once), at_once)
        found = search(latest)
        seen = {row.run_id for row in found}
        followed = any(row.run_id in seen for row in known.rows)
        # A night that ran may have ended since, and many may have been added.
        if not followed or any(row.running and row.run_id not in seen for row in known.rows):
            found = search(at_once)
            seen = {row.run_id for row in found}
            if not any(row.run_id in seen for row in known.rows):
                return self._began(key, found, at_once)
        rows = [*found, *_others(known.rows, seen, found[-1].started)]
        with self._guard:
            if self._kept.get(key) is known:
                self._kept[key] = _Known(rows[: len(known.rows)], known.at)
        return rows, known.at is not None

    def complete(self, key: str, search: Search, most: int) -> None:
        """Read all nights where they are not known, or for long.

        That happens in a thread, by calls that are no longer than a page's own.
        """
        with self._guard:
            at = self._kept.get(key, _Known()).at
            is_due = at is None or self._clock() - at > _WHOLE_FOR
            if is_due and key not in self._asking:
                self._asking.add(key)
                later = threading.Thread(target=self._later, args=(key, search, most), daemon=True)
                later.start()

    def _began(self, key: str, rows: list[NightRow], at_once: int) -> tuple[list[NightRow], bool]:
        are_all = len(rows) < at_once
        self._keep(key, _Known(rows, self._clock() if are_all else None))
        return rows, are_all

    def _keep(self, key: str, known: _Known) -> None:
        with self._guard:
            self._kept[key] = known
            self._kept.move_to_end(key)
            while len(self._kept) > _PIPELINES:
                self._kept.popitem(last=False)

    def _later(self, key: str, search: Search, most: int) -> None:
        # One at a time: MLflow answers whoever waits for a page meanwhile.
        try:
            with self._turn:
                self._keep(key, _Known(_all(search, most), self._clock()))
        except UnderstudyError as error:
            _LOG.info("The nights could not be read: %s", error)
        finally:
            with self._guard:
                self._asking.discard(key)


def _others(rows: Iterable[NightRow], seen: Collection[str], earliest: int) -> list[NightRow]:
    return [row for row in rows if row.run_id not in seen and row.started <= earliest]


def _all(search: Search, most: int) -> list[NightRow]:
    """Return so many nights, the latest first, some at a time."""
    rows: list[NightRow] = []
    while len(rows) < most:
        # Also what began in the same millisecond as the last one.
        also = f"attributes.start_time <= {rows[-1].started}" if rows else ""
        found = search(_AT_ONCE_OF_ALL, also)
        new = _others(found, {row.run_id for row in rows}, found[0].started if found else 0)
        rows += new
        if not new or len(found) < _AT_ONCE_OF_ALL:
            break
    return rows[:most]


@dataclass(frozen=True, slots=True)
class _Decision:
    """The record of a night and what its pictures are drawn from; or which of them has changed."""

    record: Mapping[str, Any] | None = None
    summary: Mapping[str, Any] | None = None
    changed: str = ""


class PageReader:
    """Reads pipelines, champions and nights of one tracking server.

    Args:
        connect: Returns a client of the server, and is called when something is read first.

    Raises:
        UnderstudyError: from every method, when MLflow cannot be read and nothing is kept.
    """

    def __init__(self, connect: Callable[[], MlflowClient]) -> None:
        self._connect, self._shelf, self._nights = connect, Shelf(), Nights()
        self._client: MlflowClient | None = None
        self._connecting = threading.Lock()

    def warm(self) -> None:
        """Import and connect, so that the first page need not wait for it."""
        self._mlflow()

    def overview(self, *, anew: bool = False) -> Seen[tuple[PipelineState, ...]]:
        """Return every pipeline with its last nights, in the order of their names."""
        return self._shelf.get(("overview",), self._overview, _seconds(anew=anew))

    def pipeline(self, name: str, before: int = 0, *, anew: bool = False) -> Seen[PipelineState]:
        """Return a pipeline with its nights.

        Args:
            name: The Dag's id.
            before: Milliseconds since 1970: nights that began earlier; 0 for the latest ones.
            anew: Whether who asks has just changed something.
        """
        key = ("pipeline", name, str(before))
        return self._shelf.get(key, lambda: self._pipeline(name, before), _seconds(anew=anew))

    def night(self, name: str, dag_run: str = "", run_id: str = "") -> Seen[NightState | None]:
        """Return a night of a pipeline by its Dag run or by its MLflow run; None for no such one.

        A run that is another pipeline's is none, whatever its id.
        """
        seen = self._night_seen(name, dag_run, run_id, _FRESH)
        state, told = seen.value, self._decided(seen.value)
        if state is None or told is None:
            return seen
        if told.value.changed and told.at > seen.at:
            # It may have been judged again since its tags were read; whoever stores a decision
            # writes the record first and its digest a moment later.
            time.sleep(_BETWEEN)
            seen = self._night_seen(name, dag_run, run_id, 0)
            state = seen.value or state
            told = self._decided(state) or told
        decision = told.value
        found = replace(
            state, record=decision.record, summary=decision.summary, changed=decision.changed
        )
        return replace(seen, value=found)

    def _night_seen(
        self, name: str, dag_run: str, run_id: str, seconds: float
    ) -> Seen[NightState | None]:
        key = ("night", name, dag_run, run_id)
        return self._shelf.get(key, lambda: self._night(name, dag_run, run_id), seconds)

    def _decided(self, state: NightState | None) -> Seen[_Decision] | None:
        """Return the decision of a night; None where its gate has not judged."""
        if state is None or not state.night.tag(Tag.VERDICT):
            return None
        night = state.night
        # End and digest are part of the key: a night that is run again has others.
        digest = night.tags.get(seal(DECISION_RECORD), "")
        key = ("decision", night.run_id, str(night.ended), digest)
        settled = _FRESH if night.running else _SETTLED_FOR
        return self._shelf.get(key, lambda: self._decision(night), settled)

    def _mlflow(self) -> MlflowClient:
        with self._connecting:
            if self._client is None:
                self._client = self._connect()
            return self._client

    def _experiments(self, seconds: float = 0) -> Mapping[str, str]:
        """Return the ids of all experiments by name, asked for anew after so many seconds."""
        known = self._shelf.get(("experiments",), self._named, seconds)
        if known.stale:
            self._shelf.refuse_away()
        return known.value

    def _named(self) -> Mapping[str, str]:
        found: dict[str, str] = {}
        token: str | None = None
        with refusals(), tracking_errors():
            while True:
                page = self._mlflow().search_experiments(max_results=_PAGE, page_token=token)
                found |= {one.name: str(one.experiment_id) for one in page}
                token = page.token
                if not token:
                    return found

    def _rows(
        self, experiments: Mapping[str, str], tags: Mapping[Tag, str], most: int, also: str = ""
    ) -> list[NightRow]:
        """Return runs with these tags, the latest first; those in MLflow's trash are none."""
        others = [one for name, one in experiments.items() if name != EXPERIMENT]
        if not others:
            return []
        told = self._called(
            "/api/2.0/mlflow/runs/search",
            experiment_ids=others,
            filter=_condition(tags, also),
            max_results=most,
            order_by=["attributes.start_time DESC"],
        )
        return [NightRow.of(run) for run in told.get("runs", ())]

    def _called(self, path: str, **asked: Any) -> Mapping[str, Any]:
        """Return what a call of MLflow answers.

        MLflow's client takes a millisecond for each run to make objects of this, with the lock that
        all of Airflow's API server needs meanwhile; the text alone takes a tenth of that.
        """
        from mlflow.utils.credentials import get_default_host_creds
        from mlflow.utils.rest_utils import http_request, verify_rest_response

        access = get_default_host_creds(self._mlflow().tracking_uri)  # type: ignore[no-untyped-call]
        with refusals(), tracking_errors():
            answer = http_request(access, path, "POST", json=asked)  # type: ignore[no-untyped-call]
            checked = verify_rest_response(answer, path)
            found: Mapping[str, Any] = json.loads(checked.text)
        return found

    def _chapters(
        self, experiments: Mapping[str, str], most: int, model: str = ""
    ) -> Mapping[str, Sequence[Run]]:
        """Return the runs with the last moves of a model, or of all, by model."""
        history = experiments.get(EXPERIMENT)
        found: defaultdict[str, list[Run]] = defaultdict(list)
        if history is None:
            return found
        tags = {Tag.KIND: Kind.HISTORY.value, **({Tag.MODEL: model} if model else {})}
        with refusals(), tracking_errors():
            runs = self._mlflow().search_runs(
                [history],
                filter_string=_condition(tags),
                max_results=most,
                order_by=["attributes.start_time DESC"],
            )
        for run in runs:
            found[run.data.tags.get(Tag.MODEL.value, "")].append(run)
        return found

    def _overview(self) -> tuple[PipelineState, ...]:
        experiments = self._experiments()

        def search(most: int, also: str = "") -> list[NightRow]:
            rows = self._rows(experiments, {Tag.KIND: Kind.NIGHT.value}, most, also)
            # This page draws no numbers, and there may be a thousand nights.
            return [replace(row, metrics={}, parameters={}) for row in rows]

        nights: defaultdict[str, list[NightRow]] = defaultdict(list)
        rows, are_all = self._nights.get("", search, _AT_ONCE_OF_ALL, _LATEST_OF_ALL)
        for row in rows:
            if len(of := nights[row.tag(Tag.PIPELINE)]) < STRIP:
                of.append(row)
        with refusals(), tracking_errors():
            models = self._mlflow().search_registered_models(max_results=_PAGE)
        # A pipeline whose last night lies behind those of busier ones is known by its model.
        owned = {one.tags.get(Tag.PIPELINE.value, ""): one.name for one in models}
        for name in owned:
            nights.setdefault(name, [])
        chapters = self._chapters(experiments, _PAGE)
        aliases = {one.name: {k: str(v) for k, v in one.aliases.items()} for one in models}
        # Last, so that MLflow answers this page first.
        self._nights.complete("", search, max(_OVERVIEW, STRIP * len(nights)))
        return tuple(
            PipelineState(
                name,
                tuple(own),
                _production(_model(own) or owned.get(name, ""), aliases, chapters),
                partly=not are_all,
            )
            for name, own in sorted(nights.items())
            if name
        )

    def _pipeline(self, name: str, before: int) -> PipelineState:
        experiments = self._experiments()
        tags = {Tag.PIPELINE: name, Tag.KIND: Kind.NIGHT.value}
        search = partial(self._rows, experiments, tags)
        # One more than is shown says whether there are any earlier.
        if before:
            found, are_all = search(NIGHTS + 1, f"attributes.start_time < {before}"), True
        else:
            found, are_all = self._nights.get(name, search, _AT_ONCE, _LATEST)
        rows = found[:NIGHTS]
        model = _model(rows)
        if not model:
            return PipelineState(name, tuple(rows), Production("", {}, History("")))
        aliases = {model: self._aliases(model)}
        chapters = self._chapters(experiments, 3, model)
        earlier = rows[-1].started if len(found) > NIGHTS else 0
        # Last, so that MLflow answers this page first.
        if not before:
            self._nights.complete(name, search, NIGHTS + 1)
        production = _production(model, aliases, chapters)
        return PipelineState(name, tuple(rows), production, earlier, not are_all)

    def _aliases(self, model: str) -> Mapping[str, str]:
        with refusals(), tracking_errors():
            found = self._mlflow().search_registered_models(f"name = '{quoted(model)}'")
        return {k: str(v) for one in found for k, v in one.aliases.items()}

    def _night(self, name: str, dag_run: str, run_id: str) -> NightState | None:
        known = self._experiments(_WHOLE_FOR)
        found = self._night_among(known, name, dag_run, run_id)
        if found is None and (now := self._experiments()) != known:
            return self._night_among(now, name, dag_run, run_id)
        return found

    def _night_among(
        self, experiments: Mapping[str, str], name: str, dag_run: str, run_id: str
    ) -> NightState | None:
        if run_id and not dag_run:
            also = f"attributes.run_id = '{quoted(run_id)}'"
            tags = {Tag.PIPELINE: name, Tag.KIND: Kind.NIGHT.value}
            found = self._rows(experiments, tags, 1, also)
            dag_run = found[0].tag(Tag.DAG_RUN_ID) if found else ""
            if found and not dag_run:
                return NightState(found[0], ())
        if not dag_run:
            return None
        # Tags hold a Dag run's id without what looks like a secret in it.
        tags = {Tag.DAG_ID: name, Tag.DAG_RUN_ID: redacted(dag_run)}
        rows = self._rows(experiments, tags, _STEPS)
        nights = [row for row in rows if _is_night(row, name)]
        if not nights:
            return None
        night = next((row for row in nights if row.run_id == run_id), nights[0])
        steps = sorted((row for row in rows if row not in nights), key=lambda row: row.started)
        return NightState(night, tuple(steps))

    def _decision(self, night: NightRow) -> _Decision:
        try:
            record = self._document(night, DECISION_RECORD)
            summary = None if record is None else self._document(night, DECISION_SUMMARY)
        except ArtifactChangedError as error:
            return _Decision(changed=str(error))
        return _Decision(record, summary)

    def _document(self, night: NightRow, path: str) -> Mapping[str, Any] | None:
        """Return a JSON object among a run's artifacts; None where there is none.

        By the server that knows the run, which may read stores that Airflow's may not.

        Raises:
            ArtifactChangedError: when it is not the one that was stored.
        """
        from mlflow.utils.credentials import get_default_host_creds
        from mlflow.utils.rest_utils import http_request

        access = get_default_host_creds(self._mlflow().tracking_uri)  # type: ignore[no-untyped-call]
        asked = {"run_uuid": night.run_id, "path": path}
        with refusals(), tracking_errors():
            answer = http_request(  # type: ignore[no-untyped-call]
                access, "/get-artifact", "GET", params=asked, stream=True
            )
        with answer:
            if answer.status_code != 200:  # noqa: PLR2004 -- the server has no such file
                return None
            text = answer.raw.read(_LARGEST + 1, decode_content=True)
        if len(text) > _LARGEST:
            return None
        check_seal(night.tags, night.run_id, path, text)
        try:
            found = json.loads(text)
        except ValueError:
            return None
        return found if isinstance(found, dict) else None


def _seconds(*, anew: bool) -> float:
    return _ASKED_FOR_ANEW if anew else _FRESH


def _condition(tags: Mapping[Tag, str], also: str = "") -> str:
    conditions = [f"tags.`{tag.value}` = '{quoted(value)}'" for tag, value in tags.items()]
    return " and ".join([*conditions, *filter(None, [also])])


def _is_night(row: NightRow, name: str) -> bool:
    return row.tag(Tag.KIND) == Kind.NIGHT and row.tag(Tag.PIPELINE) == name


def _model(rows: Iterable[NightRow]) -> str:
    """Return the registered model that the last of some nights names; '' for none."""
    return next((row.tag(Tag.MODEL) for row in rows if row.tag(Tag.MODEL)), "")


def _production(
    model: str,
    aliases: Mapping[str, Mapping[str, str]],
    chapters: Mapping[str, Sequence[Run]],
) -> Production:
    """Return what is in production of a model."""
    known = aliases.get(model, {})
    # Runs that nobody wrote a move to are spare ones; MLflow may give two of the same number.
    try:
        parts = {
            int(run.data.tags.get(Tag.HISTORY_CHAPTER.value, "0")): part
            for run in chapters.get(model, ())
            if (part := entries(model, run)).entries
        }
    # Whoever may edit the experiment of the histories may have written anything there.
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        return Production(model, known, History(model), f"{type(error).__name__}: {error}")
    return Production(model, known, joined(model, [parts[number] for number in sorted(parts)]))
