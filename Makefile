# One command sets everything up and does the job; both work on a fresh machine with Python 3.11 to 3.13.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
PEERS ?= .venv-peers
ARGS ?=

.PHONY: train test slow check peers clean

## train: install, then learn the toy maze; more words by ARGS="env=minatar/breakout seed=1"
train: $(VENV)/ready
	$(BIN)/dreamspi train $(ARGS)

## test: install, then lint, types, the house's import rule, and the fast tests: three at a time on two cores, as some
## of them wait for processes, and these, in few files of long tests, not last
test: check
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 3 --dist loadfile --no-loadscope-reorder -m "not slow"

## slow: the real learning tests, and the longer ones of killed studies, twenty to forty minutes, by the machine
slow: $(VENV)/ready
	$(BIN)/pytest -m slow

## check: lint, types, the house's import rule
check: $(VENV)/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

## peers: install the peers into an environment of their own, then race them; more words by ARGS="threads=2 race=ppo"
peers: $(VENV)/ready $(PEERS)/ready
	$(BIN)/python benchmarks/peers/compare.py peers=$(PEERS)/bin/python $(ARGS)

$(VENV)/ready: pyproject.toml .ci/constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint .ci/constraints.txt --editable ".[dev]"
	touch $@

$(PEERS)/ready: benchmarks/peers/requirements.txt
	$(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/python -m pip install --quiet --requirement benchmarks/peers/requirements.txt
	touch $@

clean:
	rm -rf $(VENV) $(PEERS) build dist .pytest_cache .ruff_cache .mypy_cache .hypothesis .import_linter_cache
