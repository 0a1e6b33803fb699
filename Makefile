# demo and test need nothing but Python >= 3.11: they make .venv and install the pinned packages into it.
# The pages for browsers take Node.js >= 20 with npm as well; the gateway works without them.
OLDEST := import sys; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(shell for python in python3 python3.14 python3.13 python3.12 python3.11; do \
            $$python -c '$(OLDEST)' 2>/dev/null && echo $$python && break; done)
VENV   := .venv
BIN    := $(VENV)/bin
UI     := gateway/web/static/manifest.json
TRY_UI  = $(MAKE) --question ui 2>/dev/null || { command -v npm >/dev/null && $(MAKE) --silent ui; } || \
          echo "no npm, or it failed: /graphql and /docs have no pages but a hint; all else works"
LOCK    = $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --upgrade --generate-hashes --no-annotate --no-header --no-emit-index-url --no-emit-find-links
PIP     = $(BIN)/python -m pip --disable-pip-version-check install --quiet

.DEFAULT_GOAL := help
.PHONY: help demo run ui test coverage soak check fix bench contracts dist lock clean

help:     ## what can be made
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo:                     ## the gateway with a simulated provider beside it; no account needed
	@# The pages are built while the packages are installed; each alone takes half a minute.
	@{ $(TRY_UI); } & $(MAKE) --silent $(VENV)/runtime; status=$$?; wait; exit $$status
	@$(BIN)/smsc-gateway demo

run: $(VENV)/runtime      ## the gateway with the settings of the environment
	@$(BIN)/smsc-gateway serve

ui: $(UI)                 ## the console, the playground and the API page, from npm

test: $(VENV)/dev         ## all tests; what is statistical is small here
	@$(TRY_UI)
	$(BIN)/pytest

coverage: $(VENV)/dev     ## the same, with branch coverage
	@$(TRY_UI)
	$(BIN)/pytest --cov --cov-report=term

soak: $(VENV)/dev         ## what is statistical, whole: a million hostile answers, two minutes of load
	SOAK=1 $(BIN)/pytest -m soak -vv

check: $(VENV)/dev        ## look, change nothing: lint, format, types, Dockerfile, dependencies, contracts, alerts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/hadolint Dockerfile
	$(BIN)/python -m tools.dependencies
	$(BIN)/smsc-gateway schema | diff -u schema/schema.graphql -
	$(BIN)/smsc-gateway openapi | diff -u openapi/openapi.yaml -
	$(BIN)/smsc-gateway metrics | diff -u docs/metrics.md -
	! command -v promtool >/dev/null || promtool test rules deploy/prometheus/rules.test.yaml

fix: $(VENV)/dev          ## mend what lint and format can mend
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/dev        ## measure, half an hour; prints ratios, asserts nothing; ONLY=hits: a part
	$(BIN)/python -m tests.bench $(ONLY)

contracts: $(VENV)/dev    ## export schema.graphql, openapi.yaml and docs/metrics.md from the code
	$(BIN)/smsc-gateway schema > schema/schema.graphql
	$(BIN)/smsc-gateway openapi > openapi/openapi.yaml
	$(BIN)/smsc-gateway metrics > docs/metrics.md

dist: $(VENV)/dev $(UI)   ## sdist and wheel with the pages, SBOM and SHA256SUMS in dist/, checked
	@$(BIN)/python -m tools.dist

lock: $(VENV)/dev         ## pin anew: hashes, no addresses; each lock agrees with the one before
	$(LOCK) --output-file requirements.lock pyproject.toml
	$(LOCK) --extra jwt --extra otel --extra postgres --extra redis --constraint requirements.lock --output-file requirements-image.lock pyproject.toml
	$(LOCK) --all-extras --group dev --constraint requirements-image.lock --output-file requirements-dev.lock pyproject.toml

clean:    ## forget everything that can be made again
	rm -rf gateway/web/static gateway/web/ui/node_modules
	rm -rf $(VENV) .coverage* .hypothesis .mypy_cache .pytest_cache .ruff_cache dist build

$(BIN)/python:
	@"$(or $(PYTHON),none)" -c '$(OLDEST)' 2>/dev/null || { \
	  echo "smsc-gateway needs Python 3.11 or newer; python3 here is: $$(python3 --version 2>&1 | head -1)." \
	       "Install one, or name it: make PYTHON=/path/to/python3.11 ..." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "This Python lacks the module venv (Debian and Ubuntu: apt install python3-venv)." >&2; exit 1; }
	@echo "making $(VENV) with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv --clear $(VENV)

$(VENV)/runtime: requirements.lock pyproject.toml | $(BIN)/python
	@echo "installing the pinned packages"
	@$(PIP) --no-deps --require-hashes -r requirements.lock
	@$(PIP) --no-deps -e .
	@touch $@

$(VENV)/dev: requirements-dev.lock pyproject.toml | $(BIN)/python
	@echo "installing the pinned packages for development"
	@$(PIP) --no-deps --require-hashes -r requirements-dev.lock
	@$(PIP) --no-deps --no-build-isolation -e .
	@touch $@ $(VENV)/runtime

$(UI): $(addprefix gateway/web/ui/,package-lock.json package.json build.mjs) gateway/web/ui/tsconfig.json $(wildcard gateway/web/ui/src/*.* gateway/web/ui/src/console/*.ts gateway/web/ui/src/console/*.tsx gateway/web/ui/src/console/*.json gateway/web/ui/src/console/*.graphql schema/examples/*.graphql) openapi/openapi.yaml schema/schema.graphql
	@command -v npm >/dev/null || { \
	  echo "The pages for browsers are built by npm: install Node.js 20 or newer with npm, then make ui again." >&2; exit 1; }
	@echo "building the console, the playground and the API page"
	@cd gateway/web/ui && npm ci --silent && node build.mjs
