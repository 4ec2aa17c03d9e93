"""What a pipeline file declares, checked in full while Airflow parses it. Imports no client.

The records here are plain facts; ``understudy.airflow`` makes a Dag of them.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from enum import StrEnum
from numbers import Number
from typing import Annotated, Any, Final

from pydantic import BeforeValidator, Field, PlainSerializer, ValidationInfo

from understudy.contract import ENV_MANAGERS, LOCAL, STUDY_VARIABLE, is_env_manager
from understudy.errors import DeclarationError, listed, nearest
from understudy.spec import git_address
from understudy.spec.declared import declared, refuse_secrets
from understudy.spec.entry_points import MODEL_URI, REFIT, Role, Steps, given_to, split_key
from understudy.spec.placement import placement
from understudy.spec.quantities import LONGEST
from understudy.spec.rules import Gate
from understudy.spec.search import FILLED_IN, Search

FORM_FIELDS: Final = ("version", "as_of", "force", "promote")
"""Fields of the trigger form that are ours; a project's parameter must not have their names."""
SCHEDULES: Final = (
    "a cron expression such as '0 3 * * *', a preset such as '@daily', a timedelta above zero and"
    " of at most 100 years, a timetable or assets of Airflow's, or None"
)

# Airflow's rule for the id of a Dag, which may have up to 250 characters.
_NAME: Final = re.compile(r"[A-Za-z0-9_.-]{1,200}")
# MLflow refuses / and : in the name of a model; the others would end or widen a name that is
# quoted in a search.
_MODEL_FORBIDDEN: Final = re.compile(r"[/:\"'%]")


# What is added to a moment: no longer than that the sum still is one.
_SPAN: Final = Field(ge=timedelta(0), le=LONGEST)


class Promotion(StrEnum):
    """Who obeys a verdict of PROMOTE."""

    AUTO = "auto"
    ASK = "ask"
    NEVER = "never"


class Event(StrEnum):
    """What a pipeline can tell people about; a night tells each at most once."""

    PROMOTED = "promoted"
    HELD = "held"
    REJECTED = "rejected"
    FAILED = "failed"
    SKIPPED = "skipped"
    """So many nights in a row as ``alert_after_skips`` says."""
    STALE = "stale"
    """A champion that is older than ``alert_after_age``."""


EVERY_EVENT: Final = "*"


@declared
class Project:
    """A Git-hosted MLproject.

    Attributes:
        uri: ``https://host/repo.git#sub/directory``, and every form that ``mlflow run`` knows.
            Airflow's templates work, so that one file serves several installations:
            ``{{ var.value.models_repository }}#mlproject/tabular``.
        version: Branch, tag or commit; empty for the repository's default branch.
        connection: Id of the Airflow connection (type ``git``) that opens a private repository;
            empty for what the worker's user can read.

    Raises:
        DeclarationError: for a URI that is no project URI, or that no connection can open.
    """

    uri: Annotated[str, Field(min_length=1)]
    version: str = ""
    connection: str = ""

    def __post_init__(self) -> None:
        git_address.check_declared(self.uri, self.connection, "Project")


@declared
class Rehearsal:
    """What a version must show before it may become champion, served for real.

    Attributes:
        rows: How many rows of the holdout it is asked, one at a time.
        tolerance: How far a number may be from the offline prediction, absolute or relative;
            labels must be equal.
        startup: How long its server may take to load it.
        latency: How long the answer to one row may take, for 95 of 100 rows.

    Raises:
        DeclarationError: naming every field that is wrong.
    """

    rows: Annotated[int, Field(ge=1, le=10_000)] = 20
    tolerance: Annotated[float, Field(ge=0)] = 1e-6
    startup: Annotated[timedelta, _SPAN] = timedelta(minutes=3)
    latency: Annotated[timedelta, _SPAN] = timedelta(seconds=1)


@declared
class Refit:
    """A challenger that has passed is trained again on all rows, and that is promoted.

    Attributes:
        max_change: How far its predictions on the holdout may be from those that were judged, as a
            share of how far these were from the targets: 0 is the same, 1 what a model has that
            now knows the holdout by heart. Beyond it the night is held.

    Raises:
        DeclarationError: for a negative number.
    """

    max_change: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 1.0


@declared
class AfterPromotion:
    """An entry point of the project that hands each new champion on, such as to a model server.

    It changes something outside MLflow, so it has to be repeatable: it may be run again for the
    champion that is there already.

    Attributes:
        entry_point: Its name. Its parameter ``model_uri`` (or what ``Steps.inputs`` calls that) is
            filled in: ``models:/<model>/<version>`` of the champion.
        parameters: Its other parameters. Airflow's templates work.

    Raises:
        DeclarationError: naming every field that is wrong.
    """

    entry_point: Annotated[str, Field(min_length=1)]
    parameters: Mapping[str, object] = Field(default_factory=dict, repr=False)


def _gate(given: object, about: ValidationInfo) -> object:
    """Return the gate that a stored document describes; a pipeline file makes its own."""
    if about.mode == "json" and isinstance(given, Mapping):
        return Gate.from_dict(given)
    return given


@declared
class NightSpec:
    """What of a pipeline file the tasks of a night obey.

    The task ``pin`` stores it, and the other tasks read it from there: the file may change while
    a night runs. A field of ``Pipeline`` that a task of ours obeys belongs here.

    Attributes:
        name: The Dag's id; also the experiment's and the registered model's unless given.
        project: The code.
        gate: The rules.
        model: Name of the registered model.
        steps: Which entry point is which step.
        search: A search for the hyperparameters that the night trains with; None for none.
        rehearsal: What a version must show, served for real, before it may become champion; None
            for models that MLflow cannot serve.
        refit: A challenger that has passed is trained again on all rows, the holdout's included,
            before it is rehearsed and promoted; None to promote what was judged.
        alert_after_skips: So many skipped nights in a row are logged as an error.
        alert_after_age: A champion that was not replaced for so long is, too; None for never.
        reuse: Whether a finished step may stand for one with the same code, environment, parameters
            and inputs, by step: ``{"download": True, "train": False}``. A step that is not named
            may where it takes an artifact or model of the night: nothing tells whether one that
            takes none, such as a download, reads what has changed meanwhile.
        env_manager: ``uv``, ``virtualenv`` and ``conda`` build the project's own environment;
            ``docker`` runs in the project's image; ``local`` in the Python on the worker's PATH,
            ``local:/opt/ml/bin/python`` in that one.
        environment: Names of the worker's environment variables that the steps may see.
        backend: ``local`` runs the steps as processes of Airflow's workers; ``kubernetes`` as Jobs
            of a cluster, for which no worker's slot waits.
        backend_config: How, as :class:`understudy.spec.placement.ClusterPlacement` says.
        label_delay: How long after a night the rows that came after it have their targets, where
            these come late: the delay of a target, and the time whose rows are to be looked at.
            Past nights are then seen again on those rows: did the gate choose right?
    """

    name: str
    project: Project
    gate: Annotated[Gate, BeforeValidator(_gate), PlainSerializer(Gate.to_dict)]
    model: str = ""
    steps: Steps = Steps()
    search: Search | None = None
    rehearsal: Rehearsal | None = Rehearsal()
    refit: Refit | None = None
    alert_after_skips: Annotated[int, Field(ge=1)] = 7
    alert_after_age: Annotated[timedelta | None, _SPAN] = None
    reuse: Mapping[str, bool] = Field(default_factory=dict, repr=False)
    env_manager: str = "uv"
    environment: Sequence[str] = ()
    backend: str = LOCAL
    backend_config: Mapping[str, Any] = Field(default_factory=dict, repr=False)
    label_delay: Annotated[timedelta | None, _SPAN] = None

    @property
    def recipe(self) -> list[str]:
        """How the steps are run, as text: entry points, environment manager, search, refit."""
        # Another search is another training: such a night is not skipped as one with the same
        # input.
        searched = [] if self.search is None else [self.search.recipe]
        again = [] if self.refit is None else [REFIT]
        return [*self.steps.recipe, self.env_manager, *searched, *again]


@declared
class Pipeline(NightSpec):
    """One recurring workflow for one registered model.

    Attributes:
        schedule: What Airflow takes: a cron expression, ``@daily``, a timetable, assets; None for
            "only by hand".
        start: Time of the first night (with time zone); None starts now.
        end: Time of the last night that the schedule makes; None never ends. By hand the Dag runs
            afterwards, too.
        catchup: Whether nights between ``start`` and now are made up for, one after another.
        parameters: Parameters of the project's entry points, offered in the trigger form:
            ``alpha`` for every step that declares it, ``train.alpha`` for one. A value may be an
            ``airflow.sdk.Param`` with type, bounds, choices and help text. Airflow's templates
            work, and reach what earlier steps left: ``{{ steps.download.run_id }}``.
        experiment: Name of the MLflow experiment.
        promote: ``auto``, ``ask`` (a person approves in Airflow) or ``never``.
        skip_unchanged: A night with the same code, data, parameters and rules as one that was
            judged before ends SKIPPED.
        after_promotion: What hands a new champion on, in a Dag of its own that starts when the
            champion has changed, also by a rollback; its failure undoes no promotion.
        notify: Airflow notifiers by event (``promoted``, ``held``, ``rejected``, ``failed``,
            ``skipped``, ``stale``, or ``"*"`` for all). Their templates may use
            ``understudy.title`` and ``understudy.text``.
        queues: Celery queue of a step, where not every worker fits it, by step as ``reuse`` has it:
            ``{"train": "heavy"}``. Other executors than Celery's take no notice.
        step_timeout: How long one step may take.
        retries: How often a failed step is tried again.
        retry_delay: How long to wait before that.
        approval_timeout: How long ``ask`` waits; afterwards the challenger is not promoted.
        approvers: Names of the Airflow users who may answer; empty: all who may edit runs.
        tags: Airflow tags of the Dag, beside ``understudy``.

    The other fields are those of :class:`NightSpec`.

    Raises:
        DeclarationError: naming every field that is wrong.
    """

    schedule: Any = Field(default=None, repr=False)
    start: datetime | None = None
    end: datetime | None = None
    catchup: bool = False
    parameters: Mapping[str, object] = Field(default_factory=dict, repr=False)
    experiment: str = ""
    promote: str = Promotion.AUTO.value
    skip_unchanged: bool = True
    after_promotion: AfterPromotion | None = None
    notify: Mapping[str, Sequence[Any]] = Field(default_factory=dict, repr=False)
    queues: Mapping[str, str] = Field(default_factory=dict, repr=False)
    step_timeout: Annotated[timedelta, _SPAN] = timedelta(hours=6)
    retries: Annotated[int, Field(ge=0)] = 1
    retry_delay: Annotated[timedelta, _SPAN] = timedelta(seconds=30)
    approval_timeout: Annotated[timedelta, _SPAN] = timedelta(hours=24)
    approvers: Sequence[str] = ()
    tags: Sequence[str] = ()

    def __post_init__(self) -> None:
        self._default("model", self.name)
        self._default("experiment", self.name)
        self._check_names()
        self._check_choices()
        placement(self.backend, self.backend_config, self.environment)
        self._check_times()
        self._check_schedule()
        self._check_label_delay()
        self._check_refit()
        self._check_search()
        self._check_parameters()
        self._check_after_promotion()

    def _default(self, field: str, value: str) -> None:
        if not getattr(self, field):
            # Frozen for everybody else; here the record is still being made.
            object.__setattr__(self, field, value)

    def _check_names(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise _wrong(
                f"name is {self.name!r}", "1 to 200 letters, digits, '_', '-' and '.'", "rename it"
            )
        if _MODEL_FORBIDDEN.search(self.model):
            raise _wrong(
                f"model is {self.model!r}", "a name without / : % and quotes", "rename the model"
            )

    def _check_choices(self) -> None:
        choices = {"promote": [str(choice) for choice in Promotion], "env_manager": ENV_MANAGERS}
        for field, allowed in choices.items():
            given = str(getattr(self, field))
            if given not in allowed and not (field == "env_manager" and is_env_manager(given)):
                hint = nearest(given, allowed)
                raise _wrong(f"{field} is {given!r}{hint}", listed(allowed), f"correct {field}")

        events = [EVERY_EVENT, *(event.value for event in Event)]
        steps = [field.name for field in dataclasses.fields(Steps)]
        for field, known in (("reuse", steps), ("queues", steps), ("notify", events)):
            for name in getattr(self, field):
                if name not in known:
                    hint = nearest(name, known)
                    raise _wrong(f"{field} has {name!r}{hint}", listed(known), f"correct {field}")

    def _check_times(self) -> None:
        for field in ("start", "end"):
            moment = getattr(self, field)
            # Airflow would take it for its own default zone, which is another on another
            # installation.
            if moment is not None and moment.tzinfo is None:
                raise _wrong(
                    f"{field} is {moment}, without a time zone",
                    "a datetime with tzinfo, such as datetime(2026, 1, 1, tzinfo=UTC)",
                    f"add tzinfo to {field}",
                )
        if self.catchup and self.start is None:
            raise _wrong("catchup without start", "a start when catchup=True", "add start")
        if self.start and self.end and self.end < self.start:
            raise _wrong("end is before start", "an end at or after start", "correct one of them")

    def _check_schedule(self) -> None:
        """Check what is no schedule whatever Airflow there is; the rest is for Airflow to say."""
        schedule, found = self.schedule, ""
        if isinstance(schedule, Number | date | bytes):
            found = f"schedule is of type {type(schedule).__name__}"
        elif isinstance(schedule, timedelta) and not timedelta(0) < schedule <= LONGEST:
            found = f"schedule is {schedule}"
        if found:
            raise _wrong(found, SCHEDULES, "correct schedule")

    def _check_label_delay(self) -> None:
        if self.label_delay is None:
            if self.gate.learn is not None:
                raise _wrong(
                    "the gate learns, and nothing says when labels are known: no label_delay",
                    "learn in the gate with label_delay in the pipeline",
                    "add label_delay, such as timedelta(days=14), or leave learn out",
                )
            return
        if self.label_delay <= timedelta(0):
            raise _wrong(
                f"label_delay is {self.label_delay}",
                "a time above zero, such as timedelta(days=14)",
                "correct label_delay, or leave it out where targets are known at once",
            )
        if self.steps.validate is None:
            raise _wrong(
                "label_delay without a validate step, which scores models on later rows",
                "label_delay where steps names an entry point for validate",
                "name the entry point that scores a model, or leave label_delay out",
            )

    def _check_refit(self) -> None:
        if self.refit is not None and self.steps.validate is None:
            raise _wrong(
                "refit without a validate step, which compares it with what was judged",
                "refit where steps names an entry point for validate",
                "name the entry point that scores a model, or leave refit out",
            )

    def _check_search(self) -> None:
        if self.search is None:
            return
        if both := self.search.searched & {*given_to(Role.TRAIN, self.parameters)}:
            raise _wrong(
                f"parameters and search have {listed(both)}",
                "a parameter that is searched, or one that has a value",
                "take it out of one of them",
            )
        # A job's manifest is readable by everybody who may look at the cluster's jobs.
        if self.search.connection and self.backend != LOCAL:
            raise _wrong(
                f"search has a connection, whose password a job of {self.backend!r} would show",
                f"no connection with backend={self.backend!r}",
                f"give the job's container {STUDY_VARIABLE} from a secret of the cluster",
            )

    def _check_parameters(self) -> None:
        by_step = {f"{role}.{n}" for role in self.steps.by_role for n in self.steps.filled_in(role)}
        reserved = {*FORM_FIELDS, *self.steps.reserved, *by_step}
        if self.refit:
            reserved |= {self.steps.called(REFIT), f"{Role.TRAIN}.{self.steps.called(REFIT)}"}
        if self.search:
            reserved |= {*FILLED_IN, *(f"{Role.TRAIN}.{name}" for name in FILLED_IN)}
        for key in self.parameters:
            role, _ = split_key(key)
            if role is not None and role not in self.steps.by_role:
                raise _wrong(
                    f"parameters has {key!r}, and steps has no {role.value!r}",
                    f"parameters of {listed(self.steps.by_role)}",
                    "name another step before the dot, or add it to steps",
                )
        if taken := {*self.parameters} & reserved:
            raise _wrong(
                f"parameters has {listed(taken)}",
                f"names other than {listed(reserved)}",
                "set the version on Project(...), promote on pipeline(...); leave out the rest",
            )
        refuse_secrets("pipeline: parameters", self.parameters)

    def _check_after_promotion(self) -> None:
        after = self.after_promotion
        if after is None:
            return
        if not _NAME.fullmatch(self.after_promotion_dag):
            raise _wrong(
                f"after_promotion names its Dag {self.after_promotion_dag!r}",
                "1 to 200 letters, digits, '_', '-' and '.', the pipeline's name included",
                "rename the pipeline or the entry point",
            )
        filled_in = self.steps.called(MODEL_URI)
        if filled_in in after.parameters:
            raise _wrong(
                f"after_promotion.parameters has {filled_in!r}",
                "other names: that one is filled in with the champion",
                "leave it out",
            )
        refuse_secrets("pipeline: after_promotion.parameters", after.parameters)

    @property
    def for_nights(self) -> NightSpec:
        """What the tasks of a night obey."""
        names = [field.name for field in dataclasses.fields(NightSpec)]
        return NightSpec(**{name: getattr(self, name) for name in names})

    @property
    def after_promotion_dag(self) -> str:
        """Id of the Dag that hands a new champion on; '' where nothing does."""
        return f"{self.name}_{self.after_promotion.entry_point}" if self.after_promotion else ""


def _wrong(found: str, allowed: str, action: str) -> DeclarationError:
    return DeclarationError(f"pipeline: {found}", allowed=allowed, action=action)


__all__ = [
    "EVERY_EVENT",
    "FORM_FIELDS",
    "AfterPromotion",
    "Event",
    "NightSpec",
    "Pipeline",
    "Project",
    "Promotion",
    "Refit",
    "Rehearsal",
    "Search",
    "Steps",
]
