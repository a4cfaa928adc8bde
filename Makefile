# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0

# Every target makes its own environment; python3 and make are all it needs.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PYTEST_ARGS ?=
BENCH_ARGS ?=

.PHONY: help venv demo test check lint bench format docs api constraints versions clean

help: ## say what can be made
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

venv:
	@$(PYTHON) scripts/bootstrap.py $(VENV)

demo: venv ## start a daemon in a temporary directory and show what it does
	@$(BIN)/python scripts/demo.py

test: venv ## run the tests
	@$(BIN)/python -m pytest -n auto --dist loadfile $(PYTEST_ARGS)

check: lint test ## format, lint, types, import contracts, tests: what CI runs

lint: venv
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/pyright --pythonpath $(BIN)/python
	PYTHONPATH=. $(BIN)/lint-imports

versions: venv ## run the tests on every Python from 3.11 that is installed
	@$(BIN)/nox $(NOX_ARGS)

bench: venv ## measure, beside containerd where it is installed (BENCH_ARGS=--quick)
	@$(BIN)/python bench/run.py $(BENCH_ARGS)

format: venv ## put the code in form
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: venv ## write the generated parts of the documentation anew
	$(BIN)/python -m pluggd.core.rpcdoc > docs/rpc.md.new && mv docs/rpc.md.new docs/rpc.md
	$(BIN)/pluggd config default > config.toml.new && mv config.toml.new config.toml

api: venv ## take up what was added to the interfaces as promised (tests/api)
	@$(BIN)/python scripts/api_snapshot.py

constraints: venv ## write constraints.txt from what is installed
	@$(BIN)/python scripts/constraints.py

clean: ## remove what was made
	rm -rf $(VENV) .nox dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
