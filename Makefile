# What is done with this checkout.  Everything here installs what it needs.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PACKAGES := guix_environment guixspawner guix_build_service

.PHONY: lint test unit lock environment

# The development environment, from its lock.
environment: $(VENV)/.installed

$(VENV)/.installed: requirements/development.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --require-hashes --requirement requirements/development.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	touch $@

lint: environment
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/djlint --check --lint share/templates

# Tests that need neither Guix nor a hub: seconds.
unit: environment
	$(BIN)/pytest -m "not guix and not hub and not browser"

test: unit

# Resolve the development environment anew, within the ranges of pyproject.toml.
lock: environment
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	    --custom-compile-command "make lock" --group run pyproject.toml --output-file requirements/run.lock
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	    --custom-compile-command "make lock" --group dev --group docs pyproject.toml \
	    --constraint requirements/run.lock --output-file requirements/development.lock
