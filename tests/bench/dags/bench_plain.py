"""The usual way: BashOperators that call `mlflow run`, glued together by the last line they print.

`mlflow` is the lean command line (mlflow-skinny, a third of the full one's import time), and the
steps run in an environment of their own that uv built in an earlier night. No gate, no promotion.
"""

from datetime import timedelta

from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG, Param, chain

RUN = (
    "mlflow run '{{ var.value.understudy_repository }}#mlproject/tabular'"
    " --version '{{ params.version }}' --experiment-name bench_plain --env-manager uv -e "
)


def run_id(line: str) -> str:
    """Return the run in `=== Run (ID '...') succeeded ===`, the last line of `mlflow run`."""
    return line.split("'")[1]


def step(task_id: str, arguments: str) -> BashOperator:
    """Return a task that runs one entry point."""
    return BashOperator(
        task_id=task_id,
        bash_command=RUN + arguments,
        append_env=True,
        env={
            "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # or the last line would be another
            # Here, because MLflow never removes what it clones.
            "MLFLOW_ENV_ROOT": "{{ params.state }}/environments",
            "TMPDIR": "{{ params.state }}/tmp",
        },
        output_processor=run_id,
    )


def result(task_id: str) -> str:
    """Return the template of the run that a task made."""
    return f"{{{{ ti.xcom_pull('{task_id}') }}}}"


with DAG(
    "bench_plain",
    schedule=None,
    params={
        "dataset": Param("wine_quality", type="string"),
        "source": Param("", type="string"),
        "target": Param("", type="string"),
        "model": Param("random_forest", type="string"),
        "n_estimators": Param(50, type="integer"),
        "version": Param("", type="string"),
        "state": Param("", type="string"),
    },
    default_args={"retries": 0, "execution_timeout": timedelta(minutes=5)},
):
    data = f"-P data=runs:/{result('preprocess')}/data"
    chain(
        step(
            "download",
            "download -P dataset='{{ params.dataset }}' -P source='{{ params.source }}'"
            " -P target='{{ params.target }}'",
        ),
        step("preprocess", f"preprocess -P raw=runs:/{result('download')}/raw"),
        step(
            "train",
            f"train {data} -P model='{{{{ params.model }}}}'"
            " -P n_estimators='{{ params.n_estimators }}'",
        ),
        [
            step(
                "validate_challenger", f"validate {data} -P model_uri=runs:/{result('train')}/model"
            ),
            step("validate_champion", f"validate {data} -P model_uri=models:/bench_ours@champion"),
        ],
    )
