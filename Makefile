# The commands of this project. `make` alone lists them.

PYTHON ?= python3
VENV   ?= .venv
HOST   ?= 127.0.0.1
PORT   ?= 8000
DATA   ?= ./data
# Tests run in so many processes, each file in one of them.
JOBS   ?= 2
# A wheel index for torch besides PyPI, e.g. the CPU-only one that pytorch.org names: smaller by gigabytes.
TORCH_INDEX ?=
IMAGE  ?= gpt2svc
# What `make bench` measures; all of it where this is empty (bench/run.py has the names).
PARTS  ?=
BASE   ?= python:3.11-slim-bookworm

comma := ,
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet --constraint constraints.txt \
       $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX))
CHECKED := src tests alembic bench scripts
TYPESCRIPT := 5.9.3
# Sources that an installation compiles, where it finds a C compiler.
KERNELS := hatch_build.py $(wildcard src/gpt2svc/models/native/build.py src/gpt2svc/models/native/csrc/*)

.DEFAULT_GOAL := help
.PHONY: help serve test lint lint-web bench bench-train starter screenshots image clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s  %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo
	@echo "  Variables: PYTHON=$(PYTHON) HOST=$(HOST) PORT=$(PORT) DATA=$(DATA) TORCH_INDEX=$(TORCH_INDEX)"

serve: $(VENV)/.installed ## Install what is needed and run the service with the bundled model
	$(BIN)/gpt2svc serve --host $(HOST) --port $(PORT) --data-dir $(DATA)

test: $(VENV)/.installed-dev ## Install what the tests need and run all of them
	@sh scripts/install-chromium
	@# Threads that wait without spinning, as the service's do: on shared cores some tests took thirty times as long.
	OMP_WAIT_POLICY=PASSIVE $(BIN)/python -m pytest -q -n $(JOBS) --dist loadfile --no-loadscope-reorder

lint: $(VENV)/.installed-dev ## Formatting, style, types (mypy strict) and the import rules between layers
	$(BIN)/ruff format --check $(CHECKED)
	$(BIN)/ruff check $(CHECKED)
	$(BIN)/mypy
	$(BIN)/lint-imports
	@$(MAKE) --no-print-directory lint-web

# The types of the page's scripts. TypeScript comes from npm, and is used for this only.
lint-web:
	@if command -v npx >/dev/null; \
	then npx --yes --package typescript@$(TYPESCRIPT) tsc --project tests/web/tsconfig.json; \
	else echo "npm was not found: the types of the page's scripts are NOT checked."; fi

bench: $(VENV)/.installed-bench ## Measure start-up, streams, other engines beside ours, database; results in bench-results/
	$(BIN)/python -m bench.run $(PARTS)

bench-train: $(VENV)/.installed-dev ## Training speed beside that of a bare transformers Trainer
	$(BIN)/python -m bench.training

starter: $(VENV)/.installed-dev ## Train the bundled model again: make starter CORPUS=folder
	@test -n "$(CORPUS)" || { echo "Say where the corpus is: make starter CORPUS=folder"; exit 2; }
	$(BIN)/gpt2svc train --config starter --corpus $(CORPUS) --output-dir build/starter-base
	$(BIN)/gpt2svc train --config starter_finish --corpus $(CORPUS) --model build/starter-base/best_model --output-dir build/starter

screenshots: $(VENV)/.installed-dev ## Take the pictures of the page in docs/images again
	@sh scripts/install-chromium
	$(BIN)/python -m scripts.screenshots

image: ## Build the Docker image (BASE=another Python base, TORCH_INDEX=, PIP_CONF=a pip.conf to lend)
	DOCKER_BUILDKIT=1 docker build --tag $(IMAGE) --build-arg BASE=$(BASE) --build-arg TORCH_INDEX=$(TORCH_INDEX) \
	  $(if $(PIP_CONF),--secret id=pip_conf$(comma)src=$(PIP_CONF)) .

clean: ## Remove the virtual environment, caches and build results; your data stays
	rm -rf $(VENV) build dist bench-results .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find src tests alembic bench scripts -name __pycache__ -type d -prune -exec rm -rf {} +

# A stamp file says what was installed last: nothing is done again until the list of dependencies changes.
$(VENV)/.installed: pyproject.toml constraints.txt $(KERNELS) | $(BIN)/python
	$(PIP) --editable .
	@touch $@

$(VENV)/.installed-dev: pyproject.toml constraints.txt $(KERNELS) | $(BIN)/python
	$(PIP) --editable '.[dev]'
	@touch $(VENV)/.installed $@

$(VENV)/.installed-bench: $(VENV)/.installed-dev
	$(PIP) --editable '.[dev,bench]'
	@touch $@

$(BIN)/python:
	@command -v $(PYTHON) >/dev/null || \
	  { echo "$(PYTHON) was not found. Install Python 3.11 or newer, or name yours: make PYTHON=/path/to/python"; exit 2; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "$(PYTHON) is `$(PYTHON) -V 2>&1`: gpt2svc needs 3.11 or newer. Name another: make PYTHON=python3.12"; exit 2; }
	@$(PYTHON) -m venv $(VENV) || \
	  { rm -rf $(VENV); echo "No virtual environment could be made in $(VENV) (Debian, Ubuntu: apt install python3-venv)."; exit 2; }
