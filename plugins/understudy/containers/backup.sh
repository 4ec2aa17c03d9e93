#!/bin/sh
# backup.sh FOLDER: writes all of the running container stack into a new folder: the databases, the
# artifacts and the secrets. Run it where docker-compose.yaml and .env are.
# Nothing is stopped. The databases are read before the artifacts, so that no run of a backup lacks
# a file; files that came later are more than the databases know of, and do no harm.
set -eu
umask 077

folder=${1:-}
if [ -z "$folder" ] || [ -e "$folder" ]; then
    printf 'understudy: %s\n  Allowed: %s\n  Next: %s\n' \
        "the folder for the backup is '$folder', which is empty or exists." \
        "a folder that does not exist yet." \
        "make backup FOLDER=backups/\$(date +%F)" >&2
    exit 2
fi
mkdir -p "$folder.part"

for database in airflow mlflow mlflow_auth; do
    echo "database $database"
    docker compose exec -T postgres pg_dump -U postgres --format=custom "$database" \
        >"$folder.part/$database.dump"
done
echo "artifacts"
docker compose exec -T mlflow /opt/mlflow/bin/python /opt/understudy/containers/objects.py \
    save mlflow >"$folder.part/artifacts.tar"
echo "secrets"
docker compose run --rm --no-deps -T secrets sh -c 'cd /etc/understudy && tar -cf - *' \
    >"$folder.part/secrets.tar"
mv "$folder.part" "$folder"
du -sh "$folder"
