#!/usr/bin/env bash
# A night as `mlflow run` after `mlflow run` in one shell; stops at the first that fails, or
# after the download if that is its argument. Reads
# PROJECT (a Git URL with #folder), COMMIT, DATASET, SOURCE, TARGET, MODEL, N_ESTIMATORS and
# CHAMPION.
set -euo pipefail

run() {
    # The last line is: === Run (ID '...') succeeded ===
    mlflow run "$PROJECT" --version "$COMMIT" --env-manager uv -e "$@" 2>&1 |
        tee -a /dev/stderr | tail -n 1 | cut -d "'" -f 2
}

download=$(run download -P "dataset=$DATASET" -P "source=$SOURCE" -P "target=$TARGET")
if [ "${1:-}" = download ]; then exit; fi
preprocess=$(run preprocess -P "raw=runs:/$download/raw")
data=data=runs:/$preprocess/data
train=$(run train -P "$data" -P "model=$MODEL" -P "n_estimators=$N_ESTIMATORS")
run validate -P "$data" -P "model_uri=runs:/$train/model"
run validate -P "$data" -P "model_uri=$CHAMPION"
