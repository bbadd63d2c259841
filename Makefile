# One line each; the logic is in dvc.yaml and in the tests.
export DVC_NO_ANALYTICS := 1
export PATH := $(CURDIR)/.venv/bin:$(PATH)
PYTHON ?= $(shell command -v python3.11 || command -v python3)

.PHONY: demo install test test-full lint format bench clean
.DEFAULT_GOAL := demo

.venv/.installed: requirements.lock pyproject.toml
	$(PYTHON) -m venv .venv
	.venv/bin/python -m pip install --disable-pip-version-check --quiet --requirement requirements.lock
	.venv/bin/python -m pip install --disable-pip-version-check --quiet --no-deps --no-build-isolation --editable .
	touch $@

install: .venv/.installed     ## the environment alone: `. .venv/bin/activate` enters it

demo: .venv/.installed        ## the whole pipeline as params.yaml says, then the table and the report
	cgn check
	dvc repro
	cgn results

test: .venv/.installed
	OMP_NUM_THREADS=1 python -m pytest -n 2

test-full: .venv/.installed   ## what trains for minutes and is left out of `make test`
	python -m pytest -m full

lint: .venv/.installed
	ruff check . && ruff format --check . && mypy && lint-imports

format: .venv/.installed
	ruff check --fix . && ruff format .

bench: .venv/.installed       ## speeds, as JSON; after `make demo`, whose checkpoint one of them uses
	set -e; for name in generator_training generation classifier_reading; do python -m benchmarks.$$name; done

clean:
	rm -rf .venv .cgn .mypy_cache .pytest_cache .ruff_cache
