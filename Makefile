# Everything runs in .venv, made from requirements.lock. PYTHON picks the interpreter.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/installed
WITH_TORCH := $(VENV)/with_torch
# Processes that share the tests: most of the time goes to XLA, which compiles on one core.
WORKERS ?= 2
# Arguments for pytest, e.g. make test PYTEST_ARGS="-k golden --golden-dir=DIR".
PYTEST_ARGS ?=

.PHONY: demo test test-all lint docs notebooks lock clean

demo: $(INSTALLED)
	@echo "demo: trains on a synthetic data set and scores, into runs/demo: about 3 minutes on two cores"
	$(BIN)/python train.py --config=configs/demo.py --workdir=runs/demo
	$(BIN)/python eval.py --checkpoint=runs/demo

test: lint $(WITH_TORCH)
	$(BIN)/python -m pytest -n $(WORKERS) --dist=worksteal -m "not slow" $(PYTEST_ARGS)

test-all: lint $(WITH_TORCH)
	$(BIN)/python -m pytest -n $(WORKERS) --dist=worksteal $(PYTEST_ARGS)

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The manual, in docs/_build/html; it needs no network, and a warning fails it.
docs: $(INSTALLED)
	$(BIN)/python -m sphinx -W --keep-going -q -j auto docs docs/_build/html
	@echo "the manual: docs/_build/html/index.html"

# Executes the notebooks in kernels of their own: it trains the demo, about 3 minutes.
notebooks: $(INSTALLED)
	$(BIN)/python -m pytest tests/test_notebooks.py $(PYTEST_ARGS)

# The stamp comes last, so that an installation cut short is made again.
$(INSTALLED): requirements.lock setup.cfg setup.py pyproject.toml
	@echo "installing into $(VENV) what requirements.lock lists (JAX, TensorFlow, MNE, ...; 3 GB): about 3 minutes"
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(None if (3, 11) <= v <= (3, 13) else f"expected Python 3.11-3.13, found {v[0]}.{v[1]}: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $(INSTALLED)

# Tests compare with PyTorch. On Linux pip may bring its CUDA build, gigabytes of it: see
# the README for the CPU build.
$(WITH_TORCH): $(INSTALLED) requirements-torch.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-torch.lock
	touch $(WITH_TORCH)

# One set of versions for Python 3.11-3.13 on any system: the newest that all of them have.
lock: $(INSTALLED)
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile --universal --python-version 3.11 --fork-strategy fewest --extra dev --no-header --upgrade setup.cfg --output-file requirements.lock

clean:
	rm -rf $(VENV)
