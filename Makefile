# Each target sets up what it needs. A machine with Python >= 3.11, make and a package manager is enough.

SHELL := /bin/sh
.DEFAULT_GOAL := help

# The newest Python that runs; `make PYTHON=/path/to/python3` names another.
PYTHON ?= $(shell for python in python3.13 python3.12 python3.11 python3; do \
	"$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo "$$python" && break; done)
BIN := .venv/bin
# Further arguments for pytest or the demo: `make test ARGS="tests/wire -x"`.
ARGS ?=
# Test files run side by side, each worker with a RabbitMQ of its own: most of their time they wait.
WORKERS ?= 3

.PHONY: help demo test docs faults fuzz mutants bench soak alerts console chart image release-check scan lint lock environment clean

help: ## show this list
	@echo "make <target>:"
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1\t\2/p' Makefile | expand -t 17

demo: environment ## channels open, pay and close over a real RabbitMQ, before your eyes
	$(BIN)/channel-bridge demo $(ARGS)

# Coverage counts child processes too (pyproject.toml). Without RabbitMQ the tests fail here instead of skipping.
test: environment ## every test, on a real RabbitMQ, with coverage
	$(BIN)/coverage erase
	@status=0; \
	CHANNEL_BRIDGE_REQUIRE_BROKER=1 $(BIN)/coverage run -m pytest -n $(WORKERS) --dist worksteal $(ARGS) || status=$$?; \
	$(BIN)/coverage combine --quiet && $(BIN)/coverage report || status=1; \
	exit $$status

# The HTML page is an artefact, not committed. Node.js must be there; npm installs what the lock beside tools/docs holds.
docs: environment ## links, code blocks and the AsyncAPI document checked, the contract as build/asyncapi.html
	$(BIN)/python -m tools.docs

bench: environment ## a hundred channels, twenty transfers each way: nothing may fail, and what it costs
	$(BIN)/python -m benchmarks.many_channels $(ARGS)

faults: environment ## every fault there is, on real processes and in virtual time: nothing lost, nothing twice
	$(BIN)/python -m tests.faults $(or $(ARGS),all)

# atheris is no part of the environment: it has wheels for Linux alone.
fuzz: environment ## a million cases, led by coverage, of all that others write to us: nothing may crash or be accepted changed
	$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes --only-binary :all: --requirement requirements-fuzz.lock
	$(BIN)/python -m tests.fuzz $(ARGS)

mutants: environment ## the code broken on purpose, one rule at a time: the tests must notice
	$(BIN)/python -m tests.mutants $(ARGS)

alerts: environment ## the alert rules, checked and tested by promtool
	$(BIN)/python tools/alerts.py

# Chromium is no part of the environment: the browser comes from the distribution's package.
console: environment ## the console page in a real headless browser: states, phone, dark, and 200 channels at 200 events/s
	$(BIN)/python -m tests.console $(ARGS)

soak: environment ## ten minutes at full speed, a kill -9 every two: memory must stay flat
	$(BIN)/python -m benchmarks.soak $(ARGS)

lint: environment ## ruff, mypy strict, and the floors of the house
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy bridge tests tools benchmarks docker/first_start.py
	$(BIN)/lint-imports --no-logo

# Keeps the versions already locked; `make lock UPGRADE=--upgrade` takes the newest allowed.
COMPILE := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header
UPGRADE ?=
lock: environment ## write all locks from pyproject.toml again
	$(COMPILE) $(UPGRADE) pyproject.toml --output-file requirements.lock
	$(COMPILE) $(UPGRADE) pyproject.toml --group dev --constraint requirements.lock --output-file requirements-dev.lock
	for group in fuzz build chart image release scan; do \
		$(COMPILE) $(UPGRADE) --group $$group --output-file requirements-$$group.lock || exit 1; done

# Programs of their own, each set in an environment of its own: nothing of theirs reaches what is tested and shipped.
.cache/tools/%/stamp: requirements-%.lock | environment
	@$(BIN)/uv venv --quiet --allow-existing --python $(BIN)/python $(@D)
	@$(BIN)/uv pip sync --quiet --python $(@D)/bin/python --require-hashes --only-binary :all: $<
	@touch $@

chart: environment .cache/tools/chart/stamp ## the Helm chart: lint, render, strict schemas, invariants, refused mistakes
	.cache/tools/chart/bin/python -m tools.chart $(ARGS)

release-check: environment .cache/tools/release/stamp ## wheel and sdist, tried in an empty environment; bill of materials; all in dist/
	$(BIN)/python -m tools.release

# Asks a service that knows of advisories, by default the package index's; `ARGS="-s osv"` asks another.
scan: environment .cache/tools/scan/stamp ## known vulnerabilities of every package the locks name
	@status=0; for lock in requirements*.lock; do \
		echo "$$lock"; .cache/tools/scan/bin/pip-audit --strict --progress-spinner off --disable-pip --require-hashes --requirement $$lock $(ARGS) || status=1; \
	done; exit $$status

image: environment .cache/tools/image/stamp ## the container image: built, looked into, run against a real RabbitMQ
	$(BIN)/python -m tools.image

environment:
	@test -n "$(PYTHON)" || { echo "setup: no Python >= 3.11 found: install the package python3, or name one with make PYTHON=/path/to/python3" >&2; exit 1; }
	@"$(PYTHON)" tools/environment.py

clean: ## remove everything the other targets made
	rm -rf .venv .broker .cache .coverage .coverage.* .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache build dist
	find bridge tests tools benchmarks -type d -name __pycache__ -prune -exec rm -rf {} +
