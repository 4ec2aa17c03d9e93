"""The gate: rules, the challenger's numbers and the champion's numbers become a verdict.

Pure: no clock, no file, no server, and neither numpy nor pandas. ``judge`` is the function; a
``DecisionRecord`` has all that it was given, so that ``replay`` gives the same verdict years later.
"""

from understudy.gate.budgets import Costs, Measurement
from understudy.gate.evidence import Comparison, Evidence, Finding
from understudy.gate.judge import judge
from understudy.gate.late_labels import Choice, LateLabelContext, LateLabelRecord, Previous, Tally
from understudy.gate.record import DecisionRecord, Shadow, replay
from understudy.gate.verdict import (
    Basis,
    Case,
    Cause,
    Check,
    CheckResult,
    Decision,
    Interval,
    Score,
    StoredPredictions,
    Unscored,
    Verdict,
    as_logged,
)
from understudy.spec.guards import Budgets, Guards, Limit
from understudy.spec.rules import Bound, Direction, Gate, Learned, Metric, Slice, Unscorable

__all__ = [
    "Basis",
    "Bound",
    "Budgets",
    "Case",
    "Cause",
    "Check",
    "CheckResult",
    "Choice",
    "Comparison",
    "Costs",
    "Decision",
    "DecisionRecord",
    "Direction",
    "Evidence",
    "Finding",
    "Gate",
    "Guards",
    "Interval",
    "LateLabelContext",
    "LateLabelRecord",
    "Learned",
    "Limit",
    "Measurement",
    "Metric",
    "Previous",
    "Score",
    "Shadow",
    "Slice",
    "StoredPredictions",
    "Tally",
    "Unscorable",
    "Unscored",
    "Verdict",
    "as_logged",
    "judge",
    "replay",
]
