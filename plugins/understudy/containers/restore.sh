#!/bin/sh
# restore.sh FOLDER [SERVICE...]: fills an empty container stack with what backup.sh wrote, and starts
# it, or those services alone. Run it where docker-compose.yaml and .env are. It refuses a stack that
# has a database already.
set -eu

refuse() {
    printf 'understudy: %s\n  Allowed: %s\n  Next: %s\n' "$1" "$2" "$3" >&2
    exit 2
}

folder=${1:-}
[ $# -eq 0 ] || shift
for file in airflow.dump mlflow.dump mlflow_auth.dump artifacts.tar secrets.tar; do
    [ -s "$folder/$file" ] || refuse "'$folder' has no file $file." \
        "a folder that backup.sh wrote." "make restore FOLDER=backups/2026-01-31"
done
project=$(docker compose config --format json |
    sed -n 's/^  "name": "\(.*\)",$/\1/p' | head -1)
[ -z "$(docker volume ls --quiet --filter "name=^${project}_postgres-data\$")" ] ||
    refuse "the stack $project has a database." "an empty stack." \
        "name another one (COMPOSE_PROJECT_NAME=... in .env), or remove this one for good: docker compose down --volumes"

echo "secrets"
docker compose run --rm --no-deps -T secrets tar -C /etc/understudy -xf - <"$folder/secrets.tar"
docker compose up --detach --wait postgres store
for database in airflow mlflow mlflow_auth; do
    echo "database $database"
    docker compose exec -T postgres pg_restore -U postgres --exit-on-error --single-transaction \
        --dbname="$database" <"$folder/$database.dump"
done
docker compose up --detach --wait mlflow
echo "artifacts"
docker compose exec -T mlflow /opt/mlflow/bin/python /opt/understudy/containers/objects.py \
    load mlflow <"$folder/artifacts.tar"
docker compose up --detach --wait "$@"
