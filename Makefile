# Marquee on one machine. `make` lists the targets; scripts/env.sh is the environment of every command.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
MAKEFLAGS += --no-builtin-rules --no-print-directory
.DEFAULT_GOAL := help

# The sample that fills a new warehouse: simulated, or movielens with MOVIELENS=folder.
SERVICE ?= simulated
MOVIELENS ?=
# The night; by default, the last day of viewing history.
DS ?=

# Values from the command line reach the shell through its environment: in a command's text, a space or a quote would
# end them. $(value …) keeps them as written: make would expand a variable after each $.
# Every shell sets USER: only `make … USER=42` names a user to look up.
export LOOKUP_USER := $(if $(filter command,$(origin USER)),$(value USER))
# Where the tables are: a folder, or the URI of an object store. MARQUEE_WAREHOUSE of the environment works too.
export MARQUEE_WAREHOUSE := $(or $(value WAREHOUSE),$(value MARQUEE_WAREHOUSE),warehouse)
$(foreach name,PYTHON SERVICE MOVIELENS DS TITLE USER WAREHOUSE,\
    $(eval override export $(name) := $$(value $(name))))

ENV := . scripts/env.sh;
PACKAGES := $(wildcard marquee schemas scheduling spark_jobs inference training evaluation serving browsing examples benchmarks dags scripts tests)
# Options that are passed if the variable is set.
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

.PHONY: browse
browse: .venv/.ready ## Show choices, titles and nights with pictures on a web page, until Ctrl-C: WAREHOUSE
	@$(ENV) exec marquee browse

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

.PHONY: screenshots
screenshots: .venv/.ready ## Take the README's pictures of the page in Chromium, of WAREHOUSE
	@$(ENV) python scripts/screenshots.py

.PHONY: lock
lock: .venv/.ready ## Resolve the packages anew and pin them with hashes
	@$(ENV) python scripts/lock.py

.PHONY: clean
clean: ## Remove what was installed and made, except warehouses
	rm -rf .venv .tools .airflow .cache .mypy_cache .pytest_cache .ruff_cache .hypothesis spark-warehouse

.PHONY: doctor
doctor:
	@scripts/doctor.sh

# The stamp is written last, so that its existence means a complete install. doctor is order-only: it always runs first
# and never makes the stamp out of date.
.venv/.ready: requirements/cpu.txt pyproject.toml | doctor
	@scripts/setup.sh
