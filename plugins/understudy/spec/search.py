"""What a pipeline file says about its search for hyperparameters. Pure.

What the values may be, the project knows: here is checked what no project could take.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any, Final

from pydantic import Field

from understudy.errors import DeclarationError, listed, nearest
from understudy.spec.declared import declared

SPACE, SAMPLER, TRIALS, MINUTES, METRIC = "space", "sampler", "trials", "minutes", "metric"
STUDY, FIXED, STORAGE = "study", "fixed", "storage"
FILLED_IN: Final = (STUDY, FIXED, STORAGE)
"""Parameters of the entry point that nights fill in, so that nobody else may set them."""
SAMPLERS: Final = ("tpe", "random", "grid")
_RANGE: Final = ("low", "high", "log", "step")
_EXAMPLE: Final = "{'max_depth': [3, 6, 12], 'alpha': {'low': 0.001, 'high': 10, 'log': True}}"


@declared
class Search:
    """A search for the hyperparameters that a night trains with: one study, several workers.

    Attributes:
        workers: So many tasks work on the study at once.
        trials: The study is over after so many trials; 0 for what the project does by itself:
            ours try 20, every point of a grid, or, with minutes, as many as they can.
        minutes: And after so many minutes of work; 0 for no such limit.
        space: Parameter to list of values or ``{"low": ..., "high": ..., "log": ..., "step":
            ...}``; or the name of a space that the project knows; '' for its default.
        sampler: ``tpe``, ``random`` or ``grid``; '' for the project's default.
        metric: What the best trial is best in; '' for the gate's primary metric.
        connection: Id of the Airflow connection (type ``postgres``) of the database that keeps
            the studies; '' for what the worker's variable UNDERSTUDY_STUDIES says.
        entry_point: The project's entry point.

    Raises:
        DeclarationError: naming every field that is wrong.
    """

    workers: Annotated[int, Field(ge=1, le=256)] = 2
    trials: Annotated[int, Field(ge=0)] = 0
    minutes: Annotated[float, Field(ge=0)] = 0.0
    space: Mapping[str, Any] | str = ""
    sampler: str = ""
    metric: str = ""
    connection: str = ""
    entry_point: Annotated[str, Field(min_length=1)] = "search"

    def __post_init__(self) -> None:
        if self.sampler and self.sampler not in SAMPLERS:
            raise _wrong(
                f"sampler is {self.sampler!r}{nearest(self.sampler, SAMPLERS)}",
                listed(SAMPLERS),
                "correct sampler",
            )
        # A name stands for a space that only the project knows.
        if isinstance(self.space, str):
            return
        if not self.space:
            raise _wrong("space is empty", f"parameters to search, such as {_EXAMPLE}", "name some")
        for name, values in self.space.items():
            if problem := _problem(values):
                raise _wrong(
                    f"space[{name!r}] is {values!r}: {problem}",
                    f"a list of values, or a range, such as {_EXAMPLE}",
                    "correct it; a parameter with one value belongs into parameters=",
                )

    @property
    def searched(self) -> frozenset[str]:
        """The parameters that the space names; none where the project knows it."""
        return frozenset() if isinstance(self.space, str) else frozenset(self.space)

    def values(self) -> dict[str, str]:
        """Return the entry point's parameters; what it decides by itself is left out."""
        space = self.space if isinstance(self.space, str) else json.dumps(dict(self.space))
        trials = str(self.trials) if self.trials else ""
        minutes = f"{self.minutes:g}" if self.minutes else ""
        given = {SPACE: space, SAMPLER: self.sampler, METRIC: self.metric}
        given |= {TRIALS: trials, MINUTES: minutes}
        return {name: text for name, text in given.items() if text}

    @property
    def recipe(self) -> str:
        """What tells this search from others, as text."""
        # As 0.1 wrote it, whose default of 20 trials is what ours tries by itself: an upgrade makes
        # no other search of one that stays as it was.
        usual = 0 if self.minutes or self.sampler == "grid" else 20
        budget = {TRIALS: str(self.trials or usual), MINUTES: f"{self.minutes:g}"}
        return json.dumps([self.entry_point, {**self.values(), **budget}])


def _problem(values: object) -> str:
    """Return what is wrong with the values of one parameter; '' for nothing."""
    if isinstance(values, list | tuple):
        return "" if values else "no value"
    if not isinstance(values, Mapping):
        return "neither a list nor a range"
    if unknown := [key for key in values if key not in _RANGE]:
        return f"{unknown[0]!r} is unknown{nearest(str(unknown[0]), _RANGE)}"
    if lacking := [key for key in ("low", "high") if key not in values]:
        return f"there is no {lacking[0]!r}"
    numbers = [values["low"], values["high"]]
    # Python counts True as an int.
    if not all(isinstance(one, int | float) and not isinstance(one, bool) for one in numbers):
        return "low and high are no numbers"
    return "" if values["low"] < values["high"] else "low is not below high"


def _wrong(found: str, allowed: str, action: str) -> DeclarationError:
    return DeclarationError(f"Search: {found}", allowed=allowed, action=action)
