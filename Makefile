# Every target but help, lock and clean sets up .venv first, where it is missing or older than pyproject.toml or
# requirements.lock, which holds the versions that everything is tested with.
#
#   TORCH_INDEX   where torch comes from, if not from pip's own index. On Linux that index gives a CUDA build of
#                 several GB; the CPU build is at https://download.pytorch.org/whl/cpu
#   UPGRADE       what `make lock` moves to its newest version: --upgrade, or "--upgrade-package dagster". Without it,
#                 only what pyproject.toml asks for
#   WORKERS       how many processes `make test` has
#   MINUTES       how long `make torture` goes on
#   AGENTPRM_HOME where everything that is made is kept (default: ~/.agentprm, as without make)

PYTHON ?= python3.11
TORCH ?= $(shell grep '^torch==' requirements.lock)
TORCH_INDEX ?=
UPGRADE ?=
WORKERS ?= 2
MINUTES ?= 20

BIN := .venv/bin
READY := .venv/.ready
PARALLEL = --numprocesses $(WORKERS) --dist loadfile --no-loadscope-reorder
MYPY := $(CURDIR)/$(BIN)/mypy --config-file $(CURDIR)/pyproject.toml
# A None in a test fails it at once, so that the tests need not say that there is none.
TESTED := --explicit-package-bases --no-strict-optional --no-warn-unreachable --no-warn-unused-ignores

.DEFAULT_GOAL := help
.PHONY: help quickstart ui test slow coverage vllm ray servers test-ui torture lint types bench memory docs lock clean

help:
	@echo "make quickstart   two iterations of AgentPRM on generated games, then the table (CPU)"
	@echo "make ui           Dagster and MLflow in the browser"
	@echo "make test         the tests"
	@echo "make slow         long tests: variants of the loop, random histories, training in several processes"
	@echo "make coverage     the tests once more, and the lines that none of them reaches: build/coverage"
	@echo "make vllm         the tests that start the real vLLM, which AGENTPRM_VLLM names"
	@echo "make ray          the tests that start a Ray cluster of two nodes"
	@echo "make servers      the tests that start PostgreSQL, an object store, MLflow, Dagster's services, OpenEnv"
	@echo "make test-ui      the tests in a browser, with Chromium; screenshots in build/screenshots"
	@echo "make torture      kills, odd servers and disks, random histories, bad inputs: MINUTES=20, or a night"
	@echo "make lint types   ruff; mypy over the built wheel and the tests"
	@echo "make bench        every stage against its baseline; the tables of docs/performance.md"
	@echo "make memory       what \`agentprm plan\` says of 3 billion weights beside torch's fake tensors: ten minutes"
	@echo "make docs         the site of docs/, in build/site"
	@echo "make lock         requirements.lock from pyproject.toml, after its dependencies were changed"

$(READY): pyproject.toml requirements.lock
	@$(PYTHON) --version >/dev/null 2>&1 || { echo "$(PYTHON) not found: install Python 3.11, or name it: make PYTHON=..." >&2; exit 1; }
	[ -x $(BIN)/python ] || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) "$(TORCH)"
	$(BIN)/python -m pip install --quiet --constraint requirements.lock --editable ".[dev]"
	@touch $@

quickstart: $(READY)
	$(BIN)/agentprm run quickstart

ui: $(READY)
	$(BIN)/agentprm ui

test: $(READY)
	$(BIN)/python -m pytest $(PARALLEL)

coverage: $(READY)
	$(BIN)/python -m pytest $(PARALLEL) --cov --cov-report term --cov-report html:build/coverage

slow: $(READY)
	$(BIN)/python -m pytest -m slow $(PARALLEL)

ray: $(READY)
	$(BIN)/python -m pip install --quiet --constraint requirements.lock --editable ".[ray]"
	$(BIN)/python -m pytest -m ray tests/launch/on_ray tests/engine/vllm

servers: $(READY)
	$(BIN)/python -m pip install --quiet --constraint requirements.lock --editable ".[openenv,postgres,s3,login,servers]"
	$(BIN)/python -m pytest -m servers tests/deploy tests/envs/openenv

test-ui: $(READY)
	$(BIN)/python -m pip install --quiet --constraint requirements.lock --editable ".[browser]"
	$(BIN)/python -m pytest -m browser tests/e2e/test_browser.py

vllm: $(READY)
	$(BIN)/python -m pytest -m vllm tests/engine/vllm

torture: $(READY)
	$(BIN)/python tests/torture.py --minutes $(MINUTES)

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY)
	rm -rf build
	$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir build/wheel .
	$(BIN)/python -m zipfile -e build/wheel/*.whl build/wheel/unpacked
	cd build/wheel/unpacked && $(MYPY) --package agentprm_dagster
	cd build/wheel/unpacked && MYPYPATH=.:$(CURDIR)/tests:$(CURDIR) $(MYPY) $(TESTED) $(CURDIR)/tests

bench: $(READY)
	$(BIN)/python -m benchmarks

memory: $(READY)
	cd tests && $(CURDIR)/$(BIN)/python -m planning.large

docs: $(READY)
	$(BIN)/python -m pip install --quiet --constraint requirements.lock --editable ".[docs]"
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

# The lock is read as constraints: it says which version of a package is installed, not which packages are. So the
# CPU build of torch stays, and brings none of the CUDA packages that are listed for the other.
lock:
	$(PYTHON) -m venv build/lock
	build/lock/bin/python -m pip install --quiet uv
	build/lock/bin/uv pip compile --quiet --universal --all-extras --no-annotate $(UPGRADE) \
	    --custom-compile-command "make lock" --output-file requirements.lock pyproject.toml

clean:
	rm -rf build *.egg-info .mypy_cache .pytest_cache .ruff_cache
