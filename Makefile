# Needs Python 3.11 or later, make and git; everything else is fetched into .venv at first use.
#   make demo ARGS="--json"     make test TESTARGS="-k margin"
.DEFAULT_GOAL := help
.PHONY: help setup demo test check bench clean

BIN := .venv/bin

help: ## Show the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-7s %s\n", $$1, $$2 }' Makefile

setup: .venv/.up-to-date ## Install what uv.lock says into .venv (the other targets do it when needed)

.venv/.up-to-date: uv.lock pyproject.toml .ci/setup
	@.ci/setup

demo: setup ## Run the demonstration, with ARGS
	@$(BIN)/carrydesk demo $(ARGS)

test: setup ## Run the tests, with TESTARGS
	@$(BIN)/pytest -q $(TESTARGS)

check: setup ## Check format, lint, types and import contracts; build, install and run the wheel
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/ruff check --quiet .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache --no-logo
	@.ci/wheel

bench: setup ## Run the benchmarks; results in build/bench.json
	@$(BIN)/python -m benchmarks

clean: ## Remove everything that the other targets made
	@rm -rf .venv .bootstrap build dist .coverage .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
