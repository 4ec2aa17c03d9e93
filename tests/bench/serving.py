"""What clients notice while champions change: requests, failures, latencies, seconds to the next.

    make bench BENCH=serving
        [BENCH_ARGS='--promotions 20 --clients 8 --workers 1 --json FILE']

Starts an MLflow server of its own and ``understudy serve``, in a temporary folder that it removes.
Clients ask without a pause on connections that they keep; each answer is compared. Every promotion
is a real one: noted in the history, moved, verified; its time runs from there to the first answer
of the new version.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
import uuid
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.fixtures import rehearsal
from tests.fixtures.model_registry import promoter
from tests.fixtures.serving import Serving

from bench.tracking_server import TrackingServer
from understudy.cli.terminal import render
from understudy.registry.promoter import MoveRequest
from understudy.serving.answers import quantile


@dataclass(frozen=True)
class Load:
    """What was seen. Rates in requests a second, times of requests in milliseconds."""

    promotions: int
    requests: int
    failed: int
    rate: float
    p50_ms: float
    p99_ms: float
    slowest_ms: float
    median_promotion_s: float
    longest_promotion_s: float


def promoted(serving: Serving, version: str, before: str | None) -> float:
    """Promote a version; return the seconds until it answers."""
    began = time.monotonic()
    uri = serving.client.tracking_uri
    promoter(uri).move(MoveRequest(serving.model, version, before, f"{before} {version} {began}"))
    serving.eventually(lambda: serving.get("/champion").get("version") == version)
    return time.monotonic() - began


def loaded(serving: Serving, promotions: int) -> Load:
    """Ask without a pause while two versions take turns."""
    promoted(serving, "1", None)
    began = time.monotonic()
    serving.load()
    versions = [("2", "1"), ("1", "2")]
    taken = [promoted(serving, *versions[number % 2]) for number in range(promotions)]
    serving.unload()
    seconds = time.monotonic() - began
    waited = [1000 * one for one in serving.seconds]
    return Load(
        promotions=promotions,
        requests=len(waited),
        failed=len(serving.failures),
        rate=len(waited) / seconds,
        p50_ms=quantile(waited, 0.5),
        p99_ms=quantile(waited, 0.99),
        slowest_ms=max(waited),
        median_promotion_s=quantile(taken, 0.5),
        longest_promotion_s=max(taken),
    )


def measured(folder: Path, options: argparse.Namespace) -> Load:
    """Start what is needed, measure, and end it."""
    server = TrackingServer(folder)
    server.start()
    try:
        stage = rehearsal.set_up(server.address, folder)
        model, client = f"served {uuid.uuid4().hex[:8]}", stage.client
        source = client.get_model_version(stage.model, "1").source
        client.create_registered_model(model)
        for _ in range(2):
            client.create_model_version(model, source, model_id=source.rpartition("/")[2])
        serving = Serving(client, model, folder / "serve.log", options.clients, options.workers)
        try:
            serving.eventually(lambda: serving.get("/champion") != {})
            return loaded(serving, options.promotions)
        finally:
            serving.process.terminate()
            serving.process.wait(60)
    finally:
        server.kill()


def main(arguments: Sequence[str] | None = None) -> int:
    """Print what was seen; exit code 1 if a request failed."""
    parser = argparse.ArgumentParser(prog="bench serving", description="Who notices a promotion?")
    parser.add_argument("--promotions", type=int, default=20)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="bench-serving-") as place:
        load = measured(Path(place), options)
    rows = [[name.replace("_", " "), f"{value:g}"] for name, value in asdict(load).items()]
    sys.stdout.write(f"{render(['what', 'seen'], rows)}\n")
    if options.json:
        options.json.write_text(json.dumps(asdict(load), indent=2), encoding="utf-8")
    return int(load.failed > 0)
