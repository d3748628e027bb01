# Marquee on one machine. `make` lists what there is; the environment of every command is scripts/env.sh.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
MAKEFLAGS += --no-builtin-rules --no-print-directory
.DEFAULT_GOAL := help

# The sample that fills a new warehouse: simulated, or movielens with MOVIELENS=folder.
SERVICE ?= simulated
MOVIELENS ?=
# The night; the last day of viewing history where it is not given.
DS ?=

# What people name goes to the shell by its environment: in a command's text a space or a quote would end it. Its value
# is taken as it was written: make would look for variables behind each $.
# Every shell has a USER of its own: only `make … USER=42` names one to look up.
export LOOKUP_USER := $(if $(filter command,$(origin USER)),$(value USER))
# Where the tables are: a folder, or the URI of an object store. What the environment says holds here too.
export MARQUEE_WAREHOUSE := $(or $(value WAREHOUSE),$(value MARQUEE_WAREHOUSE),warehouse)
$(foreach name,PYTHON SERVICE MOVIELENS DS FROM TO AGAIN TITLE OTHER USER WAREHOUSE,\
    $(eval override export $(name) := $$(value $(name))))

ENV := . scripts/env.sh;
PACKAGES := $(wildcard schemas scheduling spark_jobs inference training evaluation serving examples benchmarks dags scripts tests)

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo
	@echo "  WAREHOUSE=folder  SERVICE=simulated|movielens  MOVIELENS=folder  DS=YYYY-MM-DD  PYTHON=python3.11"

.PHONY: nightly
nightly: .airflow/.ready ## Run one night and look one user up: WAREHOUSE, SERVICE, MOVIELENS, DS, USER
	@scripts/nightly.sh

.PHONY: post-training
post-training: .airflow/.ready ## Train a model on what users played, judge it, promote it if it is better: WAREHOUSE, DS
	@scripts/post_training.sh

.PHONY: paper-table
paper-table: .venv/.ready ## Train and judge every policy on 110,000 examples (hours): WAREHOUSE=new folder, SERVICE, MOVIELENS
	@scripts/paper_table.sh

.PHONY: rollback
rollback: .venv/.ready ## Make the champion before this one score again, from the next night on
	@$(ENV) python -m training.registry rollback

.PHONY: lookup
lookup: .venv/.ready ## Tell which artworks a user should see: USER=42 [TITLE=…]
	@$(ENV) python -m serving.lookup $${LOOKUP_USER:+--user "$$LOOKUP_USER"} $${TITLE:+--title "$$TITLE"}

.PHONY: fingerprint
fingerprint: .venv/.ready ## Count and hash the rows of a night's tables, to compare runs: [OTHER=folder]
	@$(ENV) python -m serving.fingerprint $${OTHER:+--other "$$OTHER"}

.PHONY: airflow
airflow: .airflow/.ready ## Start a real Airflow: scheduler and UI, until Ctrl-C
	@echo "Airflow's UI: http://localhost:8080 (no password; this machine only). Its files: .airflow/"
	@$(ENV) exec airflow standalone

.PHONY: backfill
backfill: .airflow/.ready ## Make past nights on the running Airflow: FROM=… TO=… [AGAIN=1]
	@scripts/backfill.sh

.PHONY: test
test: .venv/.ready ## Run every test, the quick ones first
	@$(ENV) pytest

.PHONY: lint
lint: .venv/.ready types ## Check style and types
	@$(ENV) ruff check && ruff format --check

.PHONY: types
types: .venv/.ready
	@$(ENV) mypy $(PACKAGES)

.PHONY: format
format: .venv/.ready ## Put the code in its format
	@$(ENV) ruff check --fix --quiet --exit-zero; ruff format

.PHONY: docs
docs: .venv/.ready ## Write docs/tables.md from the contract
	@$(ENV) python -m schemas.docs

.PHONY: lock
lock: .venv/.ready ## Resolve the packages anew and pin them with hashes
	@$(ENV) scripts/lock.sh

.PHONY: clean
clean: ## Remove what was installed and made, except warehouses
	rm -rf .venv .tools .airflow .cache .mypy_cache .pytest_cache .ruff_cache .hypothesis spark-warehouse

.PHONY: doctor
doctor:
	@scripts/doctor.sh

# The stamps are made last, so that one that exists means a whole install. doctor is order-only: it always runs first
# and never makes a stamp old.
.venv/.ready: requirements/cpu.txt pyproject.toml | doctor
	@scripts/setup.sh

.airflow/.ready: .venv/.ready
	@scripts/airflow_home.sh
