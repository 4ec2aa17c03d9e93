"""``understudy rollback``: makes an earlier version champion again, and records why."""

from __future__ import annotations

import argparse
import getpass
import uuid

from understudy.cli.arguments import client, known_model, mlflow_errors, moment
from understudy.errors import warn_of_old_name
from understudy.registry.history import Scope


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.description = (
        "Rehearses an earlier version and points the alias champion at it. The version that was "
        "champion does not return by itself; a better one may."
    )
    parser.add_argument("model", help="the registered model")
    parser.add_argument(
        "--to", default="", metavar="VERSION", help="by default the champion before this one"
    )
    parser.add_argument("--why", required=True, help="the reason, for the history")
    parser.add_argument(
        "--block",
        type=Scope,
        choices=list(Scope),
        default=Scope.VERSION,
        help="what may not return by itself: the version and what is trained from the same input, "
        "all of its commit, or any night's model",
    )
    parser.add_argument("--hold", type=Scope, action=_Former, help=argparse.SUPPRESS)
    parser.add_argument(
        "--until", type=moment, metavar="MOMENT", help="when it may; by default never"
    )
    parser.add_argument(
        "--no-rehearsal", action="store_true", help="for a model that MLflow cannot serve"
    )
    parser.set_defaults(run=_run)


class _Former(argparse.Action):
    """The name of ``--block`` in 0.1."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: object,
        option_string: str | None = None,
    ) -> None:
        """Take the value for that of ``--block``, and say so."""
        del parser
        warn_of_old_name(str(option_string), f"--block {values}")
        namespace.block = values


def _run(options: argparse.Namespace) -> int:
    from understudy.registry.promoter import Promoter
    from understudy.registry.rehearsal import Rehearser
    from understudy.registry.rollback import RollbackRequest, Rollbacks
    from understudy.store.tracking import RunStore

    made = client()
    known_model(made, options.model)
    runs = RunStore(made)
    request = RollbackRequest(
        model=options.model,
        why=options.why,
        actor=getpass.getuser(),
        # Every call is an attempt of its own: one with a known key would be taken as made already.
        key=uuid.uuid4().hex,
        to=options.to,
        scope=options.block,
        until=options.until.isoformat() if options.until else "",
        rehearse=not options.no_rehearsal,
    )
    rollbacks = Rollbacks(
        made, runs, Promoter(made, runs), lambda terms: Rehearser(made, runs, terms)
    )
    with mlflow_errors():
        done = rollbacks.make(request, print)
    print(
        f"{done.model}: version {done.version} is champion; it replaced {done.replaced or 'none'}"
    )
    return 0
