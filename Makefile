# Everything runs in a virtual environment that is made here, on a machine with Python 3.11, gcc, git and make.
#
#   make PYTHON=python3.12 test   makes it with another interpreter
#   make VENV=/tmp/env test       makes it in another place
#   make test-newest TESTS=tests/store    only those tests, in the environment .venv-newest
#
# It is brought up to date when pyproject.toml or constraints.txt is newer than it; else that costs nothing.
# Which build of torch it gets: see the head of constraints.txt.

PYTHON ?= python3
VENV ?= .venv

BIN := $(VENV)/bin
READY := $(VENV)/.ready
NEWEST := .venv-newest
ALL := .[fast,train,geo,products,onnx,smp,slides,microscopes,volumes,view,demo,test,dev]

.DEFAULT_GOAL := help
.PHONY: help venv demo test test-newest test-gpu soak check format bench bench-gpu clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

venv: $(READY) ## the environment that the others use

$(READY): pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '$(ALL)'
	@touch $@

%/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo 'error: $(PYTHON) is not Python 3.11 or newer; run make PYTHON=/path/to/python3.11' >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
	  { echo 'error: $(PYTHON) cannot make a virtual environment; on Debian: apt install python3-venv' >&2; exit 1; }
	$(PYTHON) -m venv $*

demo: $(READY) ## segment a real microscopy image, from file to masks, in some two minutes
	$(BIN)/python workflows/nuclei.py

test: $(READY) ## all tests but the long ones and those that need a GPU
	$(BIN)/python -m pytest -n 2 --dist loadfile

test-newest: $(NEWEST)/bin/python ## all tests with the newest versions of everything but torch
	grep '^torch==' constraints.txt > $(NEWEST)/torch.txt
	$(NEWEST)/bin/python -m pip install --quiet --upgrade --upgrade-strategy eager -c $(NEWEST)/torch.txt -e '$(ALL)'
	$(NEWEST)/bin/python -m pytest -n 2 --dist loadfile $(TESTS)

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
