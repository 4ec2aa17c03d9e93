"""What goes to the gate's process and comes back from it arrives as it was sent."""

from __future__ import annotations

import math
from pathlib import Path

from understudy.gate import Comparison, Evidence, Gate, Interval, Metric, exchange
from understudy.gate.evidence import Earlier
from understudy.gate.exchange import GateRequest, GateResult


def test_requests_arrive_as_they_were_sent(tmp_path: Path) -> None:
    """Rules, files, counts and folders; several at once."""
    gate = Gate(Metric("rmse", min_gain=0.5), slices=["region"])
    sent = [
        GateRequest(
            gate.to_dict(),
            "a.parquet",
            "b.parquet",
            {"ab": Earlier(3, "c2FtcGxl")},
            ("/dags", "/plugins"),
        ),
        GateRequest(gate.to_dict(), "a.parquet"),
    ]
    exchange.write(tmp_path / "requests.json", sent)
    received = exchange.read(tmp_path / "requests.json", GateRequest)
    assert received == sent
    assert Gate.from_dict(received[0].rules).to_dict() == gate.to_dict()


def test_answers_arrive_as_they_were_sent(tmp_path: Path) -> None:
    """Infinite numbers too, which JSON has no word for."""
    interval = Interval(-math.inf, 2.0, 0.9)
    found = Comparison(
        "rmse", "min_gain", "", 9, 9, 1.0, 2.0, 1.0, 0.0, interval, interval, 0.04, None, math.inf,
        "t", {"b": 1.0, "c": 2.0, "p": 1.0},
    )  # fmt: skip
    evidence = Evidence((found,), (), 9, "ab", 2, 7, ("blocked",), ("noted",))
    sent = [GateResult(evidence, "", {"numpy": "2"}), GateResult(Evidence(()), "no such file")]
    exchange.write(tmp_path / "answers.json", sent)
    assert exchange.read(tmp_path / "answers.json", GateResult) == sent
