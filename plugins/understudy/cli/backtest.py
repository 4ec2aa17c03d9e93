"""``understudy backtest``: nights of the past through a project's own steps, under any rules."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from understudy.cli.arguments import env_manager, rules
from understudy.cli.terminal import absolute, add_json, render, to_stderr
from understudy.errors import DeclarationError, ParameterError, listed, nearest
from understudy.spec import quantities

FAULTY_NIGHTS: Final = 0.01
"""Share of the nights that one fault spoils, where nobody says."""
MOST_FAULTY: Final = 0.2
"""Five faults never need more nights than there are."""
EVERY_FAULT: Final = "all"
_WIDEST: Final = 120
"""Characters of a line of the drawing at most."""

if TYPE_CHECKING:
    from understudy.backtest.plan import Fault
    from understudy.backtest.replay import BacktestRequest
    from understudy.gate import Gate, Metric

DEFAULT_RULES: Final = "default"
"""Name of the rules that apply where a pipeline states none but a primary metric."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``backtest``."""
    parser.description = (
        "Replays nights of a time-ordered data set through a project's own steps: each night is "
        "trained once and judged by every rule set. Start it again with the same words and it goes "
        "on where it ended."
    )
    parser.add_argument("project", help="https://host/repo.git#sub/dir, or a folder")
    parser.add_argument("--version", default="", help="branch, tag or commit")
    parser.add_argument("--dataset", default="", help="short for -P dataset=...")
    parser.add_argument(
        "-P", dest="parameters", action="append", default=[], metavar="NAME=VALUE",
        help="a parameter of the project's entry points",
    )  # fmt: skip
    parser.add_argument("--nights", type=int, required=True, help="how many")
    parser.add_argument("--every", default="1d", help="time between two nights (default: 1d)")
    parser.add_argument("--until", default="", metavar="DATE", help="default: the newest row")
    parser.add_argument(
        "--holdout-days", type=float, default=14.0,
        help="the newest days that judge a challenger, where the project's preprocess has the "
        "parameter holdout_days (default: 14)",
    )  # fmt: skip
    parser.add_argument(
        "--rules", nargs="+", type=Path, default=[], metavar="FILE",
        help="rule sets, .json or .py; the default rules for --metric are always among them "
        "(default: two more, of which one asks for proof and the other hardly refuses)",
    )  # fmt: skip
    parser.add_argument(
        "--inject", nargs="+", default=[], metavar="FAULT[:SHARE]",
        help="replay a share of the nights (default: 0.01) once more, with a fault: "
        "labels, unit, rows, month, mean, or all of them",
    )  # fmt: skip
    parser.add_argument(
        "--refit", action="store_true",
        help="train each night once more, on all of its rows, and say what these models would "
        "have served where they are promoted in place of those that were judged",
    )  # fmt: skip
    parser.add_argument("--metric", default="", help="what serving is counted by")
    parser.add_argument("--out", type=Path, required=True, help="folder for all that is made")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="default: all cores")
    parser.add_argument("--env-manager", default="uv", type=env_manager)
    add_json(parser)
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    from understudy.backtest.picture import page
    from understudy.backtest.place import BacktestFolder
    from understudy.backtest.replay import backtest
    from understudy.backtest.results import sketch, table

    request, folder = _request(options), BacktestFolder(options.out)
    result = backtest(request, folder, max(options.jobs, 1), to_stderr)
    text = json.dumps(result, indent=1)
    (options.out / "results.json").write_text(text, encoding="utf-8")
    (options.out / "results.html").write_text(page(result), encoding="utf-8")
    if options.json:
        print(text)
    elif sys.stdout.isatty():
        width, marks = _terminal()
        layout = partial(within, width)
        print("\n".join((*table(result, layout), "", *sketch(result, width, marks))))
    else:
        print("\n".join(table(result)))
    to_stderr(f"See {options.out / 'results.html'} and results.json")
    return 0


def within(width: int, titles: Sequence[str], rows: Sequence[Sequence[str]]) -> Sequence[str]:
    """Return the lines of a table, none wider than the terminal."""
    from understudy.backtest.results import beside

    lines = beside(titles, rows)
    fits = max(map(len, lines)) <= width
    return lines if fits else render(titles, rows, width).splitlines()


def _terminal() -> tuple[int, str]:
    """Return how wide the terminal is, and characters from low to high that it can show."""
    from understudy.backtest.results import BLOCKS, DIGITS

    width = min(shutil.get_terminal_size((80, 24)).columns, _WIDEST)
    try:
        BLOCKS.encode(sys.stdout.encoding)
    except UnicodeEncodeError:
        return width, DIGITS
    return width, BLOCKS


def _request(options: argparse.Namespace) -> BacktestRequest:
    from understudy.backtest.replay import BacktestRequest
    from understudy.gate import Gate, Metric

    # Rule sets are named by their files. Where two names, or one and the default's, are the same,
    # a later set would replace an earlier one, so all of them are named by their paths.
    stems = [path.stem for path in options.rules]
    distinct = len(set(stems)) == len(stems) and DEFAULT_RULES not in stems
    rule_sets = {path.stem if distinct else str(path): rules(path) for path in options.rules}
    metric = _metric(options.metric, rule_sets)
    bare = Metric(metric.name, lower_is_better=metric.lower_is_better, function=metric.function)
    parameters = _parameters(options.dataset, options.parameters)
    if options.nights < 1:
        raise ParameterError(
            f"--nights is {options.nights}", allowed="a whole number above 0", action="correct it"
        )
    return BacktestRequest(
        project=absolute(options.project),
        version=options.version,
        parameters=parameters,
        nights=options.nights,
        every=_every(options.every),
        until=options.until,
        holdout_days=options.holdout_days,
        env_manager=options.env_manager,
        rules={DEFAULT_RULES: Gate(bare), **(rule_sets or _usual(bare))},
        metric=metric,
        faults=_faults(options.inject),
        refit=options.refit,
    )


def _usual(metric: Metric) -> dict[str, Gate]:
    """Return what to compare the default with where nobody says: stricter, laxer, learned."""
    from understudy.gate import Gate, Learned

    strict, lax = replace(metric, min_gain=0.0), replace(metric, max_loss=0.05, relative="error")
    learned = Gate(metric, learn=Learned())
    return {"min_gain=0": Gate(strict), "max_loss=5%": Gate(lax), "learned": learned}


def _faults(given: Sequence[str]) -> dict[Fault, float]:
    """Return the share of nights that each fault is to spoil."""
    from understudy.backtest.plan import Fault

    faults: dict[Fault, float] = {}
    for text in given:
        name, _, share = text.partition(":")
        try:
            named = list(Fault) if name == EVERY_FAULT else [Fault(name)]
            shares = dict.fromkeys(named, float(share or FAULTY_NIGHTS))
        except ValueError:
            shares = {}
        if not shares or not all(0 < value <= MOST_FAULTY for value in shares.values()):
            raise ParameterError(
                f"--inject {text!r} is no fault on a share of the nights"
                f"{nearest(name, [*map(str, Fault), EVERY_FAULT])}",
                allowed=f"{listed([*Fault, EVERY_FAULT])}, and after a colon a number above 0, at "
                f"most {MOST_FAULTY:g}",
                action="correct it",
            )
        faults.update(shares)
    return faults


def _metric(name: str, rule_sets: Mapping[str, Gate]) -> Metric:
    """Return the metric that serving is measured by: the named one, or the first primary one."""
    from understudy.gate import Metric

    if name:
        # Direction and function of a metric of one's own stand in the rules alone.
        known = (
            m for g in rule_sets.values() for m in (g.primary, *g.guardrails) if m.name == name
        )
        found = next(known, None)
        return Metric(name) if found is None else found
    if not rule_sets:
        raise DeclarationError(
            "Neither --metric nor --rules is given",
            allowed="a metric to count by, or rules with a primary one",
            action="add --metric rmse, or whatever counts",
        )
    return next(iter(rule_sets.values())).primary


def _parameters(dataset: str, given: Sequence[str]) -> dict[str, str]:
    named = {"dataset": dataset} if dataset else {}
    for text in given:
        name, separator, value = text.partition("=")
        if not name or not separator:
            raise ParameterError(
                f"-P {text!r} is no parameter", allowed="NAME=VALUE", action="correct it"
            )
        named[name] = value
    return named


def _every(text: str) -> timedelta:
    try:
        seconds = quantities.duration(text)
    except ValueError as error:
        raise ParameterError(
            f"--every: {error}", allowed="a duration such as 1d or 12h", action="correct it"
        ) from error
    return timedelta(seconds=seconds)
