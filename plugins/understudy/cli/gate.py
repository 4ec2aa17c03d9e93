"""``understudy gate``: judges two files of predictions, or two runs, without Airflow."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from understudy.cli import arguments
from understudy.cli.arguments import rules
from understudy.cli.terminal import to_stderr
from understudy.errors import DecisionError
from understudy.gate import DecisionRecord, Score, StoredPredictions, Unscored, Verdict

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

    from understudy.decide.evaluator import EvaluationResult

# 1 and 2 are taken: an error of ours, and a wrong argument (argparse).
_PARQUET: Final = b"PAR1"
"""How such a file begins."""
EXIT_CODES: Final = {Verdict.PROMOTE: 0, Verdict.HOLD: 3, Verdict.REJECT: 4}


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``gate``."""
    parser.description = (
        "Judges a challenger by the rules in a file. Exit code: 0 PROMOTE, 3 HOLD, 4 REJECT."
    )
    what = "a file of predictions (Parquet), or the MLflow run of a validation"
    parser.add_argument("--rules", type=Path, required=True, help="the rules: a .json or .py file")
    parser.add_argument("--challenger", required=True, metavar="FILE|RUN", help=what)
    parser.add_argument("--champion", metavar="FILE|RUN", help="the same; none for a first model")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the decision record there")
    parser.add_argument("--page", type=Path, metavar="FILE", help="draw it there as an HTML page")
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    from understudy.decide.evaluator import EvaluationRequest, Evaluator
    from understudy.report import render_or_tell

    gate, client = rules(options.rules), _client(options)
    challenger = _score(client, options.challenger)
    champion = _score(client, options.champion) if options.champion else None
    request = EvaluationRequest(
        gate, challenger, champion, **_rows_and_models(client, challenger, champion)
    )
    evaluated = Evaluator(client).evaluate(request, to_stderr)
    _refuse_unusable(options, evaluated)
    record = DecisionRecord.of(
        {"judged_by": "understudy gate"},
        gate,
        evaluated.challenger,
        evaluated.champion,
        basis=evaluated.basis,
        evidence=evaluated.evidence,
        software=evaluated.software,
        measurement=evaluated.measurement,
    )
    for line in record.summary_lines():
        print(line)
    # The record before its page, as in a night: no verdict depends on a picture.
    if options.out:
        options.out.write_text(record.to_json(), encoding="utf-8")
    if options.page:
        page = render_or_tell(record.to_dict(), dict(evaluated.summary) or None)
        options.page.write_text(page, encoding="utf-8")
    return EXIT_CODES[record.verdict]


def _refuse_unusable(options: argparse.Namespace, evaluated: EvaluationResult) -> None:
    """Refuse files of predictions that cannot be compared.

    In a night that is a fact to judge by; named on a command line these are the wrong files.

    Raises:
        DecisionError: saying why they cannot.
    """
    named = list(filter(None, (options.challenger, options.champion)))
    champion, evidence = evaluated.champion, evaluated.evidence
    blockers = evidence.blockers if evidence is not None else ()
    unusable = champion.reason if isinstance(champion, Unscored) else ""
    why = blockers[0] if blockers else unusable
    if why and all(map(_is_file, named)):
        raise DecisionError(
            f"{' and '.join(named)}: {why}",
            allowed="predictions of both models on the same rows",
            action="name the files of one holdout",
        )


def _rows_and_models(
    client: MlflowClient | None, challenger: Score, champion: Score | None
) -> dict[str, Any]:
    """Return the rows and models that two runs name; files name none."""
    if client is None or not challenger.run_id:
        return {}
    from understudy.decide.benchmark import BenchmarkModels
    from understudy.decide.inputs import model_of, rows_of

    in_production = None if champion is None else model_of(client, champion)
    models = BenchmarkModels(model_of(client, challenger), in_production)
    rows = rows_of(client, challenger.run_id, in_production.uri if in_production else "")
    return {"models": models, "rows": rows}


def _client(options: argparse.Namespace) -> MlflowClient | None:
    """Return a client only where a run is named: files need no server."""
    named = (options.challenger, options.champion)
    if all(_is_file(name) for name in named if name):
        return None
    return arguments.client()


def _is_file(name: str) -> bool:
    return name.endswith(".parquet") or Path(name).is_file()


def _check_file(name: str) -> None:
    """Check that a file can be one of predictions: a night judges what is there, a person mistypes.

    Raises:
        DecisionError: where it cannot.
    """
    try:
        with Path(name).open("rb") as file:
            found = "" if file.read(len(_PARQUET)) == _PARQUET else f"{name} is no Parquet file"
    except OSError as error:
        found = f"{name} cannot be read: {error.strerror}"
    if not found:
        return
    raise DecisionError(
        found,
        allowed="a Parquet file with the columns row_id, target and prediction",
        action="write one with pandas.DataFrame.to_parquet; docs/gate.md names the columns",
    )


def _score(client: MlflowClient | None, name: str) -> Score:
    """Return the score of a file of predictions or of a run.

    Raises:
        DecisionError: when there is neither.
    """
    if client is None or _is_file(name):
        _check_file(name)
        return Score(name, {}, predictions=StoredPredictions("", str(Path(name).resolve())))
    from mlflow.exceptions import MlflowException

    from understudy.contract import DataTag
    from understudy.store.tracking import tracking_errors

    try:
        with tracking_errors():
            run = client.get_run(name)
    except MlflowException as error:
        raise DecisionError(
            f"Found neither a file nor a run {name!r}: {error.message[:200]}",
            allowed="a Parquet file, or the id of a run at MLFLOW_TRACKING_URI",
            action="correct the name",
        ) from error
    digest = run.data.tags.get(DataTag.HOLDOUT_SHA256.value, "")
    return Score(name, dict(run.data.metrics), name, digest)
