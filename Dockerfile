# One image for every service but PostgreSQL: Airflow with Understudy in /opt/airflow, MLflow's
# server in /opt/mlflow, as `make` separates them too. No secret, no Dag and no project is in it.
#
# PYTHON_IMAGE may name a mirror, a digest, or another Python of 3.11 to 3.13.
# PIP_INDEX_URL may name the package index to build from; the locks' hashes hold for it as well.
ARG PYTHON_IMAGE=python:3.12-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
ARG PIP_INDEX_URL
ENV UV_LINK_MODE=copy \
    UV_NO_CACHE=1 \
    UV_PYTHON_DOWNLOADS=never
WORKDIR /build
COPY requirements/bootstrap.txt requirements/
RUN pip install --no-cache-dir --require-hashes --root-user-action=ignore \
    -r requirements/bootstrap.txt
COPY requirements/team-airflow.txt requirements/team-mlflow.txt requirements/
# Compiled here: who runs it may not write there, and would compile anew at every start.
RUN set -eu; \
    if [ -n "${PIP_INDEX_URL:-}" ]; then export UV_DEFAULT_INDEX="$PIP_INDEX_URL"; fi; \
    for name in airflow mlflow; do \
        uv venv --quiet "/opt/$name"; \
        uv pip sync --quiet --compile-bytecode --require-hashes --python "/opt/$name" \
            "requirements/team-$name.txt"; \
    done
COPY pyproject.toml README.md LICENSE CHANGELOG.md ./
COPY plugins plugins
RUN uv pip install --quiet --offline --compile-bytecode --no-deps --no-build-isolation \
    --python /opt/airflow .

FROM ${PYTHON_IMAGE}
LABEL org.opencontainers.image.title="Understudy" \
      org.opencontainers.image.licenses="Apache-2.0"
# git and ssh fetch the projects.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends bash ca-certificates git openssh-client \
    && rm -rf /var/lib/apt/lists/*
# A new volume takes owner and mode of the folder that it is mounted on.
RUN useradd --uid 10001 --create-home --home-dir /var/lib/understudy --shell /bin/bash understudy \
    && cd /var/lib/understudy \
    && install -d -o understudy -g understudy -m 0700 .cache .mlflow airflow cache cache/tmp logs \
    && ln -s /etc/understudy/tracking/credentials .mlflow/credentials \
    && install -d /etc/understudy && cd /etc/understudy \
    && install -d -o understudy -g understudy -m 0755 broker grafana postgres prometheus store \
    && install -d -o understudy -g understudy -m 0700 airflow login mlflow reader tracking worker \
    && install -d -m 0700 /opt/understudy/keys \
    && install -d -o understudy -g understudy -m 0700 /opt/understudy/keys/worker \
    && install -d /opt/understudy/airflow \
    && printf '# A worker has no secret settings that it could read here.\n' \
        >/opt/understudy/airflow/airflow.cfg
# What MLflow's environment runs of ours.
COPY plugins/understudy/containers /opt/understudy/containers
# What Airflow's API server runs besides: a folder of its own, for Airflow imports all that is there.
COPY plugins/understudy/containers/airflow_login.py /opt/understudy/login/
COPY --from=build /opt/mlflow /opt/mlflow
COPY --from=build /opt/airflow /opt/airflow
ENV PATH=/opt/airflow/bin:$PATH \
    AIRFLOW_HOME=/var/lib/understudy/airflow \
    PYTHONUNBUFFERED=1 \
    UV_PYTHON_DOWNLOADS=never
USER understudy
WORKDIR /var/lib/understudy
