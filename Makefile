# Every target but help and clean sets up .venv first, where it is missing or older than pyproject.toml or
# constraints.txt.
#
#   TORCH_INDEX   where torch comes from, if not from pip's own index. On Linux that index gives a CUDA build of
#                 several GB; the CPU build is at https://download.pytorch.org/whl/cpu
#   WORKERS       how many processes `make test` has
#   MINUTES       how long `make torture` goes on
#   AGENTPRM_HOME where everything that is made is kept (default: ~/.agentprm, as without make)

PYTHON ?= python3.11
TORCH ?= torch==2.13.0
TORCH_INDEX ?=
WORKERS ?= 2
MINUTES ?= 20

BIN := .venv/bin
READY := .venv/.ready

.DEFAULT_GOAL := help
.PHONY: help quickstart ui test torture lint types bench docs clean

help:
	@echo "make quickstart   two iterations of AgentPRM on generated games, then the table (CPU)"
	@echo "make ui           Dagster and MLflow in the browser"
	@echo "make test         all tests"
	@echo "make torture      kills, odd servers and disks, random histories, bad inputs: MINUTES=20, or a night"
	@echo "make lint types   ruff; mypy over the built wheel"
	@echo "make bench        every stage against its baseline; the tables of docs/performance.md"
	@echo "make docs         the site of docs/, in build/site"

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) --version >/dev/null 2>&1 || { echo "$(PYTHON) not found: install Python 3.11, or name it: make PYTHON=..." >&2; exit 1; }
	[ -x $(BIN)/python ] || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) "$(TORCH)"
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev]"
	@touch $@

quickstart: $(READY)
	$(BIN)/agentprm run quickstart

ui: $(READY)
	$(BIN)/agentprm ui

test: $(READY)
	$(BIN)/python -m pytest --numprocesses $(WORKERS) --dist loadfile --no-loadscope-reorder

torture: $(READY)
	$(BIN)/python tests/torture.py --minutes $(MINUTES)

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY)
	rm -rf build
	$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir build/wheel .
	$(BIN)/python -m zipfile -e build/wheel/*.whl build/wheel/unpacked
	cd build/wheel/unpacked && $(CURDIR)/$(BIN)/mypy --config-file $(CURDIR)/pyproject.toml --package agentprm_dagster

bench: $(READY)
	$(BIN)/python -m benchmarks

docs: $(READY)
	$(BIN)/python -m pip install --quiet --editable ".[docs]"
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

clean:
	rm -rf build *.egg-info .mypy_cache .pytest_cache .ruff_cache
