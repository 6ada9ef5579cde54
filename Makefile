# The only task runner. Every target works from .venv, which holds requirements.lock.
#   make demo    export the shipped network to INT8, verify it, measure it
#   make test    every test, with line coverage;  make test-fast leaves out slow ones
#   make lint    style, types, import contracts;  make lint-files: Dockerfile, workflows
#   make dist    wheel and sdist, the same bytes from the same commit
#   make test-dist       both of them, installed where nothing else is
#   make docs    the documentation as a site;  make figures draws its pictures
#   make image   the images runtime and lean;  make image-test runs them and the tests in one
#   make fuzz    damaged files of every kind, for some minutes
#   make test-clients    MediaPipe and onnxruntime-web (npm) on files that we write
#   make test-android    emulated arm64 phones with a real adbd; LiteRT's arm64 kernels
#   make arm64   the arm64 system that these and `mobileq arm64` need (Debian, Ubuntu)
#   make bench   ratios of speed and quality that have goals, in one table
#   make bench-scripts  every script of benchmarks/;  make lock rewrites the lock

PYTHON ?= python3.11
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
DEMO := runs/demo/pcam-equivariant.mobileq
MEASURED := runs/demo/bench
CLIENTS := .venv-clients
LINTERS := .venv-linters
DOCS := .venv-docs
ARM64 := $(abspath $(or $(MOBILEQ_ARM64_ROOT),runs/arm64))
# Tests of one file share what they export, so a file stays with one process. Each
# process may hold torch and several runtimes: about 2 GB.
WORKERS := -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

.DEFAULT_GOAL := demo
.PHONY: demo test test-fast test-clients test-android test-dist image image-test docs figures arm64 clients fuzz lint lint-files dist format bench bench-scripts lock setup clean

demo: setup
	@mkdir -p $(dir $(DEMO))
	$(BIN)/mobileq export pcam-equivariant --int8 --out $(DEMO) --overwrite
	$(BIN)/mobileq bench $(DEMO) --runtime tflite --out $(MEASURED) --overwrite
	@printf '\nThe files are in %s:\n' $(DEMO) && ls -l $(DEMO)

test: setup
	$(BIN)/python -m pytest --cov $(WORKERS)

test-fast: setup
	$(BIN)/python -m pytest -m "not slow" $(WORKERS)

fuzz: setup
	$(BIN)/python -m pytest --hypothesis-profile=fuzz \
	    tests/graph/test_store_hostile.py::test_any_value_anywhere_is_read_or_refused \
	    tests/test_collapsed.py::test_any_bytes_are_read_or_refused \
	    tests/test_inspection.py::test_damaged_files \
	    tests/test_manifest.py::test_anything_in_any_place_is_read_or_refused

test-clients: setup clients
	MOBILEQ_MEDIAPIPE_PYTHON=$(CLIENTS)/bin/python MOBILEQ_ORT_WEB=$(CLIENTS) \
	    $(BIN)/python -m pytest tests/clients

# Apart from .venv: clients want other releases of numpy and flatbuffers.
clients: $(CLIENTS)/installed

$(CLIENTS)/installed: tests/clients/requirements.txt
	$(PYTHON) -m venv --clear $(CLIENTS)
	$(CLIENTS)/bin/python -m pip --disable-pip-version-check --quiet install -r $<
	npm install --prefix $(CLIENTS) --no-save --no-audit --no-fund --silent \
	    onnxruntime-web@1.30.0
	@touch $@

test-android: setup arm64
	MOBILEQ_ARM64_ROOT="$(ARM64)" $(BIN)/python -m pytest \
	    tests/android/test_phones.py tests/runtimes/test_emulated_arm64.py

arm64: setup
	@mkdir -p "$(ARM64)"
	PYTHON=$(BIN)/python tools/arm64_root.sh --phone "$(ARM64)"

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

lint-files: $(LINTERS)/installed
	$(LINTERS)/bin/hadolint Dockerfile
	$(LINTERS)/bin/actionlint .github/workflows/*.yml

$(LINTERS)/installed: tools/lint_requirements.txt
	$(PYTHON) -m venv --clear $(LINTERS)
	$(LINTERS)/bin/python -m pip --disable-pip-version-check --quiet install -r $<
	@touch $@

# The site; a broken link is an error. Figures are in the repository: `make figures`.
docs: setup $(DOCS)/installed
	MOBILEQ=$(BIN)/mobileq $(DOCS)/bin/mkdocs build --strict --quiet

figures: setup
	$(BIN)/python tools/figures.py

$(DOCS)/installed: tools/docs_requirements.txt
	$(PYTHON) -m venv --clear $(DOCS)
	$(DOCS)/bin/python -m pip --disable-pip-version-check --quiet install -r $<
	@touch $@

# A wheel is a zip file, which has times: those of the commit, where there is one. TAG, if it is given, must
# name the version that is built.
dist: setup
	@if [ -n "$(TAG)" ] && [ "$(TAG)" != "v$$($(BIN)/python -m hatchling version)" ]; then \
	    echo "TAG is $(TAG); wanted v$$($(BIN)/python -m hatchling version)" >&2; exit 2; fi
	rm -rf dist
	SOURCE_DATE_EPOCH=$$(git log -1 --format=%ct || echo 1580601600) \
	    $(BIN)/python -m hatchling build -d dist

# DIST_PYTHON is the Python that wheel and sdist are installed for.
test-dist: dist
	MOBILEQ_DIST=dist MOBILEQ_DIST_PYTHON="$(DIST_PYTHON)" \
	    $(BIN)/python -m pytest tests/dist

# With Docker's engine, or as root with buildah: tools/image.sh.
image:
	tools/image.sh runtime lean

image-test: setup image
	tools/image.sh ci
	MOBILEQ_IMAGES=1 $(BIN)/python -m pytest tests/image

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# BENCH="--data DIR --update" also compares accuracies and writes docs/benchmarks.md.
bench: setup
	$(BIN)/python benchmarks/run_all.py $(BENCH)

bench-scripts: setup
	@set -e; for script in benchmarks/[!_]*.py; do \
	    echo "== $$script"; $(BIN)/python "$$script"; \
	done

# Pins that are in the lock stay; `make lock UPGRADE=1` takes the newest versions.
lock:
	$(PYTHON) tools/make_lock.py $(if $(UPGRADE),--upgrade)

setup: .venv/mobileq-installed

# Each stamp is the last line of its recipe: an interrupted set-up leaves none.
.venv/lock-installed: requirements.lock
	@if [ -L .venv ]; then \
	    echo ".venv is a link; wanted a directory of its own (what it points to would" \
	        "be emptied: remove the link)" >&2; exit 1; fi
	@for python in "$(PYTHON)" python3; do \
	    if "$$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 13))' \
	        2>/dev/null; then exec "$$python" -m venv --clear .venv; fi; \
	done; \
	echo "mobileq needs Python 3.11 or 3.12; set PYTHON=/path/to/python3.11" >&2; exit 1
	@echo "Installing requirements.lock into .venv (a few minutes, once) ..."
# torch goes first and with its dependencies: some of its wheels need CUDA packages,
# others do not; the versions of everything else are held by the lock.
	$(PIP) install --constraint requirements.lock "$$(grep '^torch==' requirements.lock)"
	$(PIP) install --no-deps --requirement requirements.lock
	@touch $@

.venv/mobileq-installed: .venv/lock-installed pyproject.toml
	$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

clean:
	rm -rf .venv $(CLIENTS) $(LINTERS) $(DOCS) dist site runs/demo
