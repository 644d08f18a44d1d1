# `make help` lists the targets. The environment is .venv/, made by whichever target runs first.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

# The first interpreter that the wheels of pyproject.toml exist for.
PYTHON ?= $(shell for python in python3 python3.12 python3.11; do \
  $$python -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))' 2>/dev/null \
  && echo $$python && break; done)
VENV := .venv
BIN := $(VENV)/bin
# Wheels only: nothing that a newcomer starts may need a compiler (the bindings are built by their own target).
INSTALL := $(BIN)/python -m pip install --disable-pip-version-check --quiet --progress-bar off \
  --only-binary :all: -c constraints.txt
# One stamp per step, touched when it is done, so that an interrupted step is taken again.
MADE := $(VENV)/.made
# What is installed for whom: the demo needs the bert family, speech and `up` the whisper family as well, the tests
# the development tools too.
INSTALLED := $(VENV)/.installed
INSTALLED_SPEECH := $(VENV)/.installed-speech
INSTALLED_DEV := $(VENV)/.installed-dev
# pytest's workers; CI has two cores.
WORKERS ?= 2
# Further arguments, as in `make up ARGS='--port 9000'`.
ARGS ?=

.PHONY: help demo demo-speech test lint up chaos bench bindings check-fresh pins clean

help: ## List the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' Makefile

$(MADE):
	@[ -n '$(PYTHON)' ] || \
	  { echo "Batchyard needs Python 3.11 or 3.12; name one with: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@echo "==> making the environment $(VENV)/ ($$("$(PYTHON)" --version))"
	@"$(PYTHON)" -m venv $(VENV) || \
	  { echo "no venv could be made; on Debian and Ubuntu install the package python3-venv" >&2; exit 1; }
	@touch $@

$(INSTALLED): $(MADE) pyproject.toml constraints.txt
	@echo "==> installing Batchyard and the bert family from wheels (about a minute the first time)"
	@$(INSTALL) -e '.[bert]'
	@touch $@

$(INSTALLED_SPEECH): $(INSTALLED)
	@echo "==> installing the whisper family from wheels (about half a minute the first time)"
	@$(INSTALL) -e '.[bert,whisper]'
	@touch $@

$(INSTALLED_DEV): $(INSTALLED_SPEECH)
	@echo "==> installing the development tools (about half a minute the first time)"
	@$(INSTALL) --no-binary srt -e '.[bert,parquet,whisper,dev]'  # srt: pure Python, and published without a wheel
	@touch $@

demo: $(INSTALLED) ## Embed the standard library's docstrings in bulk, then search them
	@$(BIN)/batchyard demo $(ARGS)

demo-speech: $(INSTALLED_SPEECH) ## Transcribe real speech in bulk, and count the wrong words
	@$(BIN)/batchyard demo-speech $(ARGS)

up: $(INSTALLED_SPEECH) ## Start the whole service in the foreground
	@exec $(BIN)/batchyard up $(ARGS)

bindings: $(INSTALLED_DEV) ## Build the native bindings with our flags (cached by CPU kind; minutes the first time)
	@$(BIN)/python deploy/bindings/build.py

test: bindings ## Run all tests
	@echo "==> tests"
	@BATCHYARD_REQUIRE_BINDINGS=1 $(BIN)/python -m pytest -n $(WORKERS) -m 'not timing'
	@echo "==> tests with bounds on time, alone"
	@BATCHYARD_REQUIRE_BINDINGS=1 $(BIN)/python -m pytest -m timing || \
	  BATCHYARD_REQUIRE_BINDINGS=1 $(BIN)/python -m pytest -m timing --last-failed

lint: $(INSTALLED_DEV) ## Check style and types
	@echo "==> style"
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@echo "==> types"
	@$(BIN)/mypy

chaos: $(INSTALLED_DEV) ## Kill, stop and empty everything at random while batches run: ARGS="--runs 100 --seed 7"
	@$(BIN)/python -m tests.chaos $(ARGS)

bench: bindings ## Measure ourselves and the peers (docs/benchmarks.md)
	@$(BIN)/python -m benchmarks $(ARGS)

check-fresh: ## Prove the set-up from a clone: root and an ordinary user, twice, path with a space
	@bash deploy/check-fresh.sh

pins: bindings ## Write constraints.txt from what is installed in the environment
	@$(BIN)/python deploy/pin.py

clean: ## Remove the environments and the caches of this folder (pulled models and homes stay)
	rm -rf $(VENV) .venv-bench .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
