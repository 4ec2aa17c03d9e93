"""``understudy backtest``: nights of the past through a project's own steps, under any rules."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

from understudy.cli.arguments import rules
from understudy.contract import ENV_MANAGERS
from understudy.errors import DeclarationError, ParameterError
from understudy.spec import quantities

if TYPE_CHECKING:
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
        help="rule sets, .json or .py; the default rules for --metric are always among them",
    )  # fmt: skip
    parser.add_argument("--metric", default="", help="what serving is counted by")
    parser.add_argument("--out", type=Path, required=True, help="folder for all that is made")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="default: all cores")
    parser.add_argument("--env-manager", default="uv", choices=ENV_MANAGERS)
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    from understudy.backtest.picture import page
    from understudy.backtest.place import BacktestFolder
    from understudy.backtest.replay import backtest
    from understudy.backtest.results import table

    wanted = _wanted(options)
    result = backtest(wanted, BacktestFolder(options.out), max(options.jobs, 1), _tell)
    (options.out / "results.json").write_text(json.dumps(result, indent=1), encoding="utf-8")
    (options.out / "results.html").write_text(page(result), encoding="utf-8")
    for line in table(result):
        print(line)
    print(f"See {options.out / 'results.html'} and results.json")
    return 0


def _wanted(options: argparse.Namespace) -> BacktestRequest:
    from understudy.backtest.replay import BacktestRequest

    rule_sets = _rule_sets(options.rules)
    metric = _metric(options.metric, rule_sets)
    return BacktestRequest(
        project=_absolute(options.project),
        version=options.version,
        parameters=_parameters(options.dataset, options.parameters),
        nights=_positive(options.nights),
        every=_every(options.every),
        until=options.until,
        holdout_days=options.holdout_days,
        env_manager=options.env_manager,
        rules={**_default(metric), **rule_sets},
        metric=metric,
    )


def _rule_sets(paths: Sequence[Path]) -> dict[str, Gate]:
    """Return the rule sets by the names of their files, longer ones where two are the same."""
    stems = [path.stem for path in paths]
    distinct = len(set(stems)) == len(stems) and DEFAULT_RULES not in stems
    return {path.stem if distinct else str(path): rules(path) for path in paths}


def _metric(name: str, rule_sets: Mapping[str, Gate]) -> Metric:
    """Return what serving is counted by: what is named, or the first rule set's primary metric."""
    from understudy.gate import Metric

    if name:
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


def _default(metric: Metric) -> dict[str, Gate]:
    from understudy.gate import Gate, Metric

    bare = Metric(metric.name, lower_is_better=metric.lower_is_better, function=metric.function)
    return {DEFAULT_RULES: Gate(bare)}


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


def _positive(nights: int) -> int:
    if nights < 1:
        raise ParameterError(
            f"--nights is {nights}", allowed="a whole number above 0", action="correct it"
        )
    return nights


def _every(text: str) -> timedelta:
    try:
        seconds = quantities.duration(text)
    except ValueError as error:
        raise ParameterError(
            f"--every: {error}", allowed="a duration such as 1d or 12h", action="correct it"
        ) from error
    return timedelta(seconds=seconds)


def _absolute(project: str) -> str:
    """Return a folder that exists here as an absolute one; everything else as it is."""
    folder, separator, subdirectory = project.partition("#")
    is_folder = "://" not in folder and Path(folder).is_dir()
    return f"{Path(folder).absolute()}{separator}{subdirectory}" if is_folder else project


def _tell(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()
