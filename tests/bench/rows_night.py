"""Steps of mlproject/tabular as a night has them: forked from one process that has imported.

    python rows_night.py < REQUESTS

Each line of the input is a step as JSON: its name, its arguments and its run's id. Answers each
with a line of JSON: CPU seconds, bytes of memory at the peak, the exit status and what the step
wrote. The first line, before any request, is what the imports used.
"""

import importlib
import json
import os
import resource
import sys
import tempfile

import plain_step

MODULES = (
    *("mlflow", "mlflow.data.pandas_dataset", "mlflow.pyfunc", "mlflow.sklearn"),
    *("pandas", "pandera.pandas", "pyarrow.csv", "pyarrow.parquet", "skops.io"),
    *("sklearn.compose", "sklearn.ensemble", "sklearn.impute", "sklearn.metrics"),
    *("sklearn.pipeline", "sklearn.preprocessing"),
)
"""What the steps import; a forkserver learns it from the programs of earlier nights."""


def answer(usage: resource.struct_rusage, status: int, said: str) -> None:
    """Write what was used, and what was said."""
    cpu, memory = usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024
    sys.stdout.write(json.dumps({"cpu": cpu, "memory": memory, "status": status, "said": said}))
    sys.stdout.write("\n")
    sys.stdout.flush()


def forked(name: str, arguments: list[str], run_id: str) -> None:
    """Run one step in a process of its own and answer."""
    with tempfile.TemporaryFile("w+") as output:
        pid = os.fork()
        if not pid:
            os.dup2(output.fileno(), sys.stdout.fileno())
            os.environ["MLFLOW_RUN_ID"] = run_id
            status, _ = plain_step.main(name, *arguments)
            sys.stdout.flush()
            os._exit(status)
        _, status, usage = os.wait4(pid, 0)
        output.seek(0)
        answer(usage, os.waitstatus_to_exitcode(status), output.read())


if __name__ == "__main__":
    for module in MODULES:
        importlib.import_module(module)
    answer(resource.getrusage(resource.RUSAGE_SELF), 0, "")
    for line in sys.stdin:
        forked(*json.loads(line))
