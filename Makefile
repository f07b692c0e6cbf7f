# Each target makes the virtual environment it needs. PYTHON chooses the interpreter: make test PYTHON=python3.12
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
AUDIT ?= .venv-audit
AUDIT_FLAGS ?= --strict

.PHONY: demo test check format docs bench audit clean

demo: $(STAMP)  ## search, scaling grid, family and frontier on embedded images: results/demo/
	$(BIN)/scalesearch run

test: check  ## everything that CI checks
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest

check: $(STAMP)  ## format, lint and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy --strict scalesearch

format: $(STAMP)  ## write the format and the fixes that are safe
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: $(STAMP)  ## the documentation site, in build/docs; a warning is an error, and nothing is fetched
	OMP_NUM_THREADS=1 $(BIN)/sphinx-build -W --keep-going -q -b html docs build/docs
	@echo "build/docs/index.html"

bench: $(STAMP)  ## speed beside peers, as ratios
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/cost_speed.py

audit: $(STAMP) $(AUDIT)/bin/pip-audit  ## known vulnerabilities of all that is installed; asks PyPI
	$(BIN)/python -m pip freeze --exclude-editable > $(AUDIT)/installed.txt
	$(AUDIT)/bin/pip-audit $(AUDIT_FLAGS) --no-deps --disable-pip --requirement $(AUDIT)/installed.txt

$(AUDIT)/bin/pip-audit:
	test -x $(AUDIT)/bin/python || $(PYTHON) -m venv $(AUDIT)
	$(AUDIT)/bin/python -m pip install --quiet pip-audit

clean:
	rm -rf $(VENV) $(AUDIT) results/demo build/docs docs/generated

$(STAMP): pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@
