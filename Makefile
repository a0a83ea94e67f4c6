# `make run` and `make test` need nothing but Python 3.11 or newer: all else goes into .venv.

PYTHON ?= python3
BIN := .venv/bin

.PHONY: run test bench

# The whole catalogue against the reference adapter. It ends by naming the report.
run: .venv/ready
	$(BIN)/squall run --out runs/$$(date +%Y%m%d-%H%M%S)

test: .venv/ready
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/pytest -n auto

# How fast the proxy is, next to direct loopback, Toxiproxy, HAProxy and mitmproxy, as far as those
# are here: it says how to have the rest. Then what the exchange holds.
bench: .venv/ready
	cd tests && ../$(BIN)/python -m benchmarks --out ../docs/benchmarks.md
	cd tests && ../$(BIN)/python -m benchmarks.exchange --out ../docs/benchmarks-exchange.md

.venv/ready: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@
