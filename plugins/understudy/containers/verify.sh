#!/bin/sh
# verify.sh FOLDER: restores what backup.sh wrote into a stack of its own beside the running one, reads
# every version of every model back from it, and removes it. Run it where docker-compose.yaml and
# .env are. The exit status is 0 where the backup holds all of them.
set -eu

scripts=$(dirname "$0")
# Port 0: one that is free. No other service of this stack is started.
export COMPOSE_PROJECT_NAME="understudy-verify-$$" UNDERSTUDY_MLFLOW_PORT=0
trap 'docker compose down --volumes --timeout 20 --remove-orphans >/dev/null 2>&1' EXIT
trap 'exit 130' INT TERM

sh "$scripts/restore.sh" "${1:-}" mlflow
docker compose exec -T mlflow /opt/mlflow/bin/python /opt/understudy/containers/restored.py
printf 'Airflow: %s Dag runs\n' "$(docker compose exec -T postgres psql -U postgres \
    --tuples-only --no-align --set ON_ERROR_STOP=1 --command 'SELECT count(*) FROM dag_run' airflow)"
