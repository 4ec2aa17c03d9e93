"""``understudy serve``: the champion over HTTP, and its successors without a dropped request."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
from functools import partial
from types import FrameType
from typing import TYPE_CHECKING

from understudy.cli.arguments import client, env_manager
from understudy.cli.terminal import end_soon, leave
from understudy.spec.quantities import size

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

_LOCK = threading.Lock()


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.description = (
        "Serves the version that holds the alias champion, in the environment that it records, by "
        "MLflow's scoring protocol: /invocations, /ping, /version; /champion says which version. "
        "When the alias moves, the next version is loaded beside the present one and takes over."
    )
    parser.add_argument("model", help="the registered model")
    parser.add_argument("--host", default="127.0.0.1", help="where to listen")
    parser.add_argument("--port", type=int, default=5002)
    parser.add_argument("--workers", type=int, default=1, help="processes that predict")
    parser.add_argument(
        "--poll", type=float, default=2.0, help="seconds between looks at the alias"
    )
    parser.add_argument(
        "--startup", type=float, default=300.0, help="seconds that a version may take to load"
    )
    parser.add_argument(
        "--largest-request",
        type=size,
        metavar="SIZE",
        default="16MB",
        help="largest body of a request",
    )
    parser.add_argument(
        "--env-manager",
        type=env_manager,
        help="by default what built the environment of the version's rehearsal",
    )
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    import uvicorn

    from understudy.runner.settings import Settings
    from understudy.serving.alias_watcher import AliasWatcher
    from understudy.serving.instance import Opener, ServingTerms
    from understudy.serving.proxy import Proxy, TimedConnection

    # It asks again in a moment, and goes on meanwhile: MLflow's own patience would only hide that.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    made = client(wait=False)
    proxy = Proxy(options.model, _print, options.largest_request)
    terms = ServingTerms(options.workers, options.env_manager or "", options.startup)
    opener = Opener(made, terms, _print, Settings.from_environment())
    champion = partial(_champion, made, options.model)
    follower = AliasWatcher(proxy, champion, opener, options.poll, _print)
    config = uvicorn.Config(
        proxy.app(),
        host=options.host,
        port=options.port,
        http=TimedConnection,
        ws="none",
        access_log=False,
        log_level="warning",
    )

    class ServerUntilInterrupt(uvicorn.Server):
        """Ends in good order, however long a request takes, but for Ctrl-C."""

        def handle_exit(self, sig: int, frame: FrameType | None) -> None:
            if sig == signal.SIGINT:
                end_soon()
            super().handle_exit(sig, frame)

    server = ServerUntilInterrupt(config)
    # uvicorn puts its own handler in the place of this one, ends in good order, and then sends the
    # signal again: to this handler, so that the exit code is 0 and `finally` runs.
    signal.signal(signal.SIGTERM, leave)
    follower.start()
    try:
        server.run()
    finally:
        follower.stop()
    return 0 if server.started else 1


def _champion(made: MlflowClient, model: str) -> str | None:
    from understudy.cli.arguments import mlflow_errors
    from understudy.registry.versions import Registry

    with mlflow_errors():
        found = Registry(made).champion(model)
    return None if found is None else str(found.version)


def _print(line: str) -> None:
    # The model servers' lines come from threads of their own, and must not run into each other.
    with _LOCK:
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()
