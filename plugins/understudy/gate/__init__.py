"""The gate: rules, the challenger's numbers and the champion's numbers become a verdict. Pure."""

from understudy.gate.judge import judge
from understudy.gate.record import DecisionRecord, replay
from understudy.gate.rules import Direction, Gate, Metric
from understudy.gate.verdict import Basis, Check, Decision, Score, Unscored, Verdict

__all__ = [
    "Basis",
    "Check",
    "Decision",
    "DecisionRecord",
    "Direction",
    "Gate",
    "Metric",
    "Score",
    "Unscored",
    "Verdict",
    "judge",
    "replay",
]
