# What a contributor types. PYTHON is the interpreter of the venv where the package is installed.
PYTHON ?= .venv/bin/python

.PHONY: demo test bench docs lint

demo:
	$(PYTHON) scripts/demo.py

test:
	$(PYTHON) -m pytest

lint:
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m mypy

# the site of the documentation, in site/; needs pip install -e ".[docs]"
docs:
	NO_MKDOCS_2_WARNING=1 $(PYTHON) -m mkdocs build --strict

# PHOTOS: a folder of photos of groups, for the two that look for faces
bench:
	$(PYTHON) benchmarks/bench_models.py
	$(PYTHON) benchmarks/bench_load.py
	$(PYTHON) benchmarks/bench_encoders.py
	$(if $(PHOTOS),$(PYTHON) benchmarks/bench_faces.py --photos $(PHOTOS))
	$(if $(PHOTOS),$(PYTHON) benchmarks/bench_dataset.py --photos $(PHOTOS))
