# Two virtual environments: today's versions (.venv), and Debian 13's (.venv-debian13) on Python 3.13
# where one is at hand. Each is made anew when pyproject.toml or its constraints change.
PYTHON ?= python3
PYTHON_DEBIAN13 ?= $(shell for p in python3.13 ~/.pyenv/versions/3.13*/bin/python3 $(PYTHON); do \
	$$p -c 'import venv' 2>/dev/null && echo $$p && break; done)
PYTEST = -m pytest -p no:cacheprovider
# Side by side, since most of the time agents and machines wait: several processes, each with an API
# server of its own (pytest-xdist), and by module, whose tests share servers, machines or faults.
# ARGS="-n 0" has one test after the other, which --pdb needs.
SIDE_BY_SIDE = -n auto --maxprocesses 4
BY_MODULE = $(SIDE_BY_SIDE) --dist loadscope
# What has a target of its own.
APART = --ignore=tests/board --ignore=tests/faults --ignore=tests/system --ignore=tests/deb \
	--ignore=tests/node --ignore=tests/nfd

.PHONY: demo deb repo release-check portable test test-newest test-debian13 test-board \
	test-system test-node test-faults test-long fuzz lint cluster bench bench-fleet bench-trials clean

demo: .venv/.run
	.venv/bin/python -m demo

test: test-debian13 test-newest

test-newest: .venv/.test
	.venv/bin/python $(PYTEST) $(BY_MODULE) $(APART) $(ARGS)

test-debian13: .venv-debian13/.test
	.venv-debian13/bin/python $(PYTEST) $(BY_MODULE) $(APART) $(ARGS)

test-board: .venv/.test
	.venv/bin/python $(PYTEST) -rP $(SIDE_BY_SIDE) tests/board $(ARGS)

# Root: containers of two Debian releases, and the packages in them.
test-system: .venv/.test
	.venv/bin/python $(PYTEST) $(BY_MODULE) tests/system tests/deb $(ARGS)

# Root: a kubelet with containerd in a container, and Node Feature Discovery beside an API server;
# the first time builds both, minutes.
test-node: .venv/.test
	.venv/bin/python $(PYTEST) tests/node tests/nfd $(ARGS)

test-faults: .venv/.test
	.venv/bin/python $(PYTEST) -rP $(BY_MODULE) tests/faults $(ARGS)

# The long forms, more than half an hour of them, and docs/faults.md anew.
test-long: .venv/.test
	.venv/bin/python $(PYTEST) -rP tests/faults --steps 1000 --kills 200 \
		--certificate-life 60 --renewals 10 --docs docs/faults.md $(ARGS)

# Some minutes of each reader under atheris; what it finds it leaves as crash-*.
fuzz: .venv/.test
	.venv/bin/python -m pip install -q -c constraints/tools.txt atheris
	for target in toml blob selector kubeconfig; do \
		nice .venv/bin/python -m tests.fuzz $$target -max_total_time=180 -timeout=30 || exit 1; done

lint: .venv/.lint
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/lint-imports
	.venv/bin/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml

cluster: .venv/.test
	.venv/bin/python -m tests.apiserver

# Every flavour of the Debian package, into dist/; ARGS=--twice shows that a second build is the same.
deb: .venv/.run
	.venv/bin/python -m deb $(ARGS)

# dist/repo/, the signed APT repository of what dist/ has; docs/releasing.md names its variables.
repo: .venv/.run
	.venv/bin/python -m deb.archive

# Whether all that names the version names this one: make release-check VERSION=1.2.3
release-check: .venv/.run
	@.venv/bin/python -m deb.release "$(VERSION)"

# Images of the bundled flavour, into dist/, for systems that cannot take a .deb.
portable: .venv/.run
	.venv/bin/python -m deb.portable

# Ten minutes for docs/performance.md and its plots; each part is a module, and can be run alone.
# PEER=/usr/bin/another PEER_ARGS="--root {tree}" has another labeller scan the same trees.
bench: .venv/.bench
	for part in scan start latency memory idle; do .venv/bin/python -m bench.$$part || exit 1; done

# A thousand agents on one server, and each way to carry less by itself: ten minutes each. Root, for a
# network of their own.
bench-fleet: .venv/.bench
	.venv/bin/python -m bench.fleet

bench-trials: .venv/.bench
	.venv/bin/python -m bench.trials

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

.venv/.bench: .venv/.test
	.venv/bin/python -m pip install -q -c $(CONSTRAINTS) -e '.[bench]'
	touch $@

.venv/.lint: .venv/.test
	.venv/bin/python -m pip install -q -c $(CONSTRAINTS) -e '.[lint]'
	touch $@

clean:
	rm -rf .venv .venv-debian13 build dist *.egg-info
