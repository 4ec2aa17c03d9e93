"""What a backtest replays: which project, with which parameters, as of which nights. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from understudy.contract import key_of
from understudy.errors import ParameterError, ProjectError, listed, nearest
from understudy.spec import quantities
from understudy.spec.entry_points import AS_OF, DATA, MODEL_URI, RAW, REFIT, Role, Steps

HOLDOUT_DAYS: Final = "holdout_days"
"""Parameter of a project's ``preprocess``: the length of its newest window, in days."""
STEPS: Final = Steps()
_FILLED_IN: Final = frozenset({AS_OF, RAW, DATA, MODEL_URI})
_DAY: Final = timedelta(days=1)

MONTH: Final = timedelta(days=30)
"""By how much last month's file is too old."""


class Fault(StrEnum):
    """What can go wrong in a night without any step failing."""

    LABELS = "labels"
    """A fifth of the training rows has a wrong label."""
    UNIT = "unit"
    """A feature of the training rows is in another unit."""
    ROWS = "rows"
    """Half of the training rows are missing, and not at random."""
    MONTH = "month"
    """The download is last month's again."""
    MEAN = "mean"
    """The model predicts one thing for each row."""


EntryPoints = Mapping[str, Sequence[str]]
"""The names of the parameters that each entry point of a project declares."""


@dataclass(frozen=True, slots=True)
class Plan:
    """A backtest.

    Attributes:
        project: Address of the project, as ``StepRequest`` takes it.
        commit: What is replayed: a full commit id, or '' for a folder, which is run as it is.
        code: Identity of the code: of Git's tree or the folder's content, and of the environment.
        parameters: For the entry points that declare them.
        nights: The moments (ISO 8601, UTC) as of which data is requested, the earliest first.
        end: The moment as of which the rows are there that the last night's model served.
        holdout_days: Length of every night's newest window; None where the project's ``preprocess``
            has no such parameter and splits in another way.
        env_manager: What makes the project's environment.
    """

    project: str
    commit: str
    code: str
    parameters: Mapping[str, str]
    nights: tuple[str, ...]
    end: str
    holdout_days: float | None
    env_manager: str

    @property
    def base(self) -> str:
        """Identity of all that every night shares, as 16 hex digits."""
        # The 1 is a version: raised, no folder that an earlier release made is taken for the same.
        given = json.dumps(dict(self.parameters), sort_keys=True)
        window = "" if self.holdout_days is None else f"{self.holdout_days:g}"
        return key_of("backtest 1", self.project, self.code, given, window, self.env_manager)[:16]

    @property
    def pool(self) -> str:
        """Identity of the rows that every model is scored on: those of all holdouts."""
        return key_of(self.base, self.nights[0], self.end)[:16]

    @property
    def pool_days(self) -> float:
        """How long the newest window must be to hold every night's, in days."""
        span = moment(self.end) - moment(self.nights[0])
        return span / _DAY + (self.holdout_days or 0.0)

    def night(self, as_of: str, fault: str = "") -> str:
        """Return the name of a night's folder: its day, and the identity of all that made it.

        Args:
            as_of: Its moment.
            fault: What went wrong in it; ``refit`` for its model of all rows; '' for nothing.
        """
        if fault:
            return f"{fault}-{as_of[:10]}-{key_of(self.pool, as_of, fault)[:16]}"
        return f"{as_of[:10]}-{key_of(self.pool, as_of)[:16]}"

    def rows(self, as_of: str) -> str:
        """Return the name of the folder with the rows of a night's holdout."""
        return f"{as_of[:10]}-{key_of(self.base, as_of)[:16]}"

    def to_json(self) -> str:
        """Return the plan as JSON."""
        return json.dumps(asdict(self), indent=1, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Plan:
        """Return the plan whose ``to_json`` gave the text."""
        stored: dict[str, Any] = json.loads(text)
        return cls(**{**stored, "nights": tuple(stored["nights"])})


def moment(text: str) -> datetime:
    """Return an ISO 8601 date or time in UTC; a date means its midnight.

    Raises:
        ParameterError: when it is neither.
    """
    try:
        return quantities.moment(text)
    except ValueError as error:
        raise ParameterError(
            str(error),
            allowed="an ISO 8601 date or time, such as 2012-12-31",
            action="correct it",
        ) from None


def nights_until(end: datetime, count: int, every: timedelta) -> tuple[str, ...]:
    """Return the moments of so many nights, the last one ``every`` before the end."""
    times = (end - every * number for number in range(count, 0, -1))
    return tuple(map(written, times))


def written(time: datetime) -> str:
    """Return a moment as projects take it: a date where it is a midnight."""
    is_midnight = (time.hour, time.minute, time.second, time.microsecond) == (0, 0, 0, 0)
    return time.strftime("%Y-%m-%d") if is_midnight else time.strftime("%Y-%m-%dT%H:%M:%SZ")


def day_after(newest: str) -> datetime:
    """Return the midnight after the newest row: as of then, every row is there."""
    last = moment(newest)
    return last.replace(hour=0, minute=0, second=0, microsecond=0) + _DAY


def spoilt_nights(nights: Sequence[str], faults: Mapping[Fault, float]) -> dict[str, Fault]:
    """Return which nights go wrong, and how: of each fault a share of the nights, at least one.

    Always the same ones, in no order, and never the first night, whose model has no champion.
    """
    chosen: dict[str, Fault] = {}
    for fault in (fault for fault in Fault if fault in faults):
        free = [night for night in nights[1:] if night not in chosen]
        free.sort(key=lambda night, fault=fault: key_of(night, fault))  # type: ignore[misc]
        # Rounded down, so that five fifths leave a night for each.
        count = max(int(faults[fault] * len(nights) + 1e-9), 1)
        chosen.update(dict.fromkeys(free[:count], fault))
    return dict(sorted(chosen.items()))


def check(entry_points: EntryPoints, parameters: Mapping[str, str], *, refit: bool = False) -> None:
    """Check that a project can be replayed with these parameters, and with refits if asked to.

    Raises:
        ProjectError: when an entry point is missing, or does not take what a night hands on.
        ParameterError: when no entry point knows a parameter, or a night fills it in itself.
    """
    lacking = [name for name in STEPS.names if name not in entry_points]
    if lacking:
        raise ProjectError(
            f"The project has no entry points {listed(lacking)}; it has {listed(entry_points)}",
            allowed=f"a project with {listed(STEPS.names)}",
            action="name another project, or add them to its MLproject",
        )
    download = STEPS.by_role[Role.DOWNLOAD]
    if AS_OF not in entry_points[download]:
        raise ProjectError(
            f"The entry point {download!r} takes no {AS_OF!r}, so it cannot bring data of the past",
            allowed=f"a download with the parameter {AS_OF!r}",
            action="add it to the MLproject",
        )
    if refit and REFIT not in entry_points[STEPS.train]:
        raise ProjectError(
            f"The entry point {STEPS.train!r} takes no {REFIT!r}, so it trains on no other rows",
            allowed=f"a training with the parameter {REFIT!r}",
            action="add it to the MLproject (docs/refit.md), or leave --refit out",
        )
    known = {name for names in entry_points.values() for name in names}
    unknown = [name for name in parameters if name not in known]
    if unknown:
        raise ParameterError(
            f"No step has a parameter {unknown[0]!r}{nearest(unknown[0], known)}",
            allowed=listed(known - _FILLED_IN),
            action="correct it or leave it out",
        )
    if taken := [name for name in parameters if name in _FILLED_IN]:
        raise ParameterError(
            f"{listed(taken)} given by hand, which every night fills in",
            allowed=listed(known - _FILLED_IN),
            action="leave it out",
        )
