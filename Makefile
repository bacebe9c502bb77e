# Strongroom: `make demo` shows it, `make test` proves it. Everything is installed into .venv, nothing outside this folder.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --disable-pip-version-check -qq
# pynetdicom's apps, which know no TLS and would hide DCMTK's programs of the same name in an activated environment
HIDING := echoscp echoscu findscu getscu movescu qrscp storescp storescu

.PHONY: help demo test check lint types floors bench bench-ingest bench-web fuzz lock clean

help:            ## show this list
	@grep -E '^[a-z-]+: *.*##' Makefile | sed -E 's/: *[^#]*## */\t/' | expand -t 16

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit("Strongroom needs Python 3.11 or newer; set PYTHON=python3.11") if sys.version_info < (3, 11) else None'
	@echo "making $(VENV) ..."
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: requirements/dev.lock pyproject.toml | $(BIN)/python
	@echo "installing the pinned, hash-checked dependencies into $(VENV) ..."
	@$(PIP) install --require-hashes -r requirements/dev.lock
	@$(PIP) install --no-build-isolation --no-deps --editable .
	@rm -f $(addprefix $(BIN)/,$(HIDING))
	@touch $@

demo: $(VENV)/.installed  ## the main job on real images, then the stranger's tour (ARGS=--exit ends it by itself)
	@$(BIN)/strongroom demo $(ARGS)

test: $(VENV)/.installed  ## every test; says which system package is missing for the real clients
	@$(BIN)/python tests/preflight.py
	@$(BIN)/python -m pytest -n 2 --dist loadgroup $(ARGS)

check: lint types floors test  ## what must be green before anything lands

lint: $(VENV)/.installed  ## ruff, all rules but the reasoned exceptions
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

types: $(VENV)/.installed  ## mypy, strict
	@$(BIN)/mypy

floors: $(VENV)/.installed  ## the import rules of the house
	@$(BIN)/lint-imports

bench: bench-ingest bench-web  ## speed beside DCMTK and Orthanc in the same run (installs nothing; says what is missing)

bench-ingest: $(VENV)/.installed  ## C-STORE alone (ARGS="--runs 5 --json FILE")
	@$(BIN)/python tests/benchmarks/ingest.py $(ARGS)

bench-web: $(VENV)/.installed  ## DICOMweb alone (ARGS="--only metadata")
	@$(BIN)/python tests/benchmarks/web.py $(ARGS)

fuzz: $(VENV)/.installed  ## hostile bytes for every reader, 60 s each (the long form: ARGS="--seconds 3000 --runs 1000000")
	@$(BIN)/python tests/fuzz/run.py $(ARGS)

lock:            ## renew the lock files (needs uv)
	@cd requirements && for f in run dev; do uv pip compile --quiet --upgrade --generate-hashes --no-header --no-emit-index-url \
	  --no-emit-find-links --python-version 3.11 --universal $$f.in -o $$f.lock; done

clean:           ## remove what the other targets made
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache bench-data
