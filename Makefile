# Everything a contributor runs. `make` alone prints this list.
# A machine needs make and any Python from 3.11 on; the rest goes into .venv.
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
SHELL := /bin/sh

VENV ?= .venv
# Arguments for the command behind a target: make demo ARGS=--once, make lock ARGS=--upgrade.
ARGS ?=

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check --no-input
# Wheels only: what building an sdist needs would be neither pinned nor hashed.
LOCKED := install --require-hashes --only-binary :all:
# Where the bench keeps what it compares with.
BENCH := build/bench/venv
# pip-audit, in an environment of its own: nothing else depends on what it needs.
AUDIT := build/audit
# No index, no file of this machine's and no time of day goes into a lock file.
COMPILE := $(BIN)/uv pip compile --no-config --quiet --universal --python-version 3.11 \
	--generate-hashes --annotation-style line --no-strip-extras --custom-compile-command 'make lock' $(ARGS)

# tests/conftest.py says how many processes, and which tests start first.
TESTS := $(BIN)/python -m pytest -n auto

.PHONY: coverage pure errors generate compiled help demo test test-all test-compiled test-future unit lint format manual settings status-page pictures lock audit sbom soak observe fuzz limits institutions build release-check \
	image footprint charts bench cost fleet clean

help:  ## Print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(VENV)/.run  ## Show the proxy at work (ARGS=--once: and stop)
	@$(BIN)/candescent-proxy demo $(ARGS)

test: lint pure unit  ## Lint, run every test, ask full coverage of the pure modules

unit: $(VENV)/.dev  ## Every test
	$(BIN)/python tools/check_parsers.py
	$(TESTS) $(ARGS)

pure: $(VENV)/.dev  ## Ask every line and branch of the pure modules of their own tests
	@mkdir -p build
	$(TESTS) --quiet --hypothesis-profile=few --cov --cov-report=json $$($(BIN)/python -m tools.pure_coverage)
	$(BIN)/python -m tools.pure_coverage build/coverage.json

coverage: $(VENV)/.dev  ## Every test, and the coverage of every module (takes twice as long)
	@mkdir -p build
	$(TESTS) --cov --cov-report=term $(ARGS)

test-all: lint  ## The tests on Python 3.11 to 3.14; a missing one comes from Debian
	@without=; \
	for version in 3.11 3.12 3.13 3.14; do \
		python=$$(tools/pythons | sed -n "s/^$$version //p"); \
		[ -n "$$python" ] || python=$$(tools/python-from-debian $$version) || { \
			without="$$without $$version"; continue; }; \
		echo "== Python $$version"; \
		$(MAKE) --no-print-directory unit VENV=.venv-$$version PYTHON=$$python || exit 1; \
	done; \
	[ -z "$$without" ] || echo "Not tested on Python$$without: see above." >&2

test-future: $(VENV)/.dev  ## The tests and the demo with the clock a year and five years ahead (faketime)
	@for years in 1 5; do \
		echo "== The clock $$years years ahead"; \
		tools/ahead +$${years}y $(TESTS) -m 'not machine_clock' $(ARGS) || exit 1; \
		tools/ahead +$${years}y $(BIN)/candescent-proxy demo --once || exit 1; \
	done

lint: $(VENV)/.dev  ## ruff, mypy, and the contracts on imports
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/lint-imports --no-cache --no-logo
	$(BIN)/mypy

format: $(VENV)/.dev  ## Let ruff lay out the code and mend what it can
	$(BIN)/ruff check --fix-only
	$(BIN)/ruff format

manual: $(VENV)/.dev  ## Bring the manual page up to date
	$(BIN)/python -m tools.manual --write

status-page: $(VENV)/.dev  ## Bring the schema of /api/status in docs/ up to date
	$(BIN)/python -m tools.status_schema --write

pictures: $(VENV)/.dev  ## Take the pictures of the status page (a quarter of an hour; ARGS='--minutes 1')
	$(BIN)/python -m tests.admin.pictures $(ARGS)

settings: $(VENV)/.dev  ## Bring the table of settings in docs/configuration.md up to date
	$(BIN)/python -m tools.settings_table --write

errors: $(VENV)/.dev  ## Bring the errors in docs/troubleshooting.md up to date
	$(BIN)/python -m tools.errors_page --write

generate: settings manual status-page errors charts  ## Bring every generated page and the dashboard up to date

lock: $(VENV)/.dev  ## Pin the dependencies anew (ARGS=--upgrade: to their newest)
	$(COMPILE) -o requirements/pip.txt --group pip
	$(COMPILE) -o requirements/oldest-pip.txt --group oldest-pip
	$(COMPILE) -o requirements/run.txt pyproject.toml
	$(COMPILE) -o requirements/build.txt -c requirements/run.txt --group build
	$(COMPILE) -o requirements/compile.txt -c requirements/run.txt --group compile
	$(COMPILE) -o requirements/otel.txt -c requirements/run.txt --extra otel pyproject.toml
	$(COMPILE) -o requirements/dev.txt -c requirements/run.txt -c requirements/otel.txt \
		-c requirements/compile.txt pyproject.toml --extra otel --group dev
	$(COMPILE) -o requirements/release.txt -c requirements/dev.txt --group release
	$(COMPILE) -o requirements/bench.txt -c requirements/dev.txt --group bench
	$(COMPILE) -o requirements/audit.txt -c requirements/dev.txt --group audit

audit: $(AUDIT)/.done  ## Look for known weaknesses in what we depend on (needs a network)
	@tools/audit $(AUDIT)/bin/pip-audit requirements/run.txt

soak: $(VENV)/.dev  ## Minutes of load with faults; checks the promises (ARGS=--minutes 10)
	@$(BIN)/python -m tests.soak $(ARGS)

observe: $(VENV)/.dev  ## Proxies in trouble under a real Prometheus (ARGS=--once; --pictures draws them)
	@$(BIN)/python -m tests.observability $(ARGS)

limits: $(VENV)/.dev  ## Attack a proxy under the sidecar chart's memory limit (ARGS='--only heads')
	@$(BIN)/python -m tests.limits $(ARGS)

fuzz: $(VENV)/.dev  ## Throw nonsense at parsers, headers, routing and error reader (ARGS=--minutes 5; --differential 200)
	@$(BIN)/python -m tests.fuzz $(ARGS)

sbom: $(VENV)/.dev  ## Write the bill of materials, CycloneDX, to dist/candescent-proxy.cdx.json
	@mkdir -p dist
	@$(BIN)/python -W ignore $(BIN)/cyclonedx-py requirements requirements/run.txt \
		--pyproject pyproject.toml --short-PURLs --output-reproducible -o dist/candescent-proxy.cdx.json

institutions: $(VENV)/.dev  ## Measure what a thousand institutions cost
	@$(BIN)/python -m tools.many_institutions $(ARGS)

fleet: $(VENV)/.dev  ## Measure what fleets of proxies ask of the bank (ARGS=--write: into its README)
	@$(BIN)/python -m bench.fleet $(ARGS)

compiled: build/compiled/.done  ## Build the compiled wheel, and .venv-compiled that runs it

build/compiled/.done: $(VENV)/.dev pyproject.toml tools/build_hook.py $(shell find proxy -name '*.py')
	@rm -rf build/compiled && mkdir -p build/compiled
	@PROXY_BUILD=compiled $(PIP) wheel --no-deps --no-build-isolation --wheel-dir build/compiled .
	@test -x .venv-compiled/bin/python || $(BIN)/python -m venv --without-pip .venv-compiled
	@$(PIP) --python .venv-compiled $(LOCKED) -r requirements/run.txt
	@$(PIP) --python .venv-compiled install --no-deps --force-reinstall build/compiled/*.whl
	@touch $@

test-compiled: compiled  ## The tests of the compiled modules, on those
	@rm -rf build/compiled/tree
	@$(BIN)/python -m zipfile -e build/compiled/*.whl build/compiled/tree
	@cp -r tests tools bench docs helm deploy requirements Makefile pyproject.toml README.md build/compiled/tree
	cd build/compiled/tree && PYTHONPATH='$(CURDIR)/build/compiled/tree' '$(abspath $(BIN))/python' \
		-m pytest -n auto $(ARGS) tests/forwarding tests/fuzz tests/hazards tests/http1 \
		tests/server tests/tokens/test_cache.py tests/tokens/test_token.py tests/upstream

build: $(VENV)/.dev sbom  ## Build the wheel, the source distribution and their SBOM into dist/
	PROXY_BUILD=pure $(BIN)/uv build --quiet --no-build-isolation --python $(BIN)/python

release-check: $(VENV)/.dev  ## Run what a release needs and this machine can do (a quarter of an hour)
	@$(BIN)/python -m tools.release_check $(ARGS)

image: $(VENV)/.run  ## Build the container image with docker or podman (ARGS: more for its build)
	@tools/image $$($(BIN)/candescent-proxy --version | cut -d' ' -f2) $(ARGS)

footprint: $(VENV)/.dev  ## Measure the image, and what a container of it takes (podman, root)
	@$(BIN)/python -m tools.footprint $(ARGS)

bench: $(VENV)/.run $(BENCH)/.done  ## Measure it beside Envoy, nginx and others (ARGS=--quick: roughly)
	@$(BIN)/python -m bench $(ARGS)

cost: $(VENV)/.run  ## Count the calls and memory blocks of a request (ARGS=--list: name them)
	@$(BIN)/python -m bench.budget $(ARGS)

charts: $(VENV)/.dev  ## Bring the dashboard, and what the charts are made of, up to date
	@$(BIN)/python -m tools.charts --write

clean:  ## Remove all that the above has made, the virtual environments too
	rm -rf .venv .venv-3.* .venv-compiled build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find proxy tests tools bench -name __pycache__ -type d -prune -exec rm -rf {} +

# The environment. A stamp says which lock file an environment holds, so a second run costs nothing.
# To run and to demonstrate, the program's own dependencies are enough. The pip that Python brings
# installs the pinned pip, which installs everything else: old ones read lock files differently.

$(BIN)/python:
	@python='$(PYTHON)'; \
	if [ -z "$$python" ]; then python=$$(tools/pythons | sed -n '1s/^[^ ]* //p'); fi; \
	if [ -z "$$python" ]; then \
		echo "candescent-proxy needs Python 3.11 or later and found none: install one," \
			"or name it: make $(MAKECMDGOALS) PYTHON=/path/to/python3" >&2; exit 1; \
	fi; \
	echo "Setting up $(VENV) with $$python (only this once)"; \
	"$$python" -m venv --clear '$(VENV)' || { rm -rf '$(VENV)'; \
		echo "No virtual environment could be made; on Debian and Ubuntu: apt-get install python3-venv" >&2; \
		exit 1; }

$(VENV)/.run: requirements/pip.txt requirements/run.txt requirements/build.txt pyproject.toml | $(BIN)/python
	@$(PIP) $(LOCKED) -r requirements/pip.txt
	@$(PIP) $(LOCKED) -r requirements/run.txt -r requirements/build.txt
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.dev: requirements/dev.txt $(VENV)/.run
	@$(PIP) $(LOCKED) -r requirements/dev.txt
	@touch $@

$(BENCH)/.done: requirements/bench.txt | $(VENV)/.run
	@$(BIN)/python -m venv --clear --without-pip $(BENCH)
	@$(PIP) --python $(BENCH) $(LOCKED) -r requirements/bench.txt
	@touch $@

$(AUDIT)/.done: requirements/audit.txt | $(VENV)/.run
	@$(BIN)/python -m venv --clear --without-pip $(AUDIT)
	@$(PIP) --python $(AUDIT) $(LOCKED) -r requirements/audit.txt
	@touch $@
