# Two commands do all the set-up: `make demo` and `make test`.
SHELL = /usr/bin/env bash -o pipefail
.SHELLFLAGS = -ec

PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
LIVES ?= 10000
CORES ?= $(shell nproc)
UV_COMPILE = $(BIN)/uv pip compile --quiet --universal --python-version 3.11 \
	--generate-hashes --no-emit-index-url --no-header
export PYTHONPATH = test

.PHONY: all
all: help

##@ General

.PHONY: help
help: ## Show this help.
	@awk 'BEGIN {FS = ":.*##"; printf "\nUsage:\n  make \033[36m<target>\033[0m\n"} /^[a-zA-Z_0-9-]+:.*?##/ { printf "  \033[36m%-16s\033[0m %s\n", $$1, $$2 } /^##@/ { printf "\n\033[1m%s\033[0m\n", substr($$0, 5) } ' $(MAKEFILE_LIST)

.PHONY: demo
demo: $(VENV)/.ready ## Watch claims live and die on a local control plane (KEEP=1 leaves it up).
	@$(BIN)/python -m demo $(if $(KEEP),--keep)

##@ Development

.PHONY: test
test: test-unit test-e2e ## Run all tests that need neither root nor Docker: both of the following.

.PHONY: test-unit
test-unit: $(VENV)/.ready ## Run the unit tests and some simulated lives (no control plane).
	$(BIN)/python -m pytest test/unit test/sim test/seeded_bugs -n $(CORES) $(PYTEST_ARGS)

.PHONY: simulate
simulate: $(VENV)/.ready ## Simulate LIVES=10000 random lives with faults; prints seed@commit of a bad one.
	SIM_LIVES=$(LIVES) $(BIN)/python -m pytest test/sim/test_lives.py -s --timeout=1200

.PHONY: seeded-bugs
seeded-bugs: $(VENV)/.ready ## Show that each seeded bug is caught, and by what.
	$(BIN)/python -m seeded_bugs

.PHONY: test-e2e
test-e2e: $(VENV)/.ready ## Run the e2e tests on local control planes (they mostly wait, so twice as many as cores).
	@$(BIN)/python -m cluster build
	$(BIN)/python -m pytest test/e2e -n $$((2 * $(CORES))) $(PYTEST_ARGS)

.PHONY: manifests
manifests: $(VENV)/.ready ## Generate the CustomResourceDefinition from the msgspec types.
	$(BIN)/evc crd > config/crd/bases/evc.dev_ephemeralvolumeclaims.yaml

.PHONY: docs
docs: $(VENV)/.ready ## Generate the reference pages in docs/reference from the code.
	$(BIN)/python docs/generate.py

.PHONY: fmt
fmt: $(VENV)/.ready ## Format the code.
	$(BIN)/ruff format src test docs
	$(BIN)/ruff check --fix --quiet src test docs

.PHONY: lint
lint: $(VENV)/.ready ## Check format, style and the layers between the rooms; change nothing.
	$(BIN)/ruff format --check src test docs
	$(BIN)/ruff check src test docs
	$(BIN)/lint-imports --no-logo

.PHONY: vet
vet: $(VENV)/.ready ## Check the types (mypy strict).
	$(BIN)/mypy

.PHONY: pin
pin: $(VENV)/.ready ## Pin the newest dependencies, with hashes.
	$(UV_COMPILE) --upgrade pyproject.toml -o requirements/run.txt
	$(UV_COMPILE) --upgrade pyproject.toml --group dev -o requirements/dev.txt

##@ Build

.PHONY: build
build: $(VENV)/.ready ## Build the wheel and the source distribution into dist/.
	$(BIN)/python -m hatchling build

.PHONY: run
run: $(VENV)/.ready ## Run the operator from here against the cluster in your kubeconfig.
	$(BIN)/evc run

##@ Local control plane

.PHONY: cluster
cluster: $(VENV)/.ready ## Boot a local control plane and print its KUBECONFIG.
	@$(BIN)/python -m cluster up

.PHONY: cluster-down
cluster-down: $(VENV)/.ready ## Stop it and everything it kept.
	@$(BIN)/python -m cluster down

.PHONY: install
install: $(VENV)/.ready ## Install the CustomResourceDefinition into the cluster in your kubeconfig.
	$(BIN)/evc crd | kubectl apply -f -

$(VENV)/.ready: requirements/dev.txt pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) was not found: install Python 3.11 or newer, or say make PYTHON=..."; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "$(PYTHON) is older than 3.11: say make PYTHON=python3.12, for example"; exit 1; }
	@echo "Setting up $(VENV) (once, about half a minute)"
	@$(PYTHON) -m venv $(VENV) || { echo "cannot make a virtual environment: on Debian and Ubuntu, apt-get install python3-venv"; exit 1; }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@
