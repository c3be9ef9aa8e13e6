# Two commands on a machine that has only git, make, Python >= 3.11 and pip:
#   make demo   sets up and predicts the attributes of a real photograph
#   make test   sets up, lints, checks types and runs every test
# and one that takes half an hour and a quiet machine: make bench writes the tables of docs/speed.md.
# Everything they install lies in .venv.

PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

.PHONY: setup test lint demo bench wheel clean

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

demo: $(READY)
	mkdir -p demo
	$(BIN)/python -c "from PIL import Image; from skimage.data import astronaut; \
	    Image.fromarray(astronaut()).save('demo/astronaut.png')"
	$(BIN)/celebattr predict demo/astronaut.png --format table --annotate demo/annotated
	@echo "The annotated picture is in demo/annotated."

bench: $(READY)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[bench]'
	$(BIN)/python benchmarks/speed.py

wheel: $(READY)
	$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir dist .

clean:
	rm -rf .venv build dist demo
