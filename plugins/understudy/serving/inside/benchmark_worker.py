"""One model that is measured: loads it, predicts on request, answers with times.

Runs in the environment of the model's own project, whatever Python that is: started by the
coordinator as ``python benchmark_worker.py MODEL ROWS [PREDICTIONS]``, where ROWS is a Parquet
file, or the address of the model whose input example is taken, and PREDICTIONS one of the
challenger's, by which a model that does not say its columns is not asked the target. Needs mlflow
and what the model needs. Reads one JSON object a line from standard input, and answers each with
one on standard output, which the model's own prints do not reach.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    # In the model's environment the package is not there; the script's own folder is.
    from sample_questions import asked_columns, fitted_names  # type: ignore[import-not-found]
else:
    from understudy.serving.inside.sample_questions import asked_columns, fitted_names

MOST_ROWS = 1000
"""Rows of a prediction of many."""
EXACT = 2**53
"""Up to here a float holds every whole number."""
ROOMLESS = {"boolean", "integer", "long", "binary"}
"""Types of MLflow that have no missing value."""
SHOWN = 5
"""Columns in a message."""


def main() -> int:
    """Measure until there is nothing more to do."""
    sys.path[0] = os.getcwd()  # noqa: PTH109 -- the project's code, not what lies beside this file
    # The pipe to the coordinator is kept under another number, and standard output points at
    # standard error: what a model prints, in Python or in C, cannot stand between two answers.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    try:
        worker, answer = loaded(*sys.argv[1:4])
    except Exception as error:  # noqa: BLE001 -- whatever a model raises, it is reported and ends here
        refused = isinstance(error, RefusedError)
        reason = str(error) if refused else f"{type(error).__name__}: {error}"[:2000]
        answer = {"error": reason, "unreachable": isinstance(error, UnreachableError)}
        print(json.dumps(answer), file=answers, flush=True)
        return 1
    print(json.dumps(answer), file=answers, flush=True)
    for line in sys.stdin:
        try:
            answer = worker.timed(**json.loads(line))
        except RefusedError as error:
            print(json.dumps({"error": str(error)}), file=answers, flush=True)
            return 1
        print(json.dumps(answer), file=answers, flush=True)
    return 0


class UnreachableError(Exception):
    """The model's files, which were there a moment ago, could not be fetched."""


class RefusedError(Exception):
    """The model predicts nothing for the rows: what was asked, what it answered, what to do."""


class LoadedModel:
    """A loaded model, and the rows that it predicts."""

    def __init__(self, model: Any, rows: Any) -> None:  # noqa: ANN401 -- any model, any rows
        self.model, self.rows = model, rows
        self.count = len(rows) if hasattr(rows, "shape") else 1

    def timed(self, first: int, calls: int) -> dict[str, Any]:
        """Return the seconds of single predictions, one row after the other, and of all at once."""
        single = [self._seconds(self._row((first + i) % self.count)) for i in range(calls)]
        return {"single": single, "batch": self._seconds(self.rows)}

    def _seconds(self, rows: Any) -> float:  # noqa: ANN401
        start = time.perf_counter()
        try:
            self.model.predict(rows)
        except Exception as error:
            raise RefusedError(refusal(rows, self.model, error)) from error
        return round(time.perf_counter() - start, 9)

    def _row(self, number: int) -> Any:  # noqa: ANN401
        if hasattr(self.rows, "iloc"):
            return self.rows.iloc[[number]]
        return self.rows[number : number + 1] if hasattr(self.rows, "shape") else self.rows


def loaded(address: str, source: str, predictions: str = "") -> tuple[LoadedModel, dict[str, Any]]:
    """Return a model ready to predict, and what it takes: bytes of files and of memory."""
    import mlflow.pyfunc

    folder = fetched(address)
    rows = _rows(source)
    files = (Path(source), Path(predictions)) if predictions else None
    # The rows are read before: they are the benchmark's, and not what the model takes.
    before = resident()
    model = mlflow.pyfunc.load_model(folder)
    worker = LoadedModel(model, fitted(rows, model, files))
    # Memory is read after the first calls, which import and compile what loading left for later.
    worker.timed(first=0, calls=3)
    memory = resident()
    return worker, {
        "size": sum(
            os.path.getsize(os.path.join(place, name))  # noqa: PTH118, PTH202 -- the project's Python
            for place, _, names in os.walk(folder)
            for name in names
        ),
        "memory": memory,
        "loading": max(0, memory - before),
        "batch_rows": worker.count,
    }


def fetched(address: str) -> str:
    """Return the model's folder, fetched from the tracking server."""
    import mlflow.artifacts
    from mlflow.exceptions import MlflowException
    from requests.exceptions import RequestException

    try:
        return str(mlflow.artifacts.download_artifacts(artifact_uri=address))
    except RequestException as error:
        raise UnreachableError(str(error)) from error
    except MlflowException as error:
        if error.error_code in ("INTERNAL_ERROR", "TEMPORARILY_UNAVAILABLE"):
            raise UnreachableError(str(error)) from error
        raise


def _rows(source: str) -> Any:  # noqa: ANN401
    """Return the first rows of a file, or a model's own example."""
    if not source.endswith(".parquet"):
        from mlflow.models import Model

        example = Model.load(source).load_input_example(source)
        if example is None:
            raise ValueError(f"there are no rows to predict: {source} has no input example")
        return example[:MOST_ROWS] if hasattr(example, "shape") else example
    # The first batch alone: a holdout of millions of rows would count as the process's memory.
    import pyarrow.parquet

    batch = next(pyarrow.parquet.ParquetFile(source).iter_batches(MOST_ROWS))
    return batch.to_pandas()


def fitted(rows: Any, model: Any, files: tuple[Path, Path] | None = None) -> Any:  # noqa: ANN401
    """Return the columns that the model's signature asks for, numbers in its types.

    Without a signature they are those that it was fitted on, where it knows them, else what a
    rehearsal asks. Whole numbers do not pass for a float of the signature, nor floats for whole
    numbers, which a column became whose other rows have gaps. Those with gaps, or with a fraction,
    stay what they are.

    Args:
        rows: Of a holdout, or an input example.
        model: The model.
        files: Parquet files of the holdout and of predictions for it; None where there are none.
    """
    schema = model.metadata.get_input_schema()
    if not hasattr(rows, "columns"):
        return rows
    if schema is None:
        names = fitted_names(model)
        if files is not None:
            names = asked_columns(names, *files)
        return rows[[name for name in names or rows.columns if name in rows.columns]]
    if not schema.has_input_names():
        return rows
    types = dict(zip(schema.input_names(), schema.pandas_types()))
    kept = [name for name in types if name in rows.columns]
    fitting = {name: types[name] for name in kept if _fits(rows[name], types[name])}
    return rows[kept].astype(fitting)


def _fits(column: Any, kind: Any) -> bool:  # noqa: ANN401 -- of whatever pandas the project has
    """Whether a column becomes a number of this type without a loss."""
    wanted, given = getattr(kind, "kind", ""), getattr(column.dtype, "kind", "")
    if wanted != "i" or given != "f":
        return wanted == "f"
    most = min(2 ** (8 * kind.itemsize - 1) - 1, EXACT)
    return bool((column.abs() <= most).all() and (column % 1 == 0).all())


def refusal(rows: Any, model: Any, error: Exception) -> str:  # noqa: ANN401
    """Return in three parts that a model predicts nothing for some rows.

    Args:
        rows: What it was asked, as ``fitted`` returned it, or some of it.
        model: The model.
        error: What it answered.
    """
    gaps = ", ".join(_roomless(rows, model))
    count = len(rows) if hasattr(rows, "shape") else 1
    asked = f"{count} row{'s' * (count != 1)}" + f", in which {gaps} is missing somewhere" * bool(
        gaps
    )
    answer = f"{type(error).__name__}: {_words(error)[:500].rstrip('.')}"
    action = "correct the model's signature or its predict for such rows"
    if model.metadata.get_input_schema() is None:
        action = "log it with a signature, as it is asked every column without one"
    if gaps:
        action = f"log it with {gaps} in a type that can be missing, such as double"
    return (
        f"asked to predict {asked}, it answered {answer}. Allowed: a prediction for each row, also"
        f" one with missing cells. Next: {action}, and train again."
    )


def _words(error: Exception) -> str:
    """Return what a model says without the rows themselves, which MLflow puts before its reason."""
    said = str(error)
    return said.rpartition(" Error: ")[2] if said.startswith("Failed to enforce schema") else said


def _roomless(rows: Any, model: Any) -> list[str]:  # noqa: ANN401
    """Return the columns with gaps whose type in the signature has no missing value."""
    schema = model.metadata.get_input_schema()
    if schema is None or not schema.has_input_names() or not hasattr(rows, "columns"):
        return []
    kinds = dict(zip(schema.input_names(), schema.input_types()))
    named = {name: getattr(kind, "name", "") for name, kind in kinds.items()}
    found = [
        f"{name!r} ({named[name]})"
        for name in rows.columns
        if named.get(name) in ROOMLESS and rows[name].isna().any()
    ]
    return found[:SHOWN]


def resident() -> int:
    """Return the resident memory of this process in bytes."""
    # What nobody refers to is not the model's, and is given back sooner or later.
    gc.collect()
    try:
        with open("/proc/self/statm", encoding="ascii") as file:  # noqa: PTH123 -- no file to keep
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        import resource

        # The peak, where the system does not say the present size: in bytes on macOS, else in KiB.
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return most if sys.platform == "darwin" else most * 1024


if __name__ == "__main__":
    sys.exit(main())
