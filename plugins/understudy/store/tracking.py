"""MLflow runs that can be made again without harm. Touches the tracking server only.

MLflow repeats a POST whose answer was lost, so one ``create_run`` can make two runs. Each run of
ours carries a key as a tag: after creating, look it up, keep the eldest.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from understudy.contract import Tag
from understudy.errors import TrackingRefusedError, TrackingUnavailableError, UnderstudyError
from understudy.redact import plain_lines, plain_tag, redacted

if TYPE_CHECKING:
    from mlflow.entities import DatasetInput, Run
    from mlflow.exceptions import MlflowException
    from mlflow.tracking import MlflowClient

RUNNING = "attributes.status = 'RUNNING'"
"""Condition of a search: the run has not ended."""
_PARENT = "mlflow.parentRunId"
_OPENS_AS_TRAINING = {"mlflow.experimentKind": "custom_model_development"}
"""Without it MLflow's UI opens an experiment in its layout for language models."""
_PASSING = frozenset({"INTERNAL_ERROR", "TEMPORARILY_UNAVAILABLE", "REQUEST_LIMIT_EXCEEDED"})
_ATTEMPTS_TO_LOG = 4
_FORBIDDEN = {
    "UNAUTHENTICATED": HTTPStatus.UNAUTHORIZED,
    "CUSTOMER_UNAUTHORIZED": HTTPStatus.UNAUTHORIZED,
    "PERMISSION_DENIED": HTTPStatus.FORBIDDEN,
}
_NO_MLFLOW = "ENDPOINT_NOT_FOUND"
_FINAL = frozenset({"RESOURCE_DOES_NOT_EXIST", "NOT_FOUND"})
_PARAM_NAME = re.compile(r"[/\w.\- :]{1,250}")
# Characters; some of MLflow's stores take no longer value.
_LONGEST_PARAM = 500
# Characters; MLflow refuses tag values above its own limit.
_REASON_LIMIT = 5000


@dataclass(frozen=True, slots=True)
class RunSpec:
    """A run to have. ``key`` is its identity: the same key never makes a second run."""

    experiment_id: str
    key: str
    name: str
    tags: Mapping[str, str] = field(default_factory=dict)
    parent_run_id: str | None = None

    def all_tags(self) -> dict[str, str]:
        """Return the tags with the key and the parent among them."""
        parent = {_PARENT: self.parent_run_id} if self.parent_run_id else {}
        return {**self.tags, **parent, Tag.KEY.value: self.key}


class RunStore:
    """Creates, finds and ends the runs of one tracking server.

    Raises:
        TrackingUnavailableError: from every method, when the server does not answer.
    """

    def __init__(self, client: MlflowClient) -> None:
        self._client = client

    def experiment(self, name: str) -> str:
        """Return the id of the experiment of that name; created if missing, restored if deleted."""
        with tracking_errors():
            found = self._client.get_experiment_by_name(name)
            if found is None:
                return self._new_experiment(name)
            if found.lifecycle_stage == "deleted":
                self._client.restore_experiment(found.experiment_id)
            return str(found.experiment_id)

    def _new_experiment(self, name: str) -> str:
        from mlflow.exceptions import MlflowException

        # Steps of several pipelines may begin at once: who comes second takes what the first made.
        try:
            return str(self._client.create_experiment(name, tags=_OPENS_AS_TRAINING))
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        return self.experiment(name)

    def ensure(self, spec: RunSpec) -> str:
        """Return the id of the one run with ``spec.key``; afterwards it exists and is RUNNING."""
        return str(self.ensured(spec).info.run_id)

    def ensured(self, spec: RunSpec) -> Run:
        """Return the one run with ``spec.key``, as it was found or made; it is RUNNING now.

        Made first and looked for afterwards: keys repeat only when something went wrong.
        """
        with tracking_errors():
            made = self._client.create_run(
                spec.experiment_id, tags=spec.all_tags(), run_name=spec.name
            )
            # Newest first, so that the last one is the eldest: whoever else made one with this key
            # keeps the same, and no run is deleted that another has returned.
            *twins, run = self.tagged(spec.experiment_id, Tag.KEY, spec.key) or [made]
            for twin in twins:
                self._client.delete_run(twin.info.run_id)
            if run.info.status != "RUNNING":
                self._client.update_run(run.info.run_id, status="RUNNING")
            return run

    def tagged(self, experiment_id: str, tag: Tag, value: str, limit: int = 100) -> list[Run]:
        """Return up to ``limit`` runs with that tag value, the newest first."""
        return self.search(experiment_id, {tag: value}, limit=limit)

    def search(
        self,
        experiment_id: str | list[str],
        tags: Mapping[Tag, str],
        also: str = "",
        limit: int = 100,
        *,
        deleted: bool = False,
    ) -> list[Run]:
        """Return up to ``limit`` runs with all of these tag values, the newest first.

        Args:
            experiment_id: Where to look: one, or several.
            tags: Tag values that a run must have.
            also: A further condition in MLflow's filter language.
            limit: The most runs to return.
            deleted: Whether to return those in MLflow's trash, too.
        """
        from mlflow.entities import ViewType

        conditions = [f"tags.`{tag.value}` = '{quoted(value)}'" for tag, value in tags.items()]
        with tracking_errors():
            found = self._client.search_runs(
                [experiment_id] if isinstance(experiment_id, str) else experiment_id,
                filter_string=" and ".join([*conditions, *filter(None, [also])]),
                run_view_type=ViewType.ALL if deleted else ViewType.ACTIVE_ONLY,
                max_results=limit,
                order_by=["attributes.start_time DESC"],
            )
        # With the id: of runs that began in the same millisecond the first must be the same one for
        # everybody.
        return sorted(found, key=lambda run: (run.info.start_time, run.info.run_id), reverse=True)

    def get(self, run_id: str) -> Run:
        """Return a run by its id."""
        with tracking_errors():
            return self._client.get_run(run_id)

    def found(self, run_id: str) -> Run | None:
        """Return a run by its id, also one in MLflow's trash; None where there is none."""
        from mlflow.exceptions import MlflowException

        try:
            return self.get(run_id)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            return None

    def exists(self, run_id: str) -> bool:
        """Return whether there is a run of that id that was not deleted."""
        run = self.found(run_id)
        return run is not None and run.info.lifecycle_stage == "active"

    def delete(self, run_id: str) -> None:
        """Put a run into MLflow's trash."""
        with tracking_errors():
            self._client.delete_run(run_id)

    def is_within(self, run_id: str, outer: str, parents: dict[str, str] | None = None) -> bool:
        """Return whether a run is another one, or nested in it.

        Args:
            run_id: The run.
            outer: The other one.
            parents: The parents of runs, '' for none, as far as they are known; more are added.
        """
        known = {} if parents is None else parents
        while run_id and run_id != outer:
            if run_id not in known:
                run = self.found(run_id)
                known[run_id] = "" if run is None else run.data.tags.get(_PARENT, "")
            run_id = known[run_id]
        return run_id == outer

    def tag(
        self, run_id: str, tags: Mapping[Tag, str], metrics: Mapping[str, float] | None = None
    ) -> None:
        """Set tags on a run, after metrics, in one call."""
        from mlflow.entities import Metric, RunTag
        from mlflow.utils.time import get_current_time_millis

        now = get_current_time_millis()  # type: ignore[no-untyped-call]
        numbers = [Metric(name, value, now, 0) for name, value in (metrics or {}).items()]
        words = [RunTag(name.value, plain_tag(value)) for name, value in tags.items()]
        with tracking_errors():
            self._client.log_batch(run_id, metrics=numbers, tags=words)

    def log_parameters(
        self, run: Run, values: Mapping[str, str], tags: Mapping[str, str] | None = None
    ) -> None:
        """Log as MLflow's parameters those that a run does not have, then tags, in one call.

        MLflow refuses a second spelling of a parameter, so what is there stays. Left out are names
        and values that not every MLflow store takes whole.
        """
        from mlflow.entities import Param, RunTag

        run_id, known = run.info.run_id, run.data.params
        missing = [
            Param(name, redacted(value))
            for name, value in values.items()
            if name not in known and len(value) <= _LONGEST_PARAM and _PARAM_NAME.fullmatch(name)
        ]
        words = [RunTag(name, plain_tag(value)) for name, value in (tags or {}).items()]
        with tracking_errors():
            self._client.log_batch(run_id, params=missing, tags=words)

    def end(self, run_id: str, status: str, reason: str = "") -> None:
        """End a run as FINISHED, FAILED or KILLED; ``reason`` becomes the tag ``error``."""
        # The reason first: who sees that a run has ended then finds why.
        with tracking_errors():
            if reason:
                self._client.set_tag(run_id, Tag.ERROR.value, plain_lines(reason)[:_REASON_LIMIT])
            self._client.set_terminated(run_id, status=status)

    def adopt(self, run: Run, nested: str) -> Run | None:
        """Hang a run that a run's program has begun below it, unless it hangs below another.

        Returns:
            It; None where there is none of that id that the program can have begun.
        """
        found = self.found(nested)
        if (
            found is None
            or Tag.KIND.value in found.data.tags
            or found.info.start_time < run.info.start_time
        ):
            return None
        if _PARENT not in found.data.tags:
            with tracking_errors():
                self._client.set_tag(nested, _PARENT, run.info.run_id)
        return found

    def has_nested(self, run: Run) -> bool:
        """Whether a run of its experiment hangs below a run."""
        below = f"tags.`{_PARENT}` = '{run.info.run_id}'"
        return bool(self.search(run.info.experiment_id, {}, also=below, limit=1))

    def end_nested(self, run: Run, status: str, code: str = "") -> list[str]:
        """End as an outer run has ended those within it that still say RUNNING; return their ids.

        A program that ends without a word leaves such runs, which nobody else would end. Those of
        one that ended well are looked for in its own experiment, others everywhere.

        Args:
            run: The outer run.
            status: How it has ended.
            code: Folder of its program; '' where unknown. A run that ``mlflow.run()`` made there,
                and that hangs below none, is within it, too.
        """
        where = [run.info.experiment_id]
        if status != "FINISHED":
            with tracking_errors():
                where = [one.experiment_id for one in self._client.search_experiments()]
        # Everything that runs there, and not by parent: a filter finds children, not descendants.
        alive = self.search(where, {}, also=RUNNING, limit=1000)
        # mlflow.run() makes its run before the environment, and leaves it where that fails (3.17).
        made = [one for one in alive if code and _is_project_of(one, code)]
        adopted = [found for one in made if (found := self.adopt(run, one.info.run_id))]
        outer = str(run.info.run_id)
        parents = {str(one.info.run_id): one.data.tags.get(_PARENT, "") for one in alive}
        # What was adopted now hangs below this run, unless it did below another before.
        parents |= {str(one.info.run_id): one.data.tags.get(_PARENT, outer) for one in adopted}
        left = [run_id for run_id, parent in parents.items() if parent]
        within = [run_id for run_id in left if self.is_within(run_id, outer, parents)]
        for run_id in within:
            self.end(run_id, status, "" if status == "FINISHED" else "the run around it ended")
        return within

    def orphans(self, run: Run) -> list[str]:
        """Return runs that began in a run's experiment after it, say RUNNING, and are nobody's.

        They may be those of a person who works there: what they are is for a person to see.
        """
        alive = self.search(run.info.experiment_id, {}, also=RUNNING)
        return [
            str(one.info.run_id)
            for one in alive
            if one.info.start_time >= run.info.start_time
            and not {_PARENT, Tag.KIND.value} & one.data.tags.keys()
        ]

    def end_abandoned(self, experiment_id: str, tag: Tag, value: str, keep: str = "") -> list[str]:
        """End as KILLED the runs with that tag that still say RUNNING; return their ids.

        Args:
            experiment_id: Where to look.
            tag: The tag that names whose runs they are.
            value: Its value.
            keep: The id of a run that is alive and stays as it is.
        """
        alive = self.search(experiment_id, {tag: value}, also=RUNNING)
        dead = [run.info.run_id for run in alive if run.info.run_id != keep]
        for run in alive:
            if run.info.run_id in dead:
                self.end(run.info.run_id, "KILLED", "abandoned: its worker ended without a word")
                self.end_nested(run, "KILLED")
        return dead


def log_inputs(
    client: MlflowClient, run_id: str, data: Sequence[DatasetInput], models: Sequence[Any]
) -> None:
    """Log data sets and models as a run's inputs, which another run may log at the same moment.

    Args:
        client: Of the tracking server.
        run_id: The run.
        data: Data sets.
        models: MLflow's LoggedModelInput of each model.

    Raises:
        MlflowException: when the server refused it again and again.
    """
    from mlflow.exceptions import MlflowException

    for attempt in range(1, _ATTEMPTS_TO_LOG + 1):
        try:
            client.log_inputs(run_id, [*data], [*models])
        except MlflowException:
            # The server looks for a data set, then adds it: of two runs that do so at once, as
            # challenger and champion are validated, one fails on the database's unique key (3.17).
            if attempt == _ATTEMPTS_TO_LOG:
                raise
            time.sleep(0.1 * attempt)
        else:
            return


def _is_project_of(one: Run, code: str) -> bool:
    """Return whether mlflow.run() made a run for a project in a folder."""
    # MLflow writes a folder of a Git repository as a URL.
    name = one.data.tags.get("mlflow.source.name", "").removeprefix("file://")
    return name == code or name.startswith((f"{code}/", f"{code}#"))


@contextmanager
def tracking_errors() -> Iterator[None]:
    """Turn "no answer" into TrackingUnavailableError, "not for you" into TrackingRefusedError.

    Whatever else MlflowException says stays one.
    """
    from mlflow.exceptions import MlflowException
    from requests.exceptions import RequestException

    try:
        yield
    except RequestException as error:
        # Artifacts go by plain HTTP: their refusals come as a status, not as MLflow's error code.
        status = 0 if error.response is None else error.response.status_code
        if status in _FORBIDDEN.values():
            raise _forbidden(status, error) from error
        raise _unavailable(error) from error
    except MlflowException as error:
        if error.error_code in _FORBIDDEN:
            raise _forbidden(_FORBIDDEN[error.error_code], error) from error
        if error.error_code in _PASSING:
            raise _unavailable(error) from error
        raise


@contextmanager
def refusals() -> Iterator[None]:
    """Turn a call that MLflow refused into an error of ours.

    Raises:
        TrackingRefusedError: instead of MLflow's own exception.
        TrackingUnavailableError: ditto, where running it again may help.
    """
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as error:
        raise refused(error) from error


def refused(error: MlflowException) -> UnderstudyError:
    """Return our error for a call that the server understood and refused.

    A retry may help where two wanted the same, and not where there is nothing, or not for us.
    """
    if error.error_code in _FORBIDDEN:
        return _forbidden(_FORBIDDEN[error.error_code], error)
    if error.error_code == _NO_MLFLOW:
        return TrackingRefusedError(
            f"What answers knows no call of MLflow's: {redacted(error.message[:500])}",
            allowed="the address of an MLflow server, with its path where it has one",
            action="correct MLFLOW_TRACKING_URI",
        )
    kind = TrackingRefusedError if error.error_code in _FINAL else TrackingUnavailableError
    return kind(
        f"The MLflow server refused a call ({error.error_code}): {redacted(error.message[:500])}",
        allowed="calls on runs, models and artifacts that exist and that this user may touch",
        action="look at the run or model in MLflow; then run this again",
    )


def client(tracking_uri: str | None = None) -> MlflowClient:
    """Return a client of the tracking server.

    Args:
        tracking_uri: Its address; None means the environment variable ``MLFLOW_TRACKING_URI``.

    Raises:
        TrackingUnavailableError: when neither names a server.
    """
    import os

    from mlflow.tracking import MlflowClient

    uri = tracking_uri or os.environ.get("MLFLOW_TRACKING_URI", "")
    if not uri:
        raise TrackingUnavailableError(
            "No tracking server is named",
            allowed="an address such as http://127.0.0.1:5000 in MLFLOW_TRACKING_URI",
            action="set MLFLOW_TRACKING_URI where Airflow's workers run",
        )
    # MLflow's default keeps one call waiting for four minutes; the task's own retry does better.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "4")
    # To print a run's address when it ends, MLflow asks for the run; Airflow shows a link.
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    return MlflowClient(tracking_uri=uri)


def server_time(client: MlflowClient) -> datetime | None:
    """Return the time by the tracking server's clock, to the second; None where it tells none.

    MLflow has no call for it (3.17): it is the ``Date`` of any answer.

    Raises:
        TrackingUnavailableError: when the server does not answer.
    """
    from mlflow.utils.rest_utils import http_request

    # None where the "server" is a database or a folder: then its clock is this machine's.
    credentials = getattr(client._tracking_client.store, "get_host_creds", None)  # noqa: SLF001
    if credentials is None:
        return None
    with tracking_errors():
        answer = http_request(  # type: ignore[no-untyped-call]
            credentials(), "/health", "GET", raise_on_status=False
        )
    date = answer.headers.get("Date")
    return parsedate_to_datetime(date).astimezone(UTC) if date else None


def ui_address(tracking_uri: str = "") -> str:
    """Return where a browser finds MLflow's UI; no HTTP address where nothing says so.

    ``UNDERSTUDY_MLFLOW_UI`` names it where browsers and workers reach it by different names;
    otherwise the tracking server's address does, which is ``MLFLOW_TRACKING_URI``'s unless given.
    """
    import os

    named = tracking_uri or os.environ.get("MLFLOW_TRACKING_URI", "")
    return os.environ.get("UNDERSTUDY_MLFLOW_UI") or named


def run_page(ui: str, experiment_id: str, run_id: str) -> str:
    """Return the address of a run in MLflow's UI; '' where there is none, or no HTTP address."""
    # Addresses are stored by Airflow as XCom, and shown to whoever may see the Dag or a log.
    base = redacted(ui)
    if not base.startswith(("http://", "https://")) or not run_id:
        return ""
    return f"{base.rstrip('/')}/#/experiments/{experiment_id}/runs/{run_id}"


def _forbidden(status: int, error: Exception) -> TrackingRefusedError:
    if status == HTTPStatus.UNAUTHORIZED:
        return TrackingRefusedError(
            f"The MLflow server does not know who asks (401): {_first_line(error)}",
            allowed="a user and password, or a token, that the server knows",
            action="set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or"
            " MLFLOW_TRACKING_TOKEN, where this runs; docs/rights.md says how",
        )
    return TrackingRefusedError(
        f"The MLflow server does not let this user do that (403): {_first_line(error)}",
        allowed="what this user's permissions in MLflow allow",
        action="have an MLflow administrator grant EDIT on the experiment and on the registered"
        " model (MANAGE to take an alias away); docs/rights.md says who needs what",
    )


def _unavailable(error: Exception) -> TrackingUnavailableError:
    return TrackingUnavailableError(
        f"The MLflow tracking server did not answer as it should: {_first_line(error)}",
        allowed="a server that answers at MLFLOW_TRACKING_URI",
        action="check the server and its log; the task may simply be run again",
    )


def _first_line(error: Exception) -> str:
    return redacted(str(error).splitlines()[0][:300] if str(error) else type(error).__name__)


def quoted(value: str) -> str:
    """Return a value as it may stand between single quotes in MLflow's filter language."""
    return value.replace("\\", "\\\\").replace("'", "\\'")
