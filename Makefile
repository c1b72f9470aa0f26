# Every target does its work through a program in scripts/, so that it can be read, tested and run without make.
PYTHON ?= $(firstword $(foreach name,python3.11 python3.12 python3.13 python3,$(if $(shell command -v $(name) 2>/dev/null),$(name))))
VENV := .venv/bin

.DEFAULT_GOAL := help
.PHONY: help setup build crds lint test test-all property mutants bench demo cluster down lock

help: ## this table
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-12s %s\n", $$1, $$2}' Makefile

setup: ## virtual environments and all programs in bin/; a step is done only when something changed
	@$(PYTHON) scripts/setup.py

build: ## the Go programs in bin/ alone
	@$(PYTHON) scripts/setup.py --programs-only

crds: setup ## crds/ and the chart's copies, from the models in operator/modelservice/api
	@$(VENV)/python -m modelservice.api.crdgen write

lint: setup ## ruff, mypy, import contracts, CRD drift
	@$(PYTHON) scripts/stages.py lint

test: ## everything that a change must pass: lint, Go, unit, property, cluster and end-to-end tests
	@$(PYTHON) scripts/stages.py

test-all: ## the same with 1000 random examples for each property, and the proof of budgets on a cluster (an hour)
	@$(PYTHON) scripts/stages.py --all --examples 1000

property: setup ## the property tests with N random examples: make property N=5000
	@$(PYTHON) scripts/stages.py property --examples $(or $(N),1000)

mutants: setup ## break the book's rules one by one: each must be noticed, and by which seed
	@PYTHONPATH=operator $(VENV)/python -m tests.property.mutants

bench: setup ## figures of one area as JSON lines: make bench AREA=serving, AREA=ledger, AREA=gateway
	@PYTHONPATH=operator:scripts $(if $(filter ledger,$(AREA)),.venv,.venv-workers)/bin/python -m tests.bench.$(or $(AREA),serving)

demo: setup ## train, serve, scale and budget one model on a local cluster
	@$(VENV)/python scripts/demo.py

cluster: setup ## a local cluster, without anything on it
	@bin/localcluster up

down: ## stop the local cluster and remove .local/
	@$(PYTHON) scripts/down.py

lock: ## requirements/*.txt, from pyproject.toml (needs uv)
	@$(PYTHON) scripts/lock.py
