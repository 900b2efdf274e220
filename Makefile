# make run     stream a simulated drive, then a descent (or DATA=folder), through the networks for each
# make test    everything; make check: types, style, layers
# Both set up their own virtual environment first, and need the network only for that.

SUPPORTED := import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python3.10; do \
	$$p -c '$(SUPPORTED)' 2>/dev/null \
	&& { echo $$p; break; }; done)
SOURCE ?= $(if $(DATA),images://$(abspath $(DATA)))
DRIVE := sim://moon?view=rover&seed=7&fps=10&frames=150
DESCENT := sim://moon?view=descent&seed=7&fps=10&frames=100
OUT ?= out/run
ARGS ?=
WORKERS ?= 2

RUNTIME := .venv
DEV := .venv-dev
RELEASE := .venv-release
CPUS ?=
PIP := -m pip --quiet --disable-pip-version-check

.PHONY: run test test-fast check bench clean python dev dist matrix bounds arm64

run: $(RUNTIME)/.ready
ifneq ($(SOURCE),)
	$(RUNTIME)/bin/rille run --source '$(SOURCE)' --out '$(OUT)' $(ARGS)
else
	$(RUNTIME)/bin/rille run --source '$(DRIVE)' --out '$(OUT)/drive' $(ARGS)
	$(RUNTIME)/bin/rille run --source '$(DESCENT)' --set 'classify.bundle=""' \
		--set segment.bundle=moon-craters --out '$(OUT)/descent' $(ARGS)
endif

test: $(DEV)/.ready
	$(DEV)/bin/python -m pytest -n $(WORKERS) --dist loadfile

test-fast: $(DEV)/.ready
	$(DEV)/bin/python -m pytest -n $(WORKERS) --dist loadfile -m 'not slow'

check: $(DEV)/.ready
	$(DEV)/bin/ruff check .
	$(DEV)/bin/ruff format --check .
	$(DEV)/bin/mypy
	$(DEV)/bin/lint-imports

# Every command of docs/guides that needs no board; up to half an hour.
.PHONY: guides
guides: $(DEV)/.ready
	RILLE_GUIDES=1 $(DEV)/bin/python -m pytest tests/deploy/test_guides.py

bench: $(RUNTIME)/.ready
	$(RUNTIME)/bin/rille bench

# What is released, built and checked, in dist/; see release/README.md.
dist: $(RELEASE)/.ready
	$(RELEASE)/bin/python -m release.dist

# The runtime's tests under Python 3.10 to 3.13, and with the oldest and newest packages allowed.
matrix: $(RELEASE)/.ready
	$(RELEASE)/bin/python -m release.matrix

bounds: $(RELEASE)/.ready
	$(RELEASE)/bin/python -m release.bounds

# On emulated 64-bit ARM processors (CPUS=cortex-a72 for one); see tests/aarch64/README.md.
# 77: it could not be tried here, and said why.
arm64: $(RELEASE)/.ready
	$(RELEASE)/bin/python -m tests.aarch64.prove $(CPUS) || test $$? -eq 77

# The environment with everything, for development: `. .venv-dev/bin/activate`.
dev: $(DEV)/.ready

clean:
	rm -rf $(RUNTIME) $(DEV) $(RELEASE) out dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis \
		.import_linter_cache .benchmarks
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# One line for the two things a fresh machine may lack.
python:
	@test -n '$(PYTHON)' && $(PYTHON) -c '$(SUPPORTED)' 2>/dev/null || { echo 'rille needs Python 3.10 to 3.13: sudo apt install python3 python3-venv (or name one: make run PYTHON=/path/to/python3.12)' >&2; exit 2; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo 'this Python cannot make virtual environments: sudo apt install python3-venv' >&2; exit 2; }

$(RUNTIME)/.ready: pyproject.toml | python
	@echo 'setting up $(RUNTIME): the runtime, without TensorFlow' >&2
	$(PYTHON) -m venv --clear $(RUNTIME)
	$(RUNTIME)/bin/python $(PIP) install --editable .
	@touch $@

$(DEV)/.ready: pyproject.toml | python
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo 'training, export and their tests need Python 3.11 or newer: sudo apt install python3.11 python3.11-venv, or name one: make test PYTHON=/path/to/python3.11' >&2; exit 2; }
	@echo 'setting up $(DEV): everything, with TensorFlow' >&2
	$(PYTHON) -m venv --clear $(DEV)
	$(DEV)/bin/python $(PIP) install --upgrade 'pip>=25.1'
	$(DEV)/bin/python $(PIP) install --group dev --editable '.[train,export]'
	@touch $@

$(RELEASE)/.ready: pyproject.toml | python
	@echo 'setting up $(RELEASE): the tools of a release' >&2
	$(PYTHON) -m venv --clear $(RELEASE)
	$(RELEASE)/bin/python $(PIP) install --upgrade 'pip>=25.1'
	$(RELEASE)/bin/python $(PIP) install --group release
	@touch $@
