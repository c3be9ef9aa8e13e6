# Two commands on a machine that has only git, make, Python >= 3.11 and pip:
#   make demo   sets up what predicts, in .demo, and predicts the attributes of a real photograph
#   make test   sets up, lints, checks types and runs the tests of some minutes
# make test-long runs the others: kills at many moments, every combination, all real data. make bench
# takes half an hour and a quiet machine: it writes the tables of docs/speed.md.
# Everything else they install lies in .venv. make minimum runs the tests that need no torch on the oldest
# versions that pyproject.toml admits, which lie in .minimum.

PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

.PHONY: setup test test-long minimum lint demo bench docs wheel clean

setup: $(READY)

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: lint
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --dist loadfile

# SAMPLE=N runs one in N of them, always the same ones.
SAMPLE ?= 1

test-long: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --dist loadfile -m long \
	    --sample $(SAMPLE)

OLDEST := .minimum/bin
OLDEST_TESTS := tests/cli/test_lines.py tests/cli/test_options.py tests/images/test_any_file.py \
    tests/images/test_hostile.py tests/inference/inputs tests/inference/output \
    tests/inference/draw/test_annotate.py tests/inference/ray/test_plan.py tests/io \
    tests/test_attributes.py tests/test_options.py

.minimum/.ready: pyproject.toml
	$(PYTHON) -m venv --clear .minimum
	$(OLDEST)/python -m pip install --quiet uv
	$(OLDEST)/uv pip install --quiet --python $(OLDEST)/python --resolution lowest-direct \
	    --editable '.[parquet,cloud,test]'
	touch $@

minimum: .minimum/.ready
	OMP_NUM_THREADS=1 $(OLDEST)/python -m pytest --numprocesses auto --dist worksteal $(OLDEST_TESTS)

# The core alone, without torch: what a user of `predict` installs.
.demo/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .demo
	.demo/bin/python -m pip install --quiet --constraint constraints.txt --editable .
	touch $@

demo: .demo/.ready
	.demo/bin/celebattr demo

bench: $(READY)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[bench]'
	$(BIN)/python benchmarks/speed.py

docs: $(READY)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[docs]'
	$(BIN)/python docs/build_site.py

wheel: $(READY)
	$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir dist .

clean:
	rm -rf .venv .minimum .demo build dist demo
