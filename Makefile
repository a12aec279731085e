# Two commands do it all on a fresh machine: `make serve` and `make test`.
PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3)
PORT ?= 8000
MODEL ?= demo
BIN := .venv/bin

# vLLM starts several processes that each import it; without compiled files every start takes half a minute longer.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: setup serve test check format

setup: .venv
	@$(BIN)/python servers/install.py

.venv:
	@$(PYTHON) -m venv .venv

serve: setup
	@$(BIN)/python servers/local.py $(MODEL) --host 127.0.0.1 --port $(PORT) $(ARGS)

test: setup check
	@$(BIN)/python -m pytest $(ARGS)

check: setup
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

format: setup
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .
