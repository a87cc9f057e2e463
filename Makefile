# The verbs of the project. CI calls the same ones (.ci/run).
#   make PYTHON=python3.12 …   picks the interpreter that .venv is made with

SHELL := /bin/sh
.DEFAULT_GOAL := help
VENV := .venv
BIN := $(VENV)/bin
PYTHON ?= $(shell for python in python3 python3.11 python3.12 python3.13; do \
	"$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	&& { echo "$$python"; break; }; done)
# Most tests wait for processes and sound, so two share the machine; the tests of a file stay together.
TESTS_AT_ONCE ?= 2
PYTEST := $(BIN)/python -m pytest -n $(TESTS_AT_ONCE) --dist loadfile

.PHONY: help setup demo up check format test test-slow test-postgresql test-all bench debian-packages clean

help: ## Say what there is
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):[^#]*## /  make \1\t/' | expand -t 24

setup: $(VENV)/.developer ## Make .venv with everything that developing needs

demo: $(VENV)/.product ## Ask a question by voice and hear the answer; WAV=my.wav asks your own
	@exec $(BIN)/edgewise demo $(if $(WAV),--wav "$(WAV)") $(if $(OUT),--out "$(OUT)")

up: $(VENV)/.product ## Run the whole system here until Ctrl-C
	@exec $(BIN)/edgewise up

check: $(VENV)/.developer ## Format, lint, types, import contracts
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

format: $(VENV)/.developer ## Put the code into shape
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

test: $(VENV)/.developer debian-packages ## Every test that is not slow
	$(PYTEST) -m "not slow"

test-slow: $(VENV)/.developer debian-packages ## The slow tests alone
	$(PYTEST) -m slow

test-postgresql: $(VENV)/.developer debian-packages ## Whole systems again, on PostgreSQL; what is slow left out
	TEST_DATABASE=postgresql $(PYTEST) -m "not slow" -k "not sqlite" \
		tests/acceptance tests/integration/operate

test-all: $(VENV)/.developer debian-packages ## Every test
	$(PYTEST)

bench: $(VENV)/.developer debian-packages ## Measure; prints a table, writes bench-results.json
	$(BIN)/python -m bench

debian-packages: ## Install what the tests need from Debian, or say what is missing
	@tests/debian-packages.sh

clean: ## Remove .venv, caches and build results
	rm -rf $(VENV) dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -prune -exec rm -rf {} +

# Installing takes minutes, so a stamp says for which pyproject.toml and constraints it was done.
$(BIN)/python:
	@if [ -z "$(PYTHON)" ]; then \
		echo "Python 3.11 or later is needed; name it with make PYTHON=…" >&2; exit 1; fi
	@.ci/make-venv "$(PYTHON)" $(VENV)

$(VENV)/.product: $(BIN)/python pyproject.toml constraints.txt
	@$(BIN)/python .ci/pip_install.py product
	@touch $@

$(VENV)/.developer: $(BIN)/python pyproject.toml constraints.txt
	@$(BIN)/python .ci/pip_install.py developer
	@touch $(VENV)/.product $@
