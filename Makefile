# What is done with this checkout.  Every target installs what it needs.

BIN := .venv/bin
SUDO := $(if $(filter 0,$(shell id -u)),,sudo -E)
PYTEST := $(BIN)/pytest

.PHONY: run test unit bench lint audit docs lock update-server-layer development clean-state

# A hub on this machine alone, to try it: PORT, STATE and PRIVATE_HOSTS choose where; Ctrl-C ends it.
run:
	@tools/prepare-machine run
	@$(SUDO) $(BIN)/python -m demo

development:
	@tools/prepare-machine development

# Every test, on a real Guix, hub and browser; then on the hub before this one what has to do with the hub.
test: development
	$(SUDO) $(BIN)/python tools/with_guix.py tools/run_tests $(TESTS)

# The tests that need neither Guix nor a hub: seconds.
unit: development
	$(PYTEST) -m "not guix and not hub and not browser" $(TESTS)

# How long starts take and what sessions cost, beside other ways; BENCH names one. A line of JSON for each.
bench: development
	@$(SUDO) $(BIN)/python tools/with_guix.py $(BIN)/python -m bench $(BENCH)

lint: development
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/bandit --quiet --recursive --configfile pyproject.toml guix_environment guixspawner guix_build_service guix_session
	$(BIN)/mypy
	$(BIN)/mypy docs/generate.py tools/with_guix.py tools/update_server_layer.py
	$(BIN)/lint-imports
	$(BIN)/zizmor --offline --no-progress --quiet --persona=pedantic .github
	$(BIN)/djlint --check --lint share/templates
	$(BIN)/python tools/update_server_layer.py --check

# Is something known against a package in the locks?  Fails also where that cannot be known: it asks the Python Package Index.
audit: development
	$(BIN)/python tools/audit.py

docs: development
	$(BIN)/sphinx-build --fail-on-warning --quiet docs docs/_build

# Resolve the development environment anew, within the ranges of pyproject.toml.
COMPILE := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
    --custom-compile-command "make lock" pyproject.toml
lock: development
	$(COMPILE) --group run --output-file requirements/run.lock
	$(COMPILE) --group dev --group docs --constraint requirements/run.lock --output-file requirements/development.lock
	echo 'jupyterhub>=5.5.4,<6' | $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	    --no-emit-index-url --no-deps --custom-compile-command "make lock" - --output-file requirements/hub-5.lock

# Resolve anew which wheels the server layer is made of, and verify each.
update-server-layer: development
	$(BIN)/python tools/update_server_layer.py

# Remove what `make run` made: Guix, database, homes and working copies.
clean-state:
	@test -d $(or $(STATE),.state) || { echo "There is nothing to remove."; exit 0; }
	@printf 'Remove %s with everything that people made in it? [y/N] ' $(or $(STATE),.state); read answer; test "$$answer" = y
	$(SUDO) rm -rf $(or $(STATE),.state)
