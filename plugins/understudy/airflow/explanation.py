"""What Airflow's UI says about a pipeline and its tasks, written from the declaration. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from understudy.airflow import night_context as task
from understudy.redact import redacted
from understudy.spec.entry_points import Role
from understudy.spec.git_address import TEMPLATE
from understudy.spec.guards import GUARDS, OFF
from understudy.spec.pipeline import AfterPromotion, Pipeline
from understudy.spec.rules import AUTO, Bound, Gate, Metric, Slice, Unscorable

TASKS: Final = {
    task.PIN: "Fixes one commit, the present champion and one MLflow run for the whole night.",
    task.DOWNLOAD: "Gets the data as of the night. Where code, data, parameters and rules are "
    "those of an earlier night, the night ends here: SKIPPED.",
    task.PREPROCESS: "Checks the rows and splits them into a training set and a holdout.",
    task.SEARCH: "Workers that share one study of hyperparameters; each ends when the study has "
    "ended. Tried again or cleared, it goes on with the study.",
    task.TRAIN: "Trains the challenger.",
    task.VALIDATE: "Scores challenger and champion on the same holdout, one task each. Without a "
    "champion its task is skipped.",
    task.GATE: "Compares the two models on the same rows by the rules, and stores the verdict with "
    "its reasons. It moves nothing.",
    task.APPROVE: "Passes a verdict of PROMOTE on; asks a person first where the run was told so. "
    "Skipped for every other verdict.",
    task.REFIT: "Trains the challenger that has passed again on all rows, the holdout's included, "
    "and compares its predictions with those that were judged. That model goes on from here.",
    task.REHEARSE: "Serves the challenger in the environment that it records, asks it rows of the "
    "holdout over HTTP, and compares the answers with the predictions that were judged.",
    task.PROMOTE: "Moves the alias `champion` to the challenger; if the champion has changed "
    "meanwhile, compares with the new one first.",
    task.MATURED: "Sees nights again whose later rows have their targets now: would the other "
    "model have served better? What it finds stands in their runs; it never fails the night.",
    task.REPORT: "Says how the night ended, here and in MLflow, and ends the night's MLflow run.",
}
"""One paragraph of Markdown for each task."""

_TRAINED: Final = (
    "Compares by the rules what the training runs of challenger and champion logged, each on rows "
    "of its own, and stores the verdict. It moves nothing."
)
_OUTCOMES: Final = """\
| Outcome | What happened | What the grid shows |
|---|---|---|
| PROMOTED | The challenger passed the gate and is the champion now. | every task green |
| REJECTED | It broke a rule; the log of `gate` says which. | `approve` and `promote` skipped |
| HELD | It is not certain which is better, or nobody let it pass. | `promote` skipped |
| SKIPPED | Nothing changed since an earlier night. | all after `pin` skipped |
| FAILED | Something broke; the champion is untouched. | the run is red |"""
_BOUNDS: Final = {
    Bound.AT_LEAST: "must be at least {0}",
    Bound.AT_MOST: "must be at most {0}",
    Bound.MIN_GAIN: "must be better than the champion's by at least {0}",
    Bound.MAX_LOSS: "may be worse than the champion's by at most {0}",
    Bound.TOLERANCE: "must not be shown to be worse than the champion's, nor be worse by more "
    "than {0} as measured",
}


def of_pipeline(pipeline: Pipeline) -> str:
    """Return the Dag's documentation as Markdown."""
    return "\n\n".join(
        (
            _what(pipeline),
            "### How a night may end",
            _OUTCOMES,
            "### Rules of the gate",
            "\n".join(f"* {line}" for line in _rules(pipeline.gate)),
            "### Tasks",
            "\n".join(f"* `{name}`: {text}" for name, text in _tasks(pipeline)),
            "The tab *Details* of a task has a button *MLflow run*, which opens what it logged.",
        )
    )


def of_after_promotion(pipeline: Pipeline, after: AfterPromotion) -> str:
    """Return the documentation of the Dag that hands a champion on, as Markdown."""
    return (
        f"Runs the entry point `{after.entry_point}` of `{project(pipeline)}` for the champion of "
        f"**{pipeline.model}**, whenever a night or a rollback has moved the alias. Trigger it to "
        "run it again, such as after a champion was chosen by hand. A failed run means that the "
        "champion has not been handed on; it is champion all the same."
    )


def project(pipeline: Pipeline) -> str:
    """Return where the code is, without credentials; of a template only the folder."""
    # A template is rendered when a task runs, and may hold what only then may be seen: a password.
    uri = pipeline.project.uri
    return uri.rpartition("#")[2] if TEMPLATE in uri else redacted(uri)


def _tasks(pipeline: Pipeline) -> Iterator[tuple[str, str]]:
    """Yield the tasks that the pipeline has, with what each does."""
    missing = {str(role) for role in set(Role) - set(pipeline.steps.by_role)}
    if pipeline.search is None:
        missing.add(task.SEARCH)
    if pipeline.refit is None:
        missing.add(task.REFIT)
    if pipeline.rehearsal is None:
        missing.add(task.REHEARSE)
    if pipeline.label_delay is None:
        missing.add(task.MATURED)
    for name, text in TASKS.items():
        if name not in missing:
            trained = name == task.GATE and pipeline.steps.validate is None
            yield name, _TRAINED if trained else text


def _what(pipeline: Pipeline) -> str:
    version, dag = pipeline.project.version, pipeline.after_promotion_dag
    after = f" The Dag `{dag}` then hands the new champion on." if dag else ""
    return (
        f"Retrains the registered model **{pipeline.model}** with the code of "
        f"`{project(pipeline)}` ({f'version `{version}`' if version else 'default branch'}) and "
        "makes the new model, the challenger, champion only if it passes the gate. MLflow has "
        f"the nights in the experiment **{pipeline.experiment}**.{after}"
    )


def _rules(gate: Gate) -> Iterator[str]:
    """Yield each rule, and what else decides."""
    yield from (_rule(*rule) for rule in gate.rules)
    cuts = [one.column for one in gate.slices if isinstance(one, Slice)]
    if cuts:
        yield f"every rule must hold in each slice by {', '.join(f'`{name}`' for name in cuts)}"
    if gate.time_block == AUTO:
        yield "rows are taken in the order of `time`, where they have one"
    elif joined := gate.cluster or gate.time_block:
        yield f"rows of one `{joined}` count as one piece of evidence"
    if gate.guards is not None:
        stated = gate.guards.to_dict()
        levels = ", ".join(f"`{name}` {stated[name]}" for name in GUARDS if stated[name] != OFF)
        yield f"guards look at the rows first: {levels}"
    for name, limit in gate.budgets.limits if gate.budgets is not None else ():
        most = [limit.at_most] if limit.at_most else []
        if limit.growth is not None:
            most.append(f"{1 + limit.growth:g} times the champion's")
        if most and limit.level != OFF:
            yield f"`{name}` may be at most {' and '.join(most)}, else: {limit.level}"
    if gate.unscored_champion != Unscorable.HOLD:
        yield f"where the champion cannot be scored: {gate.unscored_champion}"
    if gate.shadow_nights:
        yield f"the first {gate.shadow_nights} judged nights only say what they would do"


def _rule(metric: Metric, bound: Bound, value: float) -> str:
    if bound is Bound.MIN_GAIN and value == 0:
        text = "must not be worse than the champion's"
    else:
        relative = metric.relative and bound.needs_champion
        lacks = f" of 1 - {metric.name}" if metric.best else ""
        text = _BOUNDS[bound].format(f"{100 * value:g} %{lacks}" if relative else f"{value:g}")
    sure = f", {100 * (1 - metric.alpha):g} % sure" if bound.needs_champion else ""
    return f"`{metric.name}` ({metric.direction} is better) {text}{sure}"
