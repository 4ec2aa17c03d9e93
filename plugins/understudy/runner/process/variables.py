"""Selects the environment variables of a child process: what it needs, not all of ours. Pure.

It lists what is passed on, not what is kept back: a worker's variables may hold Airflow's database
password and its connections, and others under names that nobody can foresee.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from urllib.parse import urlsplit

_EXACT = frozenset({
    "HOME", "USER", "LOGNAME", "SHELL", "PATH", "LANG", "LANGUAGE", "TZ", "TERM", "COLUMNS",
    "XDG_CACHE_HOME", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH",
    "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY",
    "http_proxy", "https_proxy", "all_proxy", "no_proxy",
    "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "NETRC",
    "CUDA_VISIBLE_DEVICES", "UNDERSTUDY_DATA_MIRROR", "UNDERSTUDY_STACK",
})  # fmt: skip
_PREFIXES = (
    "LC_", "MLFLOW_", "OMP_", "MKL_", "OPENBLAS_", "NUMEXPR_", "LOKY_", "NVIDIA_",
    "TF_CPP_", "TF_NUM_", "TF_XLA_", "XLA_",
)  # fmt: skip
_DEFAULTS = {"OMP_WAIT_POLICY": "PASSIVE"}
"""OpenMP's threads spin while they wait, and so keep the processors from other steps: boosting with
two threads on a busy machine took three to eight times as long."""
# Would name another run or experiment than the step's, or belong to the server only.
_NEVER = (
    "MLFLOW_EXPERIMENT", "MLFLOW_RUN", "MLFLOW_BACKEND_STORE", "MLFLOW_REGISTRY_STORE",
    "MLFLOW_SERVER", "MLFLOW_FLASK", "MLFLOW_AUTH_CONFIG", "MLFLOW_WEBHOOK", "MLFLOW_CRYPTO",
    "MLFLOW_ACTIVE_MODEL", "MLFLOW_PROJECT", "MLFLOW_CONFIGURE_LOGGING",
)  # fmt: skip
_CLOUDS = {
    "s3": ("AWS_", "BOTO"),
    "gs": ("GOOGLE_", "CLOUDSDK_"),
    "wasb": ("AZURE_",),
    "wasbs": ("AZURE_",),
    "abfs": ("AZURE_",),
    "abfss": ("AZURE_",),
    "dbfs": ("DATABRICKS_",),
    "databricks": ("DATABRICKS_",),
}
_LOCAL_PYTHON = frozenset({"PYTHONPATH", "VIRTUAL_ENV", "CONDA_PREFIX"})
# Indexes, proxies and credentials of package indexes; what changes the result is excepted below.
_INSTALLERS = ("UV_", "PIP_", "CONDA_", "MAMBA_")
# Would install something else than the project's files say, or somewhere else.
_NOT_FOR_BUILDS = (
    "UV_CONSTRAINT", "UV_OVERRIDE", "UV_EXCLUDE", "UV_BUILD_CONSTRAINT", "UV_PRERELEASE",
    "UV_RESOLUTION", "UV_SYSTEM_PYTHON", "UV_PYTHON", "UV_PROJECT", "UV_TARGET", "UV_PREFIX",
    "UV_BREAK_SYSTEM_PACKAGES", "UV_NO_VERIFY_HASHES", "UV_CONFIG_FILE", "UV_WORKING",
    "UV_TORCH_BACKEND", "UV_COMPILE_BYTECODE",
    "PIP_CONSTRAINT", "PIP_BUILD_CONSTRAINT", "PIP_REQUIREMENT", "PIP_TARGET", "PIP_PREFIX",
    "PIP_ROOT", "PIP_USER", "PIP_EDITABLE", "PIP_PRE", "PIP_NO_DEPS", "PIP_DRY_RUN", "PIP_PYTHON",
    "PIP_REQUIRE_VIRTUALENV", "PIP_REQUIRE_HASHES", "PIP_CONFIG_FILE", "PIP_LOG",
    "CONDA_PREFIX", "CONDA_DEFAULT_ENV", "CONDA_SHLVL", "CONDA_PROMPT", "CONDA_PYTHON",
)  # fmt: skip
_FOR_BUILDS = frozenset({"CC", "CXX", "CFLAGS", "CXXFLAGS", "LDFLAGS", "CARGO_HOME", "RUSTUP_HOME"})


def run_variables(run_id: str, experiment_id: str) -> dict[str, str]:
    """Return the variables that name a step's MLflow run to its program.

    The first run that the program starts is this one. Later ones are nested below it: MLflow gives
    them the tags of the last variable.
    """
    return {
        "MLFLOW_RUN_ID": run_id,
        "MLFLOW_EXPERIMENT_ID": experiment_id,
        "MLFLOW_RUN_CONTEXT": json.dumps({"mlflow.parentRunId": run_id}),
    }


def step_environment(
    variables: Mapping[str, str], uris: Iterable[str], *, local: bool
) -> dict[str, str]:
    """Return the variables for an entry point.

    Args:
        variables: The variables of this process.
        uris: Addresses that the step reads and writes; each cloud's credentials are passed on only
            where one of these lies in it.
        local: Whether the step uses the Python that is on PATH, and so its variables too.
    """
    # A step that reads nothing of a cloud has no use for its credentials, and could print them.
    clouds = tuple(prefix for uri in uris for prefix in _CLOUDS.get(urlsplit(uri).scheme, ()))
    exact = _EXACT | _LOCAL_PYTHON if local else _EXACT
    passed_on = {
        name: value
        for name, value in variables.items()
        if (name in exact or name.startswith((*_PREFIXES, *clouds))) and not name.startswith(_NEVER)
    }
    return {**_DEFAULTS, **passed_on}


def build_environment(variables: Mapping[str, str]) -> dict[str, str]:
    """Return the variables for uv, pip and conda: any child's, and their own settings."""
    return {
        name: value
        for name, value in variables.items()
        if name in _EXACT
        or name in _FOR_BUILDS
        or name.startswith("LC_")
        or (name.startswith(_INSTALLERS) and not name.startswith(_NOT_FOR_BUILDS))
    }
