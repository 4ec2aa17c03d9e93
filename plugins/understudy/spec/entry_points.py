"""Which entry point of a project is which step, and what goes from step to step under which name.

Pure. A project need not have been written for us: steps may be missing, and its parameters and
artifacts may have names of their own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Any, Final

from pydantic import Field

from understudy.contract import DATA_ARTIFACT, MODEL_ARTIFACT, RAW_ARTIFACT
from understudy.errors import DeclarationError, listed, nearest
from understudy.spec.declared import declared


class Role(StrEnum):
    """A step of a night, in the order in which they run."""

    DOWNLOAD = "download"
    PREPROCESS = "preprocess"
    TRAIN = "train"
    VALIDATE = "validate"


AS_OF: Final = "as_of"
RAW: Final = "raw"
DATA: Final = "data"
MODEL_URI: Final = "model_uri"
INPUTS: Final = (AS_OF, RAW, DATA, MODEL_URI)
"""What a night fills in, by our names: the first step can have the first, the second two, ..."""
REFIT: Final = "refit"
YES: Final = "yes"
"""The parameter that tells a training to take all rows, the holdout's included; and its value."""

RUN_ID: Final = "run_id"
ARTIFACT_URI: Final = "artifact_uri"
METRICS: Final = "metrics"
PARAMS: Final = "params"
"""What a step leaves for later ones, by MLflow's names: of the last two one has a name, too."""

Part = str | Sequence[str]
"""A piece of a parameter's value: text, or ``[step, what, name]`` for what an earlier step leaves,
such as ``["train", "metrics", "rmse"]`` or ``["download", "run_id", ""]``."""


def as_template(parts: Iterable[Part]) -> str:
    """Return a value as the author of a pipeline file writes it."""
    return "".join(
        part if isinstance(part, str) else f"{{{{ steps.{'.'.join(filter(None, part))} }}}}"
        for part in parts
    )


def split_key(key: str) -> tuple[Role | None, str]:
    """Return for which step a parameter is, None for all that declare it; and its name."""
    role, dot, name = key.partition(".")
    return (Role(role), name) if dot and role in set(Role) else (None, key)


def given_to(role: Role, keys: Iterable[str]) -> dict[str, str]:
    """Return the keys of the parameters that a step is offered, by the parameters' names.

    Args:
        role: The step.
        keys: Of a pipeline's parameters: ``alpha`` for every step, ``train.alpha`` for one, which
            counts more.
    """
    of_all = {key: key for key in keys if split_key(key)[0] is None}
    own = {split_key(key)[1]: key for key in keys if split_key(key)[0] is role}
    return {**of_all, **own}


@declared
class Steps:
    """Which entry point of the project is which step.

    Attributes:
        download: Entry point that gets the data; None where another one does that too. The first
            step that there is tells whether anything has changed.
        preprocess: Entry point that splits and prepares the data; None where there is none.
        train: Entry point that logs the model.
        validate: Entry point that scores a model on the holdout. None where the training logs the
            numbers: then each model's are those of its own training run, on rows of its own.
        raw: Artifact (folder or file) that ``download`` logs.
        data: Artifact that ``preprocess`` logs.
        model: Name under which ``train`` logs the model.
        inputs: The project's own names for the parameters that a night fills in: ``as_of``,
            ``raw``, ``data``, ``model_uri``, ``refit``. An entry point gets those that it declares;
            declared as ``path`` an artifact comes as a local folder, otherwise as a ``runs:/``
            address.

    Raises:
        DeclarationError: naming every field that is wrong.
    """

    download: str | None = "download"
    preprocess: str | None = "preprocess"
    train: str = "train"
    validate: str | None = "validate"
    raw: str = RAW_ARTIFACT
    data: str = DATA_ARTIFACT
    model: str = MODEL_ARTIFACT
    inputs: Mapping[str, str] = Field(default_factory=dict)

    def __post_init__(self) -> None:
        empty = [name for name, value in vars(self).items() if value == ""]
        if empty:
            raise _wrong(
                f"{listed(empty)} is empty", "a name, or None for no such step", "correct it"
            )
        for ours in self.inputs:
            if ours not in (*INPUTS, REFIT):
                raise _wrong(
                    f"inputs has {ours!r}{nearest(ours, (*INPUTS, REFIT))}",
                    listed((*INPUTS, REFIT)),
                    "write the night's own name first, the project's after the colon",
                )
            if ours not in self._filled_in:
                raise _wrong(
                    f"inputs has {ours!r}, which no step leaves or takes",
                    listed(self._filled_in),
                    f"take {ours!r} out, or name the step",
                )
        names = list(map(self.called, self._filled_in))
        if twice := {name for name in names if names.count(name) > 1}:
            raise _wrong(
                f"two of {listed(self._filled_in)} are called {listed(twice)}",
                "a name of its own for each",
                "correct inputs",
            )

    @property
    def _filled_in(self) -> tuple[str, ...]:
        """What a night with these steps fills in, by our names."""
        needs = {RAW: self.download, DATA: self.preprocess, MODEL_URI: self.validate}
        there = tuple(name for name in INPUTS if name not in needs or needs[name] is not None)
        return (*there, REFIT) if REFIT in self.inputs else there

    @classmethod
    def single(cls, entry_point: str = "main", **fields: Any) -> Steps:
        """Return the steps of a project whose one entry point trains, logs numbers and the model.

        Args:
            entry_point: Its name.
            **fields: Other fields of the steps, such as ``model`` and ``inputs``.
        """
        return cls(download=None, preprocess=None, train=entry_point, validate=None, **fields)

    @property
    def by_role(self) -> dict[Role, str]:
        """The entry points that there are, in the order in which they run."""
        named = {role: getattr(self, role.value) for role in Role}
        return {role: name for role, name in named.items() if name is not None}

    @property
    def names(self) -> tuple[str, ...]:
        """The entry points in the order in which they run."""
        return tuple(self.by_role.values())

    def called(self, ours: str) -> str:
        """Return the project's name for one of our inputs."""
        return self.inputs.get(ours, ours)

    def renamed(self, values: Mapping[str, str]) -> dict[str, str]:
        """Return values under the project's names for our inputs."""
        return {self.called(ours): value for ours, value in values.items()}

    def filled_in(self, role: Role) -> tuple[str, ...]:
        """Return the parameters that a night can fill in for a step, by the project's names."""
        # Inputs are in the order of the steps, so each step can have one more than the step
        # before.
        ours = INPUTS[: list(Role).index(role) + 1]
        return tuple(self.called(name) for name in ours if name in self._filled_in)

    @property
    def reserved(self) -> frozenset[str]:
        """The parameters that nights fill in, so that nobody else may set them."""
        return frozenset(name for role in self.by_role for name in self.filled_in(role))

    @property
    def recipe(self) -> list[str]:
        """What tells these steps from others, as text."""
        roles = [self.by_role.get(role, "") for role in Role]
        # Only what differs from the defaults counts, so that a new field with a default leaves old
        # nights' fingerprints as they are.
        artifacts = {"raw": RAW_ARTIFACT, "data": DATA_ARTIFACT, "model": MODEL_ARTIFACT}
        own = [
            f"{n}={getattr(self, n)}" for n, usual in artifacts.items() if usual != vars(self)[n]
        ]
        return [*roles, *own, *(f"{ours}:{theirs}" for ours, theirs in sorted(self.inputs.items()))]


def _wrong(found: str, allowed: str, action: str) -> DeclarationError:
    return DeclarationError(f"Steps: {found}", allowed=allowed, action=action)
