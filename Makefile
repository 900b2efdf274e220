# make run     stream a simulated drive, then a descent (or DATA=folder), through the networks for each
# make test    everything; make check: types, style, layers
# make bench   latency beside other programs, into benchmarks/RESULTS.md
# make hil     the fault catalogue on the test bench, into tests/hil/RESULTS.md
# Each sets up its own virtual environment first, and needs the network only for that.

SUPPORTED := import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python3.10; do \
	$$p -c '$(SUPPORTED)' 2>/dev/null \
	&& { echo $$p; break; }; done)
SOURCE ?= $(if $(DATA),images://$(abspath $(DATA)))
DRIVE := sim://moon?view=rover&seed=7&fps=10&frames=150
DESCENT := sim://moon?view=descent&seed=7&fps=10&frames=100
OUT ?= out/run
ARGS ?=
# A worker for each core, up to four, of which each may take 3 GB.
WORKERS ?= $(shell awk -v cores="$$(nproc)" '/MemAvailable/ { n = int($$2 / 3e6); \
	n = n < cores ? n : cores; n = n < 4 ? n : 4; print (n > 2 ? n : 2) }' /proc/meminfo)

RUNTIME := .venv
DEV := .venv-dev
RELEASE := .venv-release
BENCH := .venv-bench
PEERS := .venv-peers
CPUS ?=
PIP := -m pip --quiet --disable-pip-version-check

.PHONY: run test test-fast check bench bench-gate peers hil fuzz crash soak guides \
	kernels dist matrix bounds arm64 dev clean python

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

# Every command of docs/guides that needs no board; a quarter of an hour.
guides: $(DEV)/.ready
	RILLE_GUIDES=1 $(DEV)/bin/python -m pytest tests/deploy/test_guides.py

# Everything that reads from outside, fed with nonsense, at low priority: about ten minutes.
fuzz: $(DEV)/.ready
	PYTHONPATH=runtime $(DEV)/bin/python -m tests.fuzz --inputs 100000 $(ARGS)

# Every write sequence killed at every system call that can change a file.
crash: $(DEV)/.ready
	RILLE_CRASH_STEP=1 $(DEV)/bin/python -m pytest -rP tests/runtime/test_crash.py

# `rille bench`, other programs beside it, plots and single parts, into benchmarks/RESULTS.md; about
# ten minutes on two idle cores. Other programs take part where `make peers` installed them.
bench: $(BENCH)/.ready
	$(BENCH)/bin/python -m benchmarks $(ARGS)

# MediaPipe alone takes 500 MB, and brings an OpenCV of its own: an environment for it.
peers: $(PEERS)/.ready

# Every scenario of the test bench, in process and over loopback: five minutes. Some need root.
hil: $(DEV)/.ready
	$(DEV)/bin/rille hil catalogue tests/hil/scenarios --jobs 4 \
		--results tests/hil/RESULTS.md $(ARGS)

# Does `rille bench --baseline` catch planted slow-downs, and nothing else? Some minutes.
bench-gate: $(RUNTIME)/.ready
	PYTHONPATH=tests/standins $(RUNTIME)/bin/python tests/runtime/gate_trial.py

# The runtime's compiled part, for every processor, from its sources in C; see release/kernels.py.
kernels: $(DEV)/.ready
	$(DEV)/bin/python -m release.kernels

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

# A day at ten frames a second, with random faults, as fast as it goes: an hour.
soak: $(DEV)/.ready
	PYTHONPATH=runtime $(DEV)/bin/python -m tests.soak --frames 864000 $(ARGS)

# The environment with everything, for development: `. .venv-dev/bin/activate`.
dev: $(DEV)/.ready

clean:
	rm -rf $(RUNTIME) $(DEV) $(RELEASE) $(BENCH) $(PEERS) out dist build .mypy_cache .ruff_cache \
		.pytest_cache .hypothesis .import_linter_cache .benchmarks
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

$(BENCH)/.ready: pyproject.toml | python
	@echo 'setting up $(BENCH): the runtime, and what measures it' >&2
	$(PYTHON) -m venv --clear $(BENCH)
	$(BENCH)/bin/python $(PIP) install --upgrade 'pip>=25.1'
	$(BENCH)/bin/python $(PIP) install --group bench --editable '.[ccsds,onnx,record]'
	@touch $@

$(PEERS)/.ready: pyproject.toml | python
	@echo 'setting up $(PEERS): MediaPipe and ONNX Runtime' >&2
	$(PYTHON) -m venv --clear $(PEERS)
	$(PEERS)/bin/python $(PIP) install --upgrade 'pip>=25.1'
	$(PEERS)/bin/python $(PIP) install --group peers --editable .
	@touch $@
