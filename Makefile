# Everything runs in a virtual environment that is made here, on a machine with Python 3.11, gcc, git and make.
#
#   make PYTHON=python3.12 test   makes it with another interpreter
#   make VENV=/tmp/env test       makes it in another place
#
# It is brought up to date when pyproject.toml or constraints.txt is newer than it; else that costs nothing.
# Which build of torch it gets: see the head of constraints.txt.

PYTHON ?= python3
VENV ?= .venv

BIN := $(VENV)/bin
READY := $(VENV)/.ready

.DEFAULT_GOAL := help
.PHONY: help venv demo test test-gpu soak check format bench bench-gpu clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

venv: $(READY) ## the environment that the others use

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo 'error: $(PYTHON) is not Python 3.11 or newer; run make PYTHON=/path/to/python3.11' >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
	  { echo 'error: $(PYTHON) cannot make a virtual environment; on Debian: apt install python3-venv' >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[fast,train,geo,products,demo,test,dev]'
	@touch $@

demo: $(READY) ## segment a real microscopy image, from file to masks, in some two minutes
	$(BIN)/python workflows/nuclei.py

test: $(READY) ## all tests but the long ones and those that need a GPU
	$(BIN)/python -m pytest -n 2 --dist loadfile

test-gpu: $(READY) ## the tests that need a CUDA device
	$(BIN)/python -m pytest -m gpu

soak: $(READY) ## long campaigns: kills, fuzz, a million blocks
	$(BIN)/python -m pytest -m soak --timeout=0

check: $(READY) ## style, types and import layers; changes nothing
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

format: $(READY) ## mend what ruff can mend
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(READY) ## benchmarks on the CPU; JSON under benchmarks/results
	$(BIN)/python benchmarks/run_all.py

bench-gpu: $(READY) ## benchmarks on a CUDA device; JSON under benchmarks/results
	$(BIN)/python benchmarks/run_all.py gpu

clean: ## remove caches, builds and the demo's output; the environment stays
	rm -rf out build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find unet_batch tests benchmarks workflows -name __pycache__ -type d -prune -exec rm -rf {} +
