# The two commands of the README: `make demo` and `make test`. Both need Python 3.11 to 3.13 and
# make, and set up .venv from the lock the first time.

PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
STAMP := $(VENV)/.installed
BENCH_VENV := .venv-bench
BENCH_STAMP := $(BENCH_VENV)/.installed

.PHONY: demo test checks unit bench lock clean

demo: $(STAMP)
	$(RUN) -m pipelines.cli demo --out demo

test: $(STAMP) checks unit

checks: $(STAMP)
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy
	$(VENV)/bin/lint-imports

unit: $(STAMP)
	$(RUN) -m pytest

# The stamp is written last, so that an interrupted set-up is done again.
$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' || \
		{ echo "mri-transfer needs Python 3.11 to 3.13; name one with make PYTHON=..."; exit 1; }
	$(PYTHON) -m venv --clear $(VENV)
	$(RUN) -m pip install --quiet --require-hashes --no-deps -r requirements.lock
	$(RUN) -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

bench: $(STAMP) $(BENCH_STAMP)
	$(RUN) -m benchmarks

$(BENCH_STAMP): benchmarks/requirements.lock
	$(PYTHON) -m venv --clear $(BENCH_VENV)
	$(BENCH_VENV)/bin/python -m pip install --quiet --require-hashes --no-deps -r $<
	@touch $@

lock:
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
		--no-emit-index-url --no-header --extra dev pyproject.toml -o requirements.lock
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
		--no-emit-index-url --no-header benchmarks/requirements.in -o benchmarks/requirements.lock

clean:
	rm -rf $(VENV) $(BENCH_VENV) demo build dist .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
