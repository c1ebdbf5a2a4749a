# One word per chore. Each does its own set-up on a machine that has Python 3.11+ and make.

PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	command -v $$p >/dev/null 2>&1 && $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	&& { command -v $$p; break; }; done)
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

# The modules that decide: every branch of theirs is taken by a test.
PURE := */run/approving.py,*/run/asked.py,*/run/inputs.py,*/run/joins.py,*/run/locking.py,*/run/machine.py,*/run/mapping.py,*/run/maps.py,*/run/passing.py,*/run/recovery.py,*/run/resuming.py,*/run/retrying.py,*/run/state.py,*/run/states.py,*/run/trying.py,*/run/undoing.py,*/strategies/*

# The tests, in three parts of about the same length: those that do the same thousands of times, for
# which measuring coverage would double the time; those of whole runs and proofs; and all others.
MANY := tests/mutants tests/docs tests/analysis/test_operating.py tests/analysis/test_backtest.py \
	tests/record/test_tamper.py tests/record/evidence/test_matrix.py tests/test_secret_matrix.py
RUNS := tests/testing tests/strategies tests/properties tests/simulation
UNIT := -m pytest -m "not integration and not crash"

.PHONY: help demo test check lint types unit unit-many unit-runs unit-parts crash soak integration bench docs clean python

help:
	@echo "make demo         a canary under load on this machine, and a broken release that rolls back"
	@echo "make test         lint, types and every test that needs no server"
	@echo "make crash        kill -9 around every commit of many workflows"
	@echo "make soak         ten times as many crashes, real and simulated"
	@echo "make integration  the tests that need real servers"
	@echo "make docs         reference and outputs taken from the code, and the site built in build/docs"
	@echo "make bench        overhead against bare loops and bare SQLite, simulations a second, deadlines, redaction, memory, import time"
	@echo "make check        lint and types alone"

python:
	@test -n "$(PYTHON)" || { echo "pyflow needs Python 3.11 or newer on PATH; set PYTHON=/path/to/python" >&2; exit 1; }

$(READY): pyproject.toml | python
	@if command -v uv >/dev/null 2>&1; then \
		UV_PROJECT_ENVIRONMENT=$(VENV) uv sync --quiet --python "$(PYTHON)" --no-progress; \
	else \
		test -x $(BIN)/python || "$(PYTHON)" -m venv $(VENV); \
		$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1' && \
		$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable . --group dev; \
	fi
	@touch $@

demo: python
	@PYTHONPATH=src "$(PYTHON)" examples/demo.py

test: check unit

check: lint types

lint: $(READY)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

types: $(READY)
	@$(BIN)/pyright

# All parts at a time; what a part prints appears once it has ended.
unit: $(READY)
	@rm -f .coverage .coverage.*
	@$(MAKE) --no-print-directory --keep-going --jobs=3 --output-sync=target unit-many unit-runs unit-parts
	@$(BIN)/coverage combine --quiet
	@$(BIN)/coverage report
	@$(BIN)/coverage report --fail-under=100 --include='$(PURE)'

unit-many:
	@$(BIN)/python $(UNIT) $(MANY)

unit-runs:
	@$(BIN)/coverage run $(UNIT) $(RUNS)

unit-parts:
	@$(BIN)/coverage run $(UNIT) $(patsubst %,--ignore=%,$(MANY) $(RUNS))

crash: $(READY)
	@$(BIN)/pytest tests/crash

soak: $(READY)
	@PYFLOW_SOAK=10 $(BIN)/pytest tests/crash

integration: $(READY)
	@$(BIN)/pytest -m integration

bench: $(READY)
	@$(BIN)/python benchmarks/overhead.py
	@$(BIN)/python benchmarks/simulation.py
	@$(BIN)/python benchmarks/durable.py
	@$(BIN)/python benchmarks/durable_runs.py
	@$(BIN)/python benchmarks/strategies.py
	@$(BIN)/python benchmarks/notices.py
	@$(BIN)/python benchmarks/deadlines.py
	@$(BIN)/python benchmarks/redaction.py
	@$(BIN)/python benchmarks/analysis.py
	@$(BIN)/python benchmarks/history.py

docs: $(READY)
	@PYTHONPATH=tests $(BIN)/python tests/docs/pages.py
	@$(BIN)/sphinx-build --quiet --fail-on-warning --keep-going --nitpicky docs build/docs
	@echo "the site is in build/docs/index.html"

clean:
	@rm -rf $(VENV) .pytest_cache .ruff_cache .hypothesis .coverage .coverage.* build dist
