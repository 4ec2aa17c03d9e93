"""``understudy replay``: judges past nights again, under the same rules or under others."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from understudy.cli.arguments import client, moment, rules, tracking_address
from understudy.cli.terminal import add_json, print_json, to_stderr
from understudy.errors import DecisionError
from understudy.redact import plain

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

    from understudy.decide.replay import Replayed
    from understudy.decide.stored_records import Archived
    from understudy.gate import Gate

# 1 and 2 are taken: an error of ours, and a wrong argument (argparse).
_DIFFERS = 3
_NOT_JUDGED = "-"
_FIRST, _LAST = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
_TITLES = ("night", "outcome", "verdict then", "verdict now", "why now")
_KEYS = ("night", "outcome", "then", "now", "why")


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``replay``."""
    parser.description = (
        "Recomputes a verdict from its stored inputs and says what differs (exit code 3). With "
        "other rules: what they would have said. Each night is compared with the champion that it "
        "had then, also where other rules would have had another one by that night."
    )
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("night", nargs="?", metavar="RUN|FILE", help="a night's run, or its record")
    which.add_argument("--pipeline", metavar="NAME", help="all nights of a pipeline")
    for name, default in (("since", _FIRST), ("until", _LAST)):
        parser.add_argument(
            f"--{name}", type=moment, default=default, metavar="DATE", help="as-of date, UTC"
        )
    parser.add_argument("--rules", type=Path, help="judge under these: a .json or .py file")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the new record there")
    add_json(parser)
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    return _nights(options) if options.pipeline else _night(options)


def _night(options: argparse.Namespace) -> int:
    from understudy.decide.evaluator import Evaluator
    from understudy.decide.replay import replayed

    document, made = _document(options.night)
    (one,) = replayed([document], Evaluator(made), to_stderr, _rules(options))
    if options.out:
        options.out.write_text(one.now.to_json(), encoding="utf-8")
    if options.json:
        print_json([_facts(one)])
        return _DIFFERS if one.differences and not options.rules else 0
    if options.rules:
        print(f"Verdict then: {one.stored['verdict']}")
        print("\n".join(one.now.summary_lines()))
        return 0
    print("\n".join(one.now.summary_lines()))
    if not one.differences:
        print("Nothing differs from the stored record.")
        return 0
    print(f"{len(one.differences)} differences from the stored record:")
    for difference in one.differences:
        print(f"  {plain(difference)}")
    # Other versions of the libraries may compute other last digits.
    then = one.stored.get("software", {})
    if then != one.now.software:
        print(f"  computed with {_versions(then)} then, with {_versions(one.now.software)} now")
    return _DIFFERS


def _facts(one: Replayed) -> dict[str, object]:
    context, now = one.stored.get("context", {}), one.now
    return {
        "night": context.get("as_of", "")[:10],
        "then": one.stored["verdict"],
        "now": now.verdict,
        "why": now.decision.why,
        "differences": list(one.differences),
    }


def _versions(software: object) -> str:
    named = software.items() if isinstance(software, dict) else ()
    return ", ".join(f"{name} {version}" for name, version in named) or "versions that are unknown"


def _nights(options: argparse.Namespace) -> int:
    import shutil

    from understudy.cli.terminal import render
    from understudy.decide import stored_records
    from understudy.decide.evaluator import Evaluator
    from understudy.decide.replay import replayed_where_possible

    made = client()
    found = list(stored_records.nights(made, options.pipeline, options.since, options.until))
    if not found:
        raise DecisionError(
            f"Found no judged night of {options.pipeline!r} in that time",
            allowed="a pipeline with judged nights on this MLflow server",
            action="correct --pipeline, --since or --until",
        )
    documents = (one.document for one in found)
    again = replayed_where_possible(documents, Evaluator(made), to_stderr, _rules(options))
    rows = [_row(old, one) for old, one in zip(found, again, strict=True)]
    lost = sum(now == _NOT_JUDGED for _, _, _, now, _ in rows)
    other = sum(now not in {then, _NOT_JUDGED} for _, _, then, now, _ in rows)
    if options.json:
        print_json(dict(zip(_KEYS, row, strict=True)) for row in rows)
    else:
        print(render(_TITLES, rows, shutil.get_terminal_size((120, 24)).columns))
        print(f"{len(rows)} nights, {other} with another verdict")
        if lost:
            print(f"{lost} of them could not be judged again")
    # Under other rules another verdict is the answer, under the same rules it is an alarm.
    return _DIFFERS if (other or lost) and not options.rules else 0


def _row(old: Archived, one: Replayed | DecisionError) -> tuple[str, str, str, str, str]:
    head = (old.as_of[:10], old.outcome, old.verdict)
    if isinstance(one, DecisionError):
        return (*head, _NOT_JUDGED, old.lost or one.found)
    return (*head, one.now.verdict, one.now.decision.why)


def _rules(options: argparse.Namespace) -> Gate | None:
    return rules(options.rules) if options.rules else None


def _document(name: str) -> tuple[str, MlflowClient | None]:
    """Return a record and the client that reaches its predictions, if one is needed."""
    from understudy.decide import stored_records

    if Path(name).is_file():
        # A record of a file of predictions is judged again without any server, as it was made.
        document = Path(name).read_text(encoding="utf-8")
        return document, client(wait=False) if tracking_address() else None
    made = client()
    return stored_records.document(made, name), made
