# Everything sets itself up: a machine needs Python ≥ 3.11, make and a package index.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
CLIENTS := $(VENV)/.clients

.PHONY: help serve test test-faults check static audit bench format openapi lock test-server clean

help:
	@sed -n 's/^## //p' $(MAKEFILE_LIST)

## make serve         start the service (Ctrl-C stops it)
serve: $(READY)
	@$(BIN)/percorso serve

## make test          run all tests
test: $(READY) $(CLIENTS)
	$(BIN)/pytest $(ARGS)

## make test-faults   kill, starve and cut off real processes, and account for every id (ARGS=--short takes minutes)
test-faults: $(READY)
	$(BIN)/pytest tests/faults $(ARGS)

## make check         formats, lint, types, import contracts, migration lint, OpenAPI difference, all tests
check: static $(CLIENTS)
	$(BIN)/pytest --cov --cov-report=term:skip-covered --cov-fail-under=90 $(ARGS)

## make static        the same without the tests
static: $(READY) audit
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/percorso db upgrade --sql | $(BIN)/squawk
	$(BIN)/percorso openapi --check openapi/openapi.json

## make audit         ask whether a vulnerability of a dependency is known (ARGS=--required fails where none can say)
audit: $(READY)
	$(BIN)/python tests/audit.py $(BIN)/pip-audit requirements.lock $(filter --required,$(ARGS))

## make bench         measure percorso against the database's own limit (ARGS="--help" says what there is)
bench: $(READY)
	$(BIN)/percorso bench $(ARGS)

## make format        put the code into its form
format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

## make openapi       write openapi/openapi.json anew
openapi: $(READY)
	$(BIN)/percorso openapi --output openapi/openapi.json

## make test-server   run the tests on a server started from the binaries in PGBIN, such as /usr/lib/postgresql/15/bin
test-server: $(READY) $(CLIENTS)
	$(BIN)/python tests/with_server.py "$(PGBIN)" $(BIN)/pytest $(ARGS)

## make lock          pin all dependencies anew, with hashes
lock: $(READY)
	$(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
	  pyproject.toml --extra tracing -o requirements.lock $(ARGS)
	$(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
	  pyproject.toml --extra tracing --group dev -c requirements.lock -o requirements-dev.lock $(ARGS)

## make clean         remove what the other targets made, but for .percorso, which has your data
clean:
	rm -rf $(VENV) .coverage .mypy_cache .ruff_cache .hypothesis .import_linter_cache

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "percorso needs Python 3.11 or newer: make PYTHON=/path/to/python3.11")'
	$(PYTHON) -m venv $(VENV)

$(READY): $(VENV)/bin/python requirements-dev.lock pyproject.toml
	$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps --require-hashes -r requirements-dev.lock
	$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

# Official clients that are written for Node.js, as the tests drive them; Node.js itself comes as a wheel.
$(CLIENTS): $(READY) tests/clients/package.json tests/clients/package-lock.json
	cd tests/clients && PATH="$(abspath $(BIN)):$$PATH" npm ci --silent --ignore-scripts --no-audit --no-fund
	@touch $@
