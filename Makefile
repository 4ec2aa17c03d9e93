# Everything a checkout needs. Only Python 3.11 to 3.13 and git have to be there; the environments
# are built below .state/ when a target first needs them (PYTHON=... chooses the interpreter).
SETUP := sh plugins/understudy/devstack/setup.sh
AIRFLOW := .state/venvs/airflow/bin/python
DEV := .state/venvs/dev/bin/python
DOCS := .state/venvs/docs/bin/python
PYTEST_ARGS ?=
# A file's tests run in order in one process; files run beside each other, the first ones first.
PARALLEL := --numprocesses=auto --dist=loadfile --no-loadscope-reorder
BENCH ?= night
BENCH_ARGS ?=
export PYTHON
# Without byte code each start of MLflow or Airflow compiles itself anew: 10 s of CPU, every time.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: docs reference help demo up down status test-quick test test-long test-stack backup verify restore bench bench-gate bench-team pictures lint format dist lock clean
.DEFAULT_GOAL := help

help: ## Say what there is
	@sed -n 's/^\([a-z-]*\):.*## /\1|/p' Makefile | while IFS='|' read -r name text; do \
		printf '  make %-10s %s\n' "$$name" "$$text"; done

demo: ## Retrain a model for several nights on a stack of its own, and say what happened
	@$(SETUP) airflow mlflow
	@$(AIRFLOW) -m understudy.devstack demo

up: ## Start MLflow, a git server and Airflow on loopback, and leave them running
	@$(SETUP) airflow mlflow
	@$(AIRFLOW) -m understudy.devstack up

down: ## End what make up, make demo and make bench started
	@$(SETUP) airflow
	@$(AIRFLOW) -m understudy.devstack down

status: ## Say what is running, and where
	@$(SETUP) airflow
	@$(AIRFLOW) -m understudy.devstack status

test-quick: ## Unit tests alone, with fewer examples: for while you write
	@$(SETUP) airflow dev
	@$(DEV) -m pytest $(PARALLEL) -m "not long" --hypothesis-profile=quick tests/unit \
		$(PYTEST_ARGS)

test: ## All that decides whether it works: unit tests, then whole nights on real servers
	@$(SETUP) airflow mlflow dev
	@$(DEV) -m pytest $(PARALLEL) -m "not long" $(PYTEST_ARGS)

test-long: ## What takes long by nature: tutorials, nights that search, killed servers and steps
	@$(SETUP) airflow mlflow dev
	@$(DEV) -m pytest $(PARALLEL) -m long $(PYTEST_ARGS)

test-stack: ## Start docker-compose.yaml for real, and have it run, serve, stop and come back
	@$(SETUP) airflow dev
	@$(DEV) -m pytest -x -s tests/stack $(PYTEST_ARGS)

backup: ## Write all of the container stack into the new folder FOLDER
	@sh plugins/understudy/containers/backup.sh "$(FOLDER)"

verify: ## Restore FOLDER into a stack of its own, read all models back, and remove it
	@sh plugins/understudy/containers/verify.sh "$(FOLDER)"

restore: ## Fill an empty container stack from FOLDER, and start it
	@sh plugins/understudy/containers/restore.sh "$(FOLDER)"

bench: ## What a night costs in several ways, in 12 minutes (BENCH=NAME: another of tests/bench)
	@PYTHONPATH=tests $(SETUP) --run -m bench --check $(BENCH) $(BENCH_ARGS)
	@$(SETUP) airflow mlflow $(if $(filter-out night,$(BENCH)),dev)
	@PYTHONPATH=tests $(if $(filter-out night,$(BENCH)),$(DEV),$(AIRFLOW)) -m bench $(BENCH) $(BENCH_ARGS)

bench-gate: ## Which rule serves the least error, where models age and nights go wrong
	@$(MAKE) --no-print-directory bench BENCH=aging

bench-team: ## The team stack under faults and load: what came of each, and how it grows
	@$(MAKE) --no-print-directory bench BENCH=team

pictures: ## The README's pictures, from the demo that runs (needs chromium)
	@$(SETUP) dev
	@PYTHONPATH=tests $(DEV) -m bench.pictures

lint: ## ruff, mypy and the import contracts
	@$(SETUP) dev
	@$(DEV) -m ruff check .
	@$(DEV) -m ruff format --check .
	@$(DEV) -m mypy
	@.state/venvs/dev/bin/lint-imports --no-logo

format: ## Let ruff lay out the code
	@$(SETUP) dev
	@$(DEV) -m ruff check --fix-only --quiet .
	@$(DEV) -m ruff format .

docs: ## Build the documentation as a site into .state/site, with a search
	@$(SETUP) docs
	@rm -rf .state/docs && mkdir -p .state/docs
	@git ls-files -z -- docs dags mlproject requirements '[A-Z]*' 'docker-compose*' pyproject.toml | \
		xargs -0 cp -rL --parents -t .state/docs
	@NO_MKDOCS_2_WARNING=1 $(DOCS) -m mkdocs build --strict
	@echo "See $(CURDIR)/.state/site/index.html"

reference: ## Write docs/reference anew from the code
	@$(SETUP) dev
	@$(DEV) docs/reference/generate.py

dist: ## Build the wheel and the source distribution into dist/
	@$(SETUP) dev
	@rm -rf dist
	@$(DEV) -m uv build --quiet --no-build-isolation --python $(DEV) --out-dir dist
	@ls dist

lock: ## Resolve requirements/*.in anew
	@$(SETUP) --lock

clean: ## End what runs, and remove everything that make has made
	@if test -x $(AIRFLOW); then $(AIRFLOW) -m understudy.devstack down; fi
	rm -rf .state dist .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
