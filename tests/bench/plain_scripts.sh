#!/usr/bin/env bash
# A night as plain scripts, one after another in one shell; stops at the first that fails. Each
# prints the id of its run last. Reads DATASET, SOURCE, TARGET, MODEL,
# N_ESTIMATORS and CHAMPION.
set -euo pipefail

step() {
    # -a, because stderr may be a file, which tee would empty.
    python "$(dirname "$0")/plain_step.py" "$@" | tee -a /dev/stderr | tail -n 1
}

download=$(step download "--dataset=$DATASET" "--source=$SOURCE" "--target=$TARGET")
preprocess=$(step preprocess "--raw=runs:/$download/raw")
data=runs:/$preprocess/data
train=$(step train "--data=$data" "--model=$MODEL" "--n_estimators=$N_ESTIMATORS")
step validate "--data=$data" "--model_uri=runs:/$train/model"
step validate "--data=$data" "--model_uri=$CHAMPION"
