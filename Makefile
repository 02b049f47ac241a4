# Every target sets up what it needs. `make help` lists them.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
MAKEFLAGS += --no-print-directory
VENV := .venv
BIN := $(VENV)/bin
EXTRAS := simulate,download,convert,train,ray,s3,physics,report,display,dev
MLPF_TEST_DATA ?= $(abspath ../shared/data)
# A file is one worker's: whole Ray jobs, which fill two cores, then run one after the other.
PYTEST := MLPF_TEST_DATA=$(MLPF_TEST_DATA) $(BIN)/python -m pytest -n 2 --dist loadfile

.DEFAULT_GOAL := help
.PHONY: help setup demo test browser test-all lint format ci bench clean

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*##/\t/' | expand -t 12

setup: $(VENV)/.ready  ## make the environment in .venv

$(VENV)/.ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "expected Python 3.11 or newer, found $$($(PYTHON) --version); give PYTHON=..."; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[$(EXTRAS)]'
	@touch $@

demo: setup  ## the main job end to end: simulate, convert, train, evaluate, a table, a report
	$(BIN)/python -m benchmarks.demo

test: setup browser  ## unit, property and integration tests
	$(PYTEST)

browser:  # pages are opened in a real one, with the fonts that their figures are made for
	@command -v chromium > /dev/null && fc-list | grep -qi liberation || \
		{ apt-get update -qq && \
		apt-get install -y -qq --no-install-recommends chromium fonts-liberation fontconfig; } || \
		echo "no chromium: the browser tests will name what to install"

test-all: test  ## every tier of tests

lint: setup  ## ruff, mypy strict, the floors
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

format: setup  ## put the code into its form
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

ci: setup lint demo  ## what CI runs: set-up, lint, demo, tests last
	$(MAKE) test

bench: setup  ## benchmarks; each prints one JSON object
	MLPF_TEST_DATA=$(MLPF_TEST_DATA) $(BIN)/python -m benchmarks.bench_baseline --json
	$(BIN)/python -m benchmarks.bench_convert --json
	$(BIN)/python -m benchmarks.bench_padding --json
	$(BIN)/python -m benchmarks.bench_precision --json
	$(BIN)/python -m benchmarks.bench_segments --json
	$(BIN)/python -m benchmarks.bench_simulation --json
	$(BIN)/python -m benchmarks.demo --json

clean:  ## remove the environment and what the demo wrote
	rm -rf $(VENV) demo-output
