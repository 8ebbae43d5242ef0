# valetstore: `make` lists the targets.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
DATA   ?= ./valet-data
LISTEN ?= 127.0.0.1:8420
BENCH  ?=

# What is measured is what a service runs under. A distribution's Python was compiled with profile-guided optimisation, one
# that pyenv has compiled often was not, and needs a tenth more (bench/README.md). PYTHON=... names another.
SYSTEM_PYTHON = $(shell /usr/bin/python3 -c 'import ensurepip, sys; print(sys.executable if sys.version_info >= (3, 11) else "")' 2>/dev/null)
BENCH_PYTHON  ?= $(if $(filter file,$(origin PYTHON)),$(or $(SYSTEM_PYTHON),$(PYTHON)),$(PYTHON))

.PHONY: help run test lint bench figures clean
.DEFAULT_GOAL := help

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: $(VENV)/.run ## install into .venv and run the gateway on http://127.0.0.1:8420, data in ./valet-data
	@exec $(BIN)/valetstore serve --data $(DATA) --listen $(LISTEN) --examples

LANED  := $(patsubst %,tests/edge/test_%.py,refusals operations ranges served told cors proxies hygiene abuse)

test: $(VENV)/.test ## install what the tests need and run them; what downloads promise, with the fast lane off and warm too
	$(BIN)/python -m pytest
	$(BIN)/python -m pytest --lane off $(LANED) tests/interop/test_matrix.py
	$(BIN)/python -m pytest --lane again $(LANED) tests/interop/test_matrix.py

lint: $(VENV)/.lint ## style, types, and the layers of docs/ARCHITECTURE.md
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: ## measure beside others and as work grows, in .venv-bench (an hour; BENCH=--quick for a look)
	@$(MAKE) --no-print-directory VENV=.venv-bench PYTHON=$(BENCH_PYTHON) figures

figures: $(VENV)/.bench
	@mkdir -p bench/figures
	@failed=0; \
	$(BIN)/python -m bench.versus $(BENCH) --json bench/figures/versus.json || failed=1; \
	$(BIN)/python -m bench.curves $(BENCH) --json bench/figures/curves.json || failed=1; \
	$(BIN)/python -m bench $(BENCH) --json bench/figures/parts.json || failed=1; \
	$(BIN)/python -m bench.report || failed=1; exit $$failed

clean: ## remove .venv, .tools and what tools leave behind (never data)
	rm -rf $(VENV) .venv-* .tools build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "valetstore needs Python 3.11 or later: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip

$(VENV)/.run: $(BIN)/python pyproject.toml
	$(BIN)/python -m pip install --quiet --editable .
	@touch $@

$(VENV)/.test: $(BIN)/python pyproject.toml
	$(BIN)/python -m pip install --quiet --editable '.[test]'
	@touch $@ $(VENV)/.run

$(VENV)/.bench: $(BIN)/python pyproject.toml
	$(BIN)/python -m pip install --quiet --editable '.[bench]'
	@touch $@ $(VENV)/.run

$(VENV)/.lint: $(BIN)/python pyproject.toml
	$(BIN)/python -m pip install --quiet --editable '.[test,lint]'
	@touch $@ $(VENV)/.test $(VENV)/.run
