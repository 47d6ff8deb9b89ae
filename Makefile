# The two commands of the README: `make demo` and `make test`. Both need Python 3.11 to 3.13 and
# make, and set up .venv from the lock the first time.

PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
PACKAGES := $(VENV)/.packages
STAMP := $(VENV)/.installed
BENCH_VENV := .venv-bench
BENCH_STAMP := $(BENCH_VENV)/.installed
# One process a core, each on a part of the tests: what is expensive they share (tests/made_once.py).
PYTEST = $(RUN) -m pytest --numprocesses logical --maxprocesses 8 --dist worksteal
PIP := -m pip --disable-pip-version-check install -qq --no-deps
PYTHON_IS_FIT = $(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' || \
	{ echo "mri-transfer needs Python 3.11, 3.12 or 3.13, and $(PYTHON) is none of these:" \
	"name one with 'make PYTHON=python3.12 $(MAKECMDGOALS)'" >&2; exit 1; }

.PHONY: demo example check-example schemas docs test test-all checks unit slow bench lock clean

demo: $(STAMP)
	$(RUN) -m pipelines.commands.cli demo --out demo

# The report in reports/ is the demo's. A check compares it with that of a fresh run.
example: demo
	$(RUN) .ci/example.py write demo/run

check-example: demo
	$(RUN) .ci/example.py check demo/run

# The JSON schemas of the documents follow from their models; a test asks whether they are current.
schemas: $(STAMP)
	$(RUN) -m mri_transfer.report.schemas.write

# Tutorials are executed anew; a warning or a cell that fails ends the build.
docs: $(STAMP)
	rm -rf docs/_build/tutorials
	$(RUN) -m sphinx -W --keep-going -q -b html docs docs/_build/html
	@echo "docs/_build/html/index.html"

# Goals named together are made once each: `make test test-all` runs no test twice.
test: checks unit

test-all: test slow

checks: $(STAMP)
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy
	$(VENV)/bin/lint-imports

unit: $(STAMP)
	$(PYTEST) -m "not slow"

# Simulations, kills in every stage, faults of the machine, the browser, real heads.
slow: $(STAMP)
	$(PYTEST) -m slow

# Stamps are written last, so that an interrupted set-up is done again. Only a new lock makes the
# environment anew; a change of pyproject.toml alone takes seconds.
$(PACKAGES): requirements.lock
	@$(PYTHON_IS_FIT)
	@echo "Setting up $(VENV) from requirements.lock: once, some minutes"
	@$(PYTHON) -m venv --clear $(VENV)
	@$(RUN) $(PIP) --require-hashes -r requirements.lock
	@touch $@

$(STAMP): pyproject.toml $(PACKAGES)
	@$(RUN) $(PIP) --no-build-isolation --editable .
	@touch $@

# Keras has an environment of its own: it is only needed here.
$(BENCH_STAMP): benchmarks/requirements.lock
	@$(PYTHON_IS_FIT)
	@echo "Setting up $(BENCH_VENV) from benchmarks/requirements.lock: once, some minutes"
	@$(PYTHON) -m venv --clear $(BENCH_VENV)
	@$(BENCH_VENV)/bin/python $(PIP) --require-hashes -r benchmarks/requirements.lock
	@touch $@

bench: $(STAMP) $(BENCH_STAMP)
	$(RUN) -m benchmarks

LOCK := uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-header

lock:
	$(LOCK) --extra dev --extra docs pyproject.toml -o requirements.lock
	$(LOCK) benchmarks/requirements.in -o benchmarks/requirements.lock
	$(LOCK) --no-annotate -c requirements.lock --extra cluster --extra keras \
		pyproject.toml container/requirements.in -o container/requirements.lock

clean:
	rm -rf $(VENV) $(BENCH_VENV) demo build dist docs/_build \
		.hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
