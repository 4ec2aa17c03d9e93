"""``understudy metrics``: nights, verdicts, steps and champions, as Prometheus reads them."""

from __future__ import annotations

import argparse
import signal
import sys
import time


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.description = (
        "Serves /metrics for Prometheus: counters of nights, verdicts and steps that ended since "
        "this began, and since when each champion is champion. Reads MLflow, and writes nothing."
    )
    parser.add_argument("--host", default="127.0.0.1", help="where to listen")
    parser.add_argument("--port", type=int, default=9102)
    parser.add_argument(
        "--age", type=float, default=15.0, help="seconds for which one look at MLflow is good"
    )
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    from understudy.cli.arguments import client, mlflow_errors
    from understudy.cli.terminal import leave
    from understudy.monitoring.exporter import Observer, server

    # MLflow's times are milliseconds. Counters begin at zero now, as Prometheus expects.
    observer = Observer(client(wait=False), int(time.time() * 1000))

    def look() -> None:
        with mlflow_errors():
            observer.look()

    address = options.host, options.port
    with server(address, observer.registry, look, options.age) as http:
        signal.signal(signal.SIGTERM, leave)
        print(f"http://{options.host}:{http.server_port}/metrics")
        sys.stdout.flush()
        http.serve_forever()
    return 0
