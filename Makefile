# make run    set up and run the ICD-10 agent on the example note
# make test   set up and run the tests
# make lint   format, lint and types
# make bench  the benchmarks' tables
.DELETE_ON_ERROR:
.PHONY: run test lint bench base clean

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV ?= .venv
BIN := $(VENV)/bin
NOTE ?= examples/notes/outpatient.txt
BASE ?= smollm2-135m-instruct
# Kinds of tests that must run rather than be skipped where what they need is missing.
REQUIRE ?= model
# Tests run side by side in so many processes.
WORKERS ?= 2
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet -c constraints.txt

run: $(VENV)/.local base
	$(BIN)/seamline run icd10_coder --file $(NOTE)

test: $(VENV)/.dev base
	SEAMLINE_TESTS_REQUIRE=$(REQUIRE) $(BIN)/python -m pytest -q -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(ARGS)

lint: $(VENV)/.dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/pyright --pythonpath $(BIN)/python

bench: $(VENV)/.dev base
	@for table in benchmarks/*.py; do $(BIN)/python "$$table" || exit 1; done

base: | $(VENV)/.local
	$(BIN)/seamline models pull $(BASE)

clean:
	rm -rf $(VENV) dist build

$(VENV)/bin/python:
	@test -n "$(PYTHON)" || { echo "Seamline needs Python 3.11 or newer; install it, or name one: make PYTHON=/path/to/python3.11" >&2; exit 2; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Seamline needs Python 3.11 or newer, but $(PYTHON) is $$($(PYTHON) -V 2>&1); name another: make PYTHON=/path/to/python3.11" >&2; exit 2; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "$(PYTHON) cannot make virtual environments; on Debian and Ubuntu: apt install python3-venv" >&2; exit 2; }
	@echo "Making $(VENV) with $(PYTHON)"
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.local: pyproject.toml constraints.txt hatch_build.py | $(VENV)/bin/python
	@echo "Installing Seamline with the local engine; the first time takes some minutes"
	@$(PIP) -e '.[local,documents]'
	@touch $@

$(VENV)/.dev: pyproject.toml constraints.txt hatch_build.py | $(VENV)/.local
	@echo "Installing what tests and checks need"
	@$(PIP) -e '.[local,train,qlora,documents,dev]'
	@touch $@
