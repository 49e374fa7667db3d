# Two virtual environments: today's versions (.venv), and Debian 13's (.venv-debian13) on Python 3.13
# where one is at hand. Each is made anew when pyproject.toml or its constraints change.
PYTHON ?= python3
PYTHON_DEBIAN13 ?= $(shell for p in python3.13 ~/.pyenv/versions/3.13*/bin/python3 $(PYTHON); do \
	$$p -c 'import venv' 2>/dev/null && echo $$p && break; done)
PYTEST = -m pytest -p no:cacheprovider

.PHONY: demo test test-newest test-debian13 test-board lint cluster bench clean

demo: .venv/.run
	.venv/bin/python -m demo

test: test-debian13 test-newest

test-newest: .venv/.test
	.venv/bin/python $(PYTEST) --ignore=tests/board $(ARGS)

test-debian13: .venv-debian13/.test
	.venv-debian13/bin/python $(PYTEST) --ignore=tests/board $(ARGS)

test-board: .venv/.test
	.venv/bin/python $(PYTEST) -rP tests/board $(ARGS)

lint: .venv/.lint
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/lint-imports

cluster: .venv/.test
	.venv/bin/python -m tests.apiserver

bench: .venv/.test
	.venv/bin/python -m bench.scan
	.venv/bin/python -m bench.imports
	.venv/bin/python -m bench.idle

.venv/.run: PYTHON_HERE = $(PYTHON)
.venv-debian13/.run: PYTHON_HERE = $(PYTHON_DEBIAN13)
.venv/%: CONSTRAINTS = constraints/newest.txt
.venv-debian13/%: CONSTRAINTS = constraints/debian13.txt

%/.run: pyproject.toml constraints/newest.txt constraints/debian13.txt constraints/tools.txt
	rm -rf $*
	$(PYTHON_HERE) -m venv $*
	$*/bin/python -m pip install -q -c $(CONSTRAINTS) -e .
	touch $@

%/.test: %/.run
	$*/bin/python -m pip install -q -c $(CONSTRAINTS) -e '.[test]'
	touch $@

.venv/.lint: .venv/.test
	.venv/bin/python -m pip install -q -c $(CONSTRAINTS) -e '.[lint]'
	touch $@

clean:
	rm -rf .venv .venv-debian13 build dist *.egg-info
