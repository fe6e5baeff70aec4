# What people and CI both call. Every target works in a fresh clone with nothing run before.

PYTHON ?= python3
VENV ?= .venv
OUT ?= out/demo
PYTEST_ARGS ?=
BENCH_PROMPTS ?= examples/prompts.txt
SOAK_ARGS ?=
TESTS := not gpu and not benchmark
WAITING := cluster
ALONE := browser or alone
NONE_WAITS := --ignore=tests/unit --ignore=tests/parity --ignore=tests/distributed

BIN := $(VENV)/bin
READY := $(VENV)/.ready
SOURCES := videogen cluster pipelines scripts tests

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup demo test lint lint-style lint-format lint-types lint-layers format bench chaos soak \
	constraints clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(READY) ## make the virtual environment and install videogen into it (once)

# Redone when the dependencies change; an editable install sees every other change by itself.
$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info; (3, 11) <= v < (3, 13) or sys.exit( \
		f"python: got {v[0]}.{v[1]}, expected 3.11 or 3.12. Fix: make setup PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	@echo "installing videogen and its dependencies into $(VENV): a few minutes, once"
	$(BIN)/python -m pip install -qq --disable-pip-version-check \
		--constraint constraints.txt --editable '.[dev]'
	@touch $@

demo: setup ## make clips from examples/prompts.jsonl, score them, and look at them
	$(BIN)/videogen generate examples/prompts.jsonl --out $(OUT) --evaluate
	$(BIN)/videogen show $(OUT)
	$(BIN)/videogen report $(OUT)

# Three parts, the next one also if one fails: what needs no Ray; what starts Ray, which waits for
# most of its time; and what drives a browser or measures how soon something happens, for which the
# machine must do nothing else. Status 5 says that nothing was chosen from a part.
test: setup ## run the tests (PYTEST_ARGS="-k storage" to choose)
	@worst=5; \
	run() { \
		$(BIN)/python -m pytest "$$@" $(PYTEST_ARGS); status=$$?; \
		if test $$status != 5 && { test $$worst = 5 || test $$worst = 0; }; then worst=$$status; fi; \
	}; \
	run -m "$(TESTS) and not ($(WAITING) or $(ALONE))" -n 2 --dist loadfile; \
	run -m "$(TESTS) and $(WAITING) and not ($(ALONE))" -n 3 --dist loadfile $(NONE_WAITS); \
	run -m "$(TESTS) and ($(ALONE))" $(NONE_WAITS); \
	exit $$worst

lint: lint-style lint-format lint-types lint-layers ## check style, types and layering (-k: all of them)

lint-style: setup
	$(BIN)/ruff check $(SOURCES)

lint-format: setup
	$(BIN)/ruff format --check $(SOURCES)

lint-types: setup
	$(BIN)/pyright --pythonpath $(BIN)/python

lint-layers: setup
	$(BIN)/lint-imports --no-logo

format: setup ## rewrite the sources in the project's style
	$(BIN)/ruff check --fix $(SOURCES)
	$(BIN)/ruff format $(SOURCES)

bench: setup ## measure time and memory on this machine
	$(BIN)/python -m pytest -m benchmark -s $(PYTEST_ARGS)
	$(BIN)/python scripts/bench_throughput.py $(BENCH_PROMPTS)
	$(BIN)/python scripts/bench_gangs.py
	$(BIN)/python scripts/bench_orchestrator.py
	$(BIN)/python scripts/bench_sharding.py

chaos: setup ## run the chaos tests in full length (make test runs them shorter)
	$(BIN)/python -m pytest tests/chaos --thorough $(PYTEST_ARGS)

soak: setup ## kill, stop and starve a run for twenty minutes (SOAK_ARGS="--minutes 60")
	$(BIN)/python -m tests.chaos.soak $(SOAK_ARGS)

constraints: setup ## record the versions that are installed now in constraints.txt
	@{ sed '/^[^#]/,$$d' constraints.txt; $(BIN)/python -m pip freeze --exclude-editable \
		| sed 's/+[a-z0-9.]*$$//'; } > constraints.tmp && mv constraints.tmp constraints.txt

clean: ## remove what builds and tests leave behind (not the clips, not the environment)
	rm -rf build dist .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	rm -rf *.egg-info cluster/*.egg-info pipelines/*.egg-info
	find $(SOURCES) -name __pycache__ -type d -prune -exec rm -rf {} +
