"""``understudy retention``: lists what of a pipeline's past may be deleted, and deletes it."""

from __future__ import annotations

import argparse
from datetime import timedelta

from understudy.cli.arguments import client, mlflow_errors
from understudy.cli.terminal import add_json, parsed_by, print_json, to_stderr
from understudy.registry.retention import Keep
from understudy.spec import quantities

_KEEP = Keep()


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.description = (
        "Lists the nights and versions of a pipeline that may go, and why the others stay. Removes "
        "nothing without --remove. Runs go to MLflow's trash; `mlflow gc` on the server empties it."
    )
    parser.add_argument("pipeline", help="the Dag's id, or its experiment's name")
    parser.add_argument("--model", default="", help="the registered model, if named otherwise")
    parser.add_argument(
        "--age",
        type=parsed_by(_age),
        default=_KEEP.age,
        metavar="180d",
        help="keep what is younger",
    )
    for name, what in (
        ("nights", "so many last nights"),
        ("versions", "so many last versions"),
        ("moves", "what so many last moves of the champion name"),
    ):
        default = getattr(_KEEP, name)
        parser.add_argument(
            f"--{name}", type=int, default=default, metavar="N", help=f"keep {what}: {default}"
        )
    parser.add_argument("--remove", action="store_true", help="remove what may go")
    add_json(parser)
    parser.set_defaults(run=_run)


def _age(text: str) -> timedelta:
    return timedelta(seconds=quantities.duration(text))


def _run(options: argparse.Namespace) -> int:
    from understudy.registry.garbage_collector import GarbageCollector, Owner
    from understudy.registry.promoter import Promoter
    from understudy.store.tracking import RunStore

    keep = Keep(options.age, options.nights, options.versions, options.moves)
    made = client()
    runs = RunStore(made)
    collector = GarbageCollector(made, runs, Promoter(made, runs))
    owner = Owner(options.pipeline, options.model or options.pipeline)
    with mlflow_errors():
        if options.remove:
            planned = collector.carry_out(owner, keep, to_stderr if options.json else print)
        else:
            planned = collector.plan(owner, keep)
    if options.json:
        print_json({"item": item, "goes": goes, "why": why} for item, goes, why in planned.items())
        return 0
    if not options.remove:
        print("\n".join(planned.summary_lines()))
    count = sum(len(night.runs) for night in planned.nights)
    verb = "Removed" if options.remove else "Would go:"
    print(
        f"{verb} {len(planned.nights)} nights with {count} runs, {len(planned.versions)} versions"
    )
    return 0
