# Every target sets up what it needs in .venv.
#   make demo         analyse the trace that is part of the project
#   make test         all tests
#   make lint         style, types, imports and documentation
#   make docs         the documentation, as HTML in build/docs
#   make analyses     run the analyses and write reports/analyses again
#   make calibration  the long calibrations, an hour or more
#   make fuzz         a thousand mutations of every format's files
#   make bench        counting, whole analyses, growth and caches; writes reports/benchmarks (SECTIONS=counting: a part)
#   make bench-parts, make bench-capture   speed of resampling, chains and conversion; cost of recording
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
  command -v $$p >/dev/null 2>&1 && $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test lint docs analyses calibration fuzz bench bench-parts bench-capture clean
.DELETE_ON_ERROR:

demo: $(VENV)/.stamp-core
	$(BIN)/python -m routestat.analyze data/traces/tiny-mixtral --layers 0-31

test: $(VENV)/.stamp-test
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n logical --dist worksteal

# The type checker needs to see what the tests and capture import.
lint: $(VENV)/.stamp-test $(VENV)/.stamp-lint docs
	$(BIN)/ruff check routestat capture analyses docs tests
	$(BIN)/ruff format --check routestat capture analyses docs tests
	$(BIN)/mypy
	$(BIN)/lint-imports

# A missing page, a broken link or a docstring that is no valid numpydoc is an error.
docs: $(VENV)/.stamp-docs
	$(BIN)/python -m sphinx -q -n -W --keep-going docs build/docs

analyses: $(VENV)/.stamp-core
	$(BIN)/python -m analyses.joint_and_conditional
	$(BIN)/python -m analyses.adjacent_layers
	$(BIN)/python -m analyses.deepseek_load
	$(BIN)/python -m analyses.table_against_gate
	$(BIN)/python -m analyses.effect_of_data_set
	$(BIN)/python -m analyses.accuracy_and_recall
	$(BIN)/python -m analyses.adjacent_repeats
	$(BIN)/python -m analyses.cross_layer_tables
	$(BIN)/python -m analyses.lexical_or_topical
	$(BIN)/python -m analyses.worth_prefetching

# The long forms of the calibrations, an hour or more; the tables they print are kept in reports/calibration.
calibration: $(VENV)/.stamp-test
	mkdir -p reports/calibration
	set -e; for name in blocks_size coactivation_size comparison_size few_units_size graph_size horizons_size \
	  independence_size information_coverage level_checks_size module_pairs_size nulls_size order_size \
	  placeholder_rows_size placement_coverage serving_coverage specialisation_size three_layers_size wide_noise \
	  windows_size; do \
	  OMP_NUM_THREADS=1 $(BIN)/python -m pytest -s -m "long or not long" tests/calibration/test_$$name.py \
	  | tee reports/calibration/$$name.txt; done
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m long tests/commands/test_cases.py tests/capture/test_command.py

# A thousand mutations of every format's files; make test runs a few dozen of each example.
fuzz: $(VENV)/.stamp-test
	mkdir -p reports/calibration
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -s -m long tests/traces/importers/fuzz | tee reports/calibration/fuzz.txt

bench: $(VENV)/.stamp-bench
	$(BIN)/python -m tests.benchmarks.run $(SECTIONS)

bench-parts: $(VENV)/.stamp-bench
	$(BIN)/python -m tests.benchmarks.bench_resampling
	$(BIN)/python -m tests.benchmarks.bench_chain
	$(BIN)/python -m tests.benchmarks.bench_tables

bench-capture: $(VENV)/.stamp-test
	$(BIN)/python -m tests.benchmarks.bench_capture

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "error: no Python 3.11 or newer found; install one, or: make PYTHON=/path/to/python" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.stamp-core: $(BIN)/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	$(BIN)/python -m routestat.prepare
	@touch $@

$(VENV)/.stamp-test $(VENV)/.stamp-lint $(VENV)/.stamp-docs $(VENV)/.stamp-bench: $(VENV)/.stamp-%: $(VENV)/.stamp-core
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[$*]"
	@touch $@

clean:
	rm -rf $(VENV) build dist docs/generated
	test ! -d reports || find reports -mindepth 1 -maxdepth 1 ! -name README.md ! -name calibration ! -name analyses ! -name benchmarks -exec rm -rf {} +
