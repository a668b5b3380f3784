# `make demo` and `make test` set up everything they need on a machine with Python >= 3.11, git and make.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# With a PostgreSQL server of its own, where the machine has PostgreSQL.
PYTEST := tools/with_postgres $(BIN)/python -m pytest -q
# Two workers, whatever the machine: the tests start servers, agents and package managers of their own.
WORKERS ?= 2
# Each worker has one half of the tests in their order, so that a file's tests share what is costly to make; the one that
# has ended first takes over half of what the other still has, so that none waits for a long file.
PARALLEL := -n $(WORKERS) --dist worksteal
IMAGE_PINS := deploy/docker/requirements.txt
# Package managers that tests run.
TOOL_PINS := tests/integration/toolchain/tools/python
COMPILE = $(BIN)/uv pip compile --quiet $(UPGRADE) --generate-hashes --no-emit-index-url --no-emit-find-links --no-header \
	--no-annotate --python-version 3.11
NEEDED := import sys, ensurepip; sys.exit(sys.version_info < (3, 11))

# Where PYTHONDONTWRITEBYTECODE is set, each of the many programs that tests start would compile all modules anew.
COMPILED := $(BIN)/python -m compileall -q gen kit services apps clients/python bench

.PHONY: help
help: ## Show this help
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: demo
demo: $(STAMP) ## Run eight agents on three real git repositories, and show what became of them
	@$(COMPILED)
	@$(BIN)/autopack demo

.PHONY: test
test: $(STAMP) ## Run every test but the long ones
	@$(MAKE) --no-print-directory --keep-going test-fast test-integration test-e2e

.PHONY: test-fast
test-fast: $(STAMP) ## Of these, the unit, service and architecture tests
	@$(COMPILED)
	@$(PYTEST) $(PARALLEL) -m "not long" tests/unit tests/service tests/architecture

.PHONY: test-integration
test-integration: $(STAMP) ## Of these, the tests with real git, processes, databases and package managers
	@$(COMPILED)
	@$(PYTEST) $(PARALLEL) -m "not long" tests/integration

# Robustness first, one test after the other in one worker: these tests load the machine themselves, and watch what dies
# and what survives. They wait more than they compute, and the other worker has the end-to-end tests meanwhile.
.PHONY: test-e2e
test-e2e: $(STAMP) ## Of these, the whole product, and the product under faults
	@$(COMPILED)
	@$(PYTEST) $(PARALLEL) -m "not long" tests/robustness tests/e2e

.PHONY: test-all
test-all: test ## Run every test, the long ones too
	@$(PYTEST) -m long tests

.PHONY: verify
verify: $(STAMP) ## Check style, types, contracts, stubs, deployment files and documents
	@$(BIN)/python tools/verify.py

.PHONY: bench
bench: $(STAMP) ## Measure, each number beside what it must beat
	@$(BIN)/python -m bench

.PHONY: hardening-table
hardening-table: $(STAMP) ## Play every scenario of a real failure, and write the tables of docs/hardening.md
	@$(BIN)/python tools/hardening_table.py

.PHONY: stubs
stubs: $(STAMP) ## Generate gen/ from protos/
	@$(BIN)/python tools/generate.py

.PHONY: lock
lock: ## Pin what pyproject.toml asks for with hashes; UPGRADE=--upgrade takes the newest of all
	@[ -x $(BIN)/uv ] || $(MAKE) --no-print-directory $(STAMP)
	@$(COMPILE) --all-extras pyproject.toml -o constraints.txt
	@echo hatchling | $(COMPILE) --extra all --constraints constraints.txt pyproject.toml - -o $(IMAGE_PINS)
	@$(subst --generate-hashes,--no-strip-extras,$(COMPILE)) $(TOOL_PINS).in -o $(TOOL_PINS).txt
	@$(BIN)/python tools/check_pins.py && $(BIN)/python tools/check_text.py constraints.txt $(IMAGE_PINS)

.PHONY: clean
clean: ## Remove the environment, caches and builds
	@rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes

# Python 3.11 first: constraints.txt is resolved for it. The build backend is pinned too, so nothing is built unpinned.
# uv needs a fraction of pip's time; pip follows where uv fails, as behind an index that only pip's settings name.
$(STAMP): constraints.txt pyproject.toml
	@python=""; \
	for candidate in $(PYTHON) python3.11 python3 python3.12 python3.13; do \
		if "$$candidate" -c "$(NEEDED)" 2>/dev/null; then python=$$candidate; break; fi; \
	done; \
	if [ -z "$$python" ]; then \
		echo "Autopack needs Python 3.11 or newer with its venv module (Debian: apt-get install python3-venv)." >&2; \
		echo "If it is not on the PATH, name it: make $(MAKECMDGOALS) PYTHON=/path/to/python3.11" >&2; \
		exit 1; \
	fi; \
	echo "Setting up $(VENV) with $$("$$python" --version); this takes a minute the first time."; \
	[ -x $(BIN)/python ] || "$$python" -m venv $(VENV)
	@$(PIP) -r <(sed -n '/^uv==/,/[^\\]$$/p' constraints.txt)
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes --compile-bytecode -r constraints.txt || \
		$(PIP) -r constraints.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@
