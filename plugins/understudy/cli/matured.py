"""``understudy matured``: which verdicts were right, seen when the later rows had their targets."""

from __future__ import annotations

import argparse
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from understudy.cli.arguments import client, moment
from understudy.cli.terminal import add_json, print_json
from understudy.errors import DecisionError

if TYPE_CHECKING:
    from understudy.gate import LateLabelRecord

_FIRST, _LAST = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
_TITLES: Final = (
    *("night", "verdict", "choice", "metric", "champion", "challenger", "rows", "gain"),
    "why",
)


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``matured``."""
    parser.description = (
        "Shows the nights of a pipeline that were seen again on rows that came after them: what "
        "the gate said then, and whether the other model would have served better. A gain above "
        "zero says that the challenger was better, below zero the champion."
    )
    parser.add_argument("pipeline", metavar="PIPELINE", help="name of the pipeline")
    for name, default in (("since", _FIRST), ("until", _LAST)):
        parser.add_argument(
            f"--{name}", type=moment, default=default, metavar="DATE", help="as-of date, UTC"
        )
    add_json(parser)
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    import shutil

    from understudy.cli.terminal import render
    from understudy.decide import stored_records
    from understudy.gate import Tally

    records = []
    for one in stored_records.matured(client(), options.pipeline, options.since, options.until):
        # A record that cannot be read must not hide the others.
        if isinstance(one, DecisionError):
            sys.stderr.write(f"understudy: left out: {one}\n")
        else:
            records.append(one)
    if not records:
        raise DecisionError(
            f"Found no night of {options.pipeline!r} in that time that was seen again",
            allowed="a pipeline with label_delay, and nights that are older than that",
            action="correct the name, --since or --until; or wait for a night",
        )
    if options.json:
        print_json(one.to_dict() for one in records)
        return 0
    print(render(_TITLES, list(map(_row, records)), shutil.get_terminal_size((140, 24)).columns))
    for line in Tally.of(records).summary_lines():
        print(line)
    return 0


def _row(record: LateLabelRecord) -> tuple[str, ...]:
    about, check = record.about, record.check
    head = (about.as_of[:10], about.verdict.value, record.choice.value)
    if check is None:
        return (*head, "-", "-", "-", str(record.rows), "-", record.reason)
    gain = _shown(check.gain)
    if check.interval is not None:
        gain += f" [{_shown(check.interval.low)}, {_shown(check.interval.high)}]"
    numbers = (_shown(check.champion), _shown(check.challenger), str(record.rows), gain)
    return (*head, check.metric, *numbers, record.reason)


def _shown(value: float | None) -> str:
    return "-" if value is None else f"{value:.5g}"
