"""What a pipeline requires of a challenger: metrics, bounds, slices, how to compare. Pure."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, fields, replace
from enum import StrEnum
from typing import Annotated, Any, Final

from pydantic import Field

from understudy.errors import DeclarationError, listed, nearest
from understudy.spec.declared import declared
from understudy.spec.guards import BLOCK, BLOCK_OF_0_1, Budgets, Guards
from understudy.spec.metrics import OF_ERROR, Bound, Direction, Metric, NotNegative

Rule = tuple[Metric, Bound, float]

_TIME_BLOCK: Final = re.compile(r"([1-9]\d*)([smhDW])")
DEFAULT_TOLERANCE: Final = 0.03
"""The tolerance of a primary metric that states no comparison: a share of the error."""
DEFAULTS: Final = "2"
"""Which default rules these are: 0.1 had the first."""
AUTO: Final = "auto"
"""The ``time_block`` of rules that leave it to the rows how far they depend on each other."""


class Unscorable(StrEnum):
    """What becomes of a challenger whose champion could not be scored."""

    HOLD = "hold"
    """It waits: nobody knows whether it is better."""
    PROMOTE = "promote"
    """It is judged by the absolute rules alone, as the first model is."""
    REJECT = "reject"
    """It is rejected, so that the same input is not judged again."""


@declared
class Slice:
    """A group of rows, or several, in which every comparison must hold as well.

    Attributes:
        column: A column of ``predictions.parquet``. Each of its values is a slice.
        quantiles: Cut a column of numbers into so many parts of equal size instead.
        min_rows: A slice with fewer rows is not judged, and the record says so.

    Raises:
        DeclarationError: for fewer than two quantiles or rows.
    """

    column: Annotated[str, Field(min_length=1)]
    quantiles: Annotated[int, Field(ge=2, le=100)] | None = None
    min_rows: Annotated[int, Field(ge=2)] = 50


@declared
class Learned:
    """Bounds between which late labels set the primary metric's ``tolerance``, night by night.

    Three rules are followed: the tolerances ``least``, the stated one and ``most``. Each night is
    judged by one of them, by what they would have served so far.

    Attributes:
        least: The smallest tolerance that a night may be judged by, in the stated one's unit.
        most: The largest one.

    Raises:
        DeclarationError: for bounds below zero, or ``least`` not below ``most``.
    """

    least: NotNegative = 0.0
    most: NotNegative = 0.1

    def __post_init__(self) -> None:
        if self.least >= self.most:
            raise DeclarationError(
                f"Learned: least={self.least:g}, most={self.most:g}",
                allowed="least below most",
                action="correct one of the two",
            )


@declared
class Gate:
    """The rules of a pipeline.

    Attributes:
        primary: The metric that decides. Without a comparison, what the rows do not show to be
            worse passes, up to 3 % of the champion's error (``tolerance=0.03,
            relative="error"``).
        guardrails: Metrics that must keep their bounds whatever the primary one says.
        slices: Groups of rows in which every rule must hold as well: columns, or ``Slice``.
        cluster: Column that says which rows belong together (a customer, a device): such rows are
            no independent evidence.
        time_block: Length of the blocks of time whose rows belong together, such as ``"1D"``; the
            column ``time`` of ``predictions.parquet`` says when a row was. ``"auto"``: how far
            rows depend on those before them is estimated, where they have a time and there is no
            ``cluster``. Empty: rows are independent.
        guards: What is looked for in the night's rows before the models are compared; None for
            nothing.
        budgets: What a model may cost, measured for both models together; None for nothing.
        worst_slices: Whether groups of rows that no rule names are searched for those that the
            challenger serves worse; a warning, which decides nothing.
        shadow_nights: For so many judged nights a new pipeline only says what it would have done.
        unscored_champion: ``hold``, ``promote`` (by absolute rules alone) or ``reject``.
        learn: ``Learned()``: late labels (``label_delay`` of the pipeline) set the primary metric's
            tolerance between bounds; None: it stays as it is stated.
        seed: What random numbers of the comparison are drawn from.

    Raises:
        DeclarationError: naming what is wrong.
    """

    primary: Metric
    guardrails: Sequence[Metric] = ()
    slices: Sequence[Slice | str] = ()
    cluster: str = ""
    time_block: str = AUTO
    guards: Guards | None = None
    budgets: Budgets | None = None
    worst_slices: bool = True
    shadow_nights: Annotated[int, Field(ge=0)] = 0
    unscored_champion: str = Unscorable.HOLD.value
    learn: Learned | None = None
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0

    def __post_init__(self) -> None:
        named = (Slice(one) if isinstance(one, str) else one for one in self.slices)
        object.__setattr__(self, "guardrails", tuple(self.guardrails))
        object.__setattr__(self, "slices", tuple(named))
        # A declared cluster goes before what is estimated.
        if self.cluster and self.time_block == AUTO:
            object.__setattr__(self, "time_block", "")
        self._check_guardrails()
        counts = Counter(one.column for one in self.slices if isinstance(one, Slice))
        if twice := [column for column, count in counts.items() if count > 1]:
            raise _wrong(
                f"slices names {listed(twice)} more than once", "each column once", "keep one"
            )
        self._check_clusters()
        self._check_unscored()
        self._check_learned()
        if self.budgets is not None and not self.budgets.bounds:
            raise _wrong(
                "budgets limits nothing",
                "Budgets with a limit that is not off, such as Budgets() or "
                "Budgets(size=Limit('200MB'))",
                "limit something, or leave out budgets",
            )

    def _check_guardrails(self) -> None:
        idle = [metric.name for metric in self.guardrails if not list(metric.bounds())]
        if idle:
            raise _wrong(
                f"the guardrails {listed(idle)} have no bound and check nothing",
                f"one or more of {listed(Bound)}",
                "give each guardrail a bound or remove it",
            )
        # A check is found by metric and bound: twice the same could not be told apart in a record.
        stated = Counter((metric.name, bound.value) for metric, bound, _ in self.rules)
        if twice := [f"{name} {bound}" for (name, bound), count in stated.items() if count > 1]:
            raise _wrong(
                f"{listed(twice)} stated more than once",
                "each bound of a metric once, in the primary metric or in a guardrail",
                "keep the one that you mean",
            )

    def _check_clusters(self) -> None:
        if self.cluster and self.time_block:
            raise _wrong(
                f"cluster={self.cluster!r} and time_block={self.time_block!r}",
                "one of the two",
                "keep the one that joins more rows",
            )
        if self.time_block not in {"", AUTO} and not _TIME_BLOCK.fullmatch(self.time_block):
            raise _wrong(
                f"time_block is {self.time_block!r}",
                "'auto', or a whole number and s, m, h, D or W, such as '1D'",
                "correct time_block",
            )

    def _check_unscored(self) -> None:
        choices = [choice.value for choice in Unscorable]
        given = self.unscored_champion
        if given not in choices:
            raise _wrong(
                f"unscored_champion is {given!r}{nearest(given, choices)}",
                listed(choices),
                "correct unscored_champion",
            )
        if given == Unscorable.PROMOTE and all(bound.needs_champion for _, bound, _ in self.rules):
            raise _wrong(
                "unscored_champion='promote' without an absolute rule would let anything pass",
                "it with one or more of 'at_least', 'at_most'",
                "say what a model must reach at least",
            )

    def _check_learned(self) -> None:
        if self.learn is None:
            return
        stated, metric = self.decisive.tolerance, self.decisive
        if stated is None or metric.min_gain is not None or metric.max_loss is not None:
            raise _wrong(
                f"learn without a tolerance that decides: {metric.name} has another comparison",
                "learn where the primary metric states a tolerance, or no comparison",
                "take min_gain and max_loss out of the primary metric, or leave learn out",
            )
        least, most = self.learn.least, self.learn.most
        if not least <= stated <= most:
            raise _wrong(
                f"the tolerance {stated:g} is not between Learned(least={least:g}, most={most:g})",
                "bounds with the stated tolerance between them",
                "correct the tolerance of the primary metric, or the bounds",
            )

    @property
    def tolerances(self) -> tuple[float, ...]:
        """What a night may be judged by where it is learned, the smallest first; else nothing."""
        if self.learn is None or self.decisive.tolerance is None:
            return ()
        return tuple(sorted({self.learn.least, self.decisive.tolerance, self.learn.most}))

    def tolerating(self, tolerance: float) -> Gate:
        """Return the same rules with another tolerance of the primary metric."""
        return replace(self, primary=replace(self.decisive, tolerance=tolerance))

    @property
    def rules(self) -> tuple[Rule, ...]:
        """Every bound of every metric, the primary metric's first."""
        metrics = (self.decisive, *self.guardrails)
        return tuple((metric, *bound) for metric in metrics for bound in metric.bounds())

    @property
    def decisive(self) -> Metric:
        """The primary metric with the comparison that decides, stated or by default."""
        # Without a comparison every night that keeps the absolute bounds would replace the
        # champion.
        if any(bound.needs_champion for bound, _ in self.primary.bounds()):
            return self.primary
        return replace(self.primary, tolerance=DEFAULT_TOLERANCE, relative=OF_ERROR)

    @property
    def is_default(self) -> bool:
        """Whether the comparison that decides is the default one, stated or not."""
        found = self.decisive
        compared = (found.min_gain, found.max_loss, found.tolerance, found.relative)
        return compared == (None, None, DEFAULT_TOLERANCE, OF_ERROR)

    @property
    def changes(self) -> str:
        """What judges by these rules otherwise than in 0.1, and the way back; '' for nothing."""
        said = []
        if self.is_default:
            name, share = self.primary.name, f"{100 * DEFAULT_TOLERANCE:g} %"
            said.append(
                f"a challenger is now promoted unless its {name} is shown to be worse, or is worse "
                f"by more than {share} of the champion's error; before, it had to be better; to "
                f"keep that: Metric({name!r}, min_gain=0.0)"
            )
        if self.time_block == AUTO:
            said.append(
                "rows with a time are now taken in its order, before they were independent; to "
                "keep that: Gate(..., time_block='')"
            )
        if stated := {bound.value for _, bound, _ in self.rules} & _COUNTED:
            said.append(
                f"{listed(stated)} now ask for more where some of the holdout's rows have judged "
                "another challenger before, as in a window that moves by a day; before, only the "
                "very same rows counted; nothing keeps that, Metric(..., confidence=...) asks for "
                "less"
            )
        return f"Since 0.1 the rules have changed: {'; '.join(said)}" if said else ""

    def to_dict(self) -> dict[str, Any]:
        """Return the rules as JSON values; of what is not about metrics, what is stated."""
        optional = {
            name: getattr(self, name)
            for name in _OPTIONAL
            if getattr(self, name) != _DEFAULTS[name]
        }
        slices = [asdict(one) for one in self.slices if isinstance(one, Slice)]
        return {
            # Written out, so that a replay judges by it even if the default changes one day.
            "primary": self.decisive.to_dict(),
            "guardrails": [m.to_dict() for m in self.guardrails],
            **({"slices": slices} if slices else {}),
            **({"guards": self.guards.to_dict()} if self.guards else {}),
            **({"budgets": self.budgets.to_dict()} if self.budgets else {}),
            **({"time_block": self.time_block} if self.time_block else {}),
            **({"learn": asdict(self.learn)} if self.learn else {}),
            **optional,
        }

    @property
    def identity(self) -> dict[str, Any]:
        """What tells these rules from others, as JSON values; the same in each version."""
        # Levels as 0.1 named them: a rollback of then keeps out what is trained from the same input
        # now, and a night's rules are part of its input.
        rules = self.to_dict()
        if self.is_default:
            primary = {**rules["primary"], **_DEFAULT_OF_0_1}
            rules["primary"] = {n: value for n, value in primary.items() if n != "tolerance"}
        if self.time_block == AUTO:
            rules.pop("time_block", None)
        levels = {name: rules[name] for name in ("guards", "budgets") if name in rules}
        text = json.dumps(levels).replace(f'"{BLOCK}"', f'"{BLOCK_OF_0_1}"')
        return {**rules, **json.loads(text)}

    @classmethod
    def from_dict(cls, rules: Mapping[str, Any]) -> Gate:
        """Return the gate whose ``to_dict`` gave ``rules``; also of rules written by hand.

        Rules that say nothing of ``time_block`` take rows as independent: so they were recorded
        before the order of rows counted.

        Raises:
            DeclarationError: naming what is wrong.
        """
        known = {name: _made(name, value) for name, value in rules.items()}
        return cls(**{"time_block": "", **known})


_DEFAULT_OF_0_1: Final = {"min_gain": 0.0, "relative": False}
"""The comparison of a primary metric that stated none, which is part of nights' identities."""
_COUNTED: Final = frozenset({Bound.MIN_GAIN.value, Bound.MAX_LOSS.value})
"""Bounds whose error rate is shared by the challengers that are compared on the same rows."""
_OPTIONAL: Final = (
    "cluster",
    "worst_slices",
    "shadow_nights",
    "unscored_champion",
    "seed",
)
_DEFAULTS: Final = {field.name: field.default for field in fields(Gate)}


def _made(name: str, value: Any) -> Any:  # noqa: ANN401 -- any JSON value; Gate checks it
    if name in _PARTS and isinstance(value, Mapping):
        return _PARTS[name](value)
    if name in {"guardrails", "slices"} and isinstance(value, Sequence):
        kind = Metric if name == "guardrails" else Slice
        return tuple(kind(**one) if isinstance(one, Mapping) else one for one in value)
    return value


_PARTS: Final[Mapping[str, Callable[[Mapping[str, Any]], Any]]] = {
    "primary": lambda fields: Metric(**fields),
    "guards": Guards.from_dict,
    "budgets": Budgets.from_dict,
    "learn": lambda fields: Learned(**fields),
}


def _wrong(found: str, allowed: str, action: str) -> DeclarationError:
    return DeclarationError(f"Gate: {found}", allowed=allowed, action=action)


__all__ = ["Bound", "Direction", "Gate", "Learned", "Metric", "Rule", "Slice", "Unscorable"]
