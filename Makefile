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
$(foreach name,PYTHON SERVICE MOVIELENS DS TITLE USER WAREHOUSE,\
    $(eval override export $(name) := $$(value $(name))))

ENV := . scripts/env.sh;
PACKAGES := $(wildcard marquee schemas scheduling spark_jobs inference training evaluation serving examples benchmarks dags scripts tests)
# Options that are given where the variable is.
NIGHT := $${DS:+--ds "$$DS"}
SAMPLE := --service "$$SERVICE" $${MOVIELENS:+--movielens "$$MOVIELENS"}
WHO := $${LOOKUP_USER:+--user "$$LOOKUP_USER"}

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo
	@echo "  WAREHOUSE=folder  SERVICE=simulated|movielens  MOVIELENS=folder  DS=YYYY-MM-DD  PYTHON=python3.11"
	@echo "  Everything else: . scripts/env.sh; marquee --help"

.PHONY: nightly
nightly: .venv/.ready ## Run one night and look one user up: WAREHOUSE, SERVICE, MOVIELENS, DS, USER
	@$(ENV) marquee night $(NIGHT) $(SAMPLE) $(WHO)

.PHONY: post-training
post-training: .venv/.ready ## Train a model on plays, evaluate it, promote it if it is better: WAREHOUSE, DS
	@$(ENV) marquee post-training $(NIGHT)

.PHONY: lookup
lookup: .venv/.ready ## Print the artworks that a user should see: USER=42 [TITLE=…]
	@$(ENV) marquee lookup $(WHO) $${TITLE:+--title "$$TITLE"}

.PHONY: airflow
airflow: .venv/.ready ## Start a real Airflow: scheduler and UI, until Ctrl-C
	@$(ENV) exec marquee airflow

.PHONY: test
test: .venv/.ready ## Run every test, the quick ones first, in two processes
	@$(ENV) pytest -n 2

.PHONY: test-quick
test-quick: .venv/.ready ## Run the tests that need neither Spark nor an engine
	@$(ENV) pytest -n 2 -m "not slow"

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
	@$(ENV) marquee docs

.PHONY: lock
lock: .venv/.ready ## Resolve the packages anew and pin them with hashes
	@$(ENV) python scripts/lock.py

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
