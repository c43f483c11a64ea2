# Every target sets up what it needs. `make` alone lists them.
PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
READY := $(VENV)/.ready
# Containers need root here: their networks and mounts are made by podman itself, not by a daemon.
SUDO := $(shell [ "$$(id -u)" = 0 ] && echo env || command -v sudo)
ROOT = $(or $(SUDO),$(error containers need root, and there is no sudo here: run make as root))
LEFT = .sandbox .pytest_cache .mypy_cache .ruff_cache .import_linter_cache demo-report.json \
  $$(find . -path "./.*" -prune -o -name __pycache__ -print)

.DEFAULT_GOAL := help
.PHONY: help setup browser demo demo-lost up down test test-unit simulate fuzz chaos mutants sandbox-attacks check words format lock schema coverage conformance spec-examples yardstick az-table bench bench-history bench-scan bench-sweep scan-real screenshots clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(READY): requirements-dev.txt
	@$(PYTHON) scripts/make_venv.py $(VENV) requirements-dev.txt
	@touch $@

setup: $(READY) ## Python packages into .venv, and what the sandbox needs on this machine
	@$(ROOT) $(PY) -m sandbox needs

demo: setup ## play the scenario: twelve chapters from a push upstream to a web page
	@$(ROOT) $(PY) -m demo play

demo-lost: setup ## the scenario with all events lost, then with some lost, duplicated and reordered (8 minutes)
	@$(ROOT) $(PY) -m demo play --events off
	@$(ROOT) $(PY) -m demo play --events lossy

up: setup ## start the scenario: sandbox and app run until `make down`
	@$(ROOT) $(PY) -m demo up

down: $(READY) ## stop what `make up` started
	@$(ROOT) $(PY) -m demo down

# A browser is for the tests of the board alone: the story needs none. npm is there once the sandbox's needs are.
browser: setup ## a Chromium, axe-core, skopeo and sigstore-js, for the tests of board, registries and records
	@$(ROOT) $(PY) scripts/browser_needs.py .tools

# Two at a time: most tests of the sandbox wait for containers. Each process has sandboxes of its own.
test: browser ## all tests: unit, triggers, contract, browser, sandbox, end to end, a few kills
	@$(ROOT) $(PY) -m pytest -p no:cacheprovider --numprocesses 2 --dist loadfile --no-loadscope-reorder

test-unit: $(READY) ## the tests that need nothing but Python (two minutes)
	@$(PY) -m pytest tests/unit tests/triggers tests/architecture

SEEDS ?= 2000
simulate: $(READY) ## random schedules of failures and attackers against the core: SEEDS=n (2000; 25 seconds a thousand)
	@$(PY) -m tests.simulation $(SEEDS)

FUZZ_SECONDS ?= 3600
fuzz: $(READY) ## fuzz everything that takes input from outside, guided by coverage: FUZZ_SECONDS=n (an hour)
	@$(PY) -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-fuzz.txt
	@$(PY) -m tests.fuzz --seconds $(FUZZ_SECONDS)

KILLS ?= 200
CHAOS_SEED ?= 1
chaos: setup ## SIGKILL in the running scenario while images are pushed: KILLS=n of its processes (200; 20 minutes)
	@$(ROOT) $(PY) -m tests.chaos --kills $(KILLS) --seed $(CHAOS_SEED)

mutants: $(READY) ## plant known bugs, one at a time, and see that a test fails on each (five to ten minutes)
	@$(PY) -m tests.mutants

sandbox-attacks: setup ## play the attacks on the sandbox: who, what was tried, refused by what (a minute)
	@$(ROOT) $(PY) -m sandbox.tests.attacks

check: $(READY) ## format, lint, types, import contracts, words
	@$(VENV)/bin/ruff format --check --quiet .
	@$(VENV)/bin/ruff check --quiet .
	@$(VENV)/bin/mypy
	@PYTHONPATH=. $(VENV)/bin/lint-imports --no-cache
	@$(PY) scripts/words.py

words: $(READY) ## retired words in names and prose, and what to say instead
	@$(PY) scripts/words.py

format: $(READY) ## format, and fix what ruff can fix
	@$(VENV)/bin/ruff format --quiet .
	@$(VENV)/bin/ruff check --fix --quiet .

# One resolution for all: requirements-dev.in includes every other list but the fuzzer's, and its lock constrains them.
COMPILE = $(VENV)/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
  --custom-compile-command "make lock" $(if $(UPGRADE),--upgrade)
LOCKS := requirements requirements-telemetry requirements-fuzz sandbox/requirements basegate_cli/requirements
lock: setup ## the lock files from requirements*.in and package.json; UPGRADE=1 takes the newest versions that fit
	@$(COMPILE) --annotation-style line requirements-dev.in --output-file requirements-dev.txt
	@for list in $(LOCKS); do \
		$(COMPILE) --no-annotate --constraint requirements-dev.txt $$list.in --output-file $$list.txt || exit; done
	@for folder in sandbox/needs tests/browser tests/contract/sigstore_js; do \
		npm $(if $(UPGRADE),update,install) --prefix $$folder --package-lock-only --ignore-scripts \
			--omit-lockfile-registry-resolved --no-audit --no-fund --loglevel=error > /dev/null || exit; done

schema: $(READY) ## docs/gates.schema.json from the types of gates.yaml
	@$(PY) -m scripts.schema > docs/gates.schema.json

coverage: $(READY) ## sandbox/COVERAGE.md from the operations that are registered
	@$(PY) -m sandbox.coverage > sandbox/COVERAGE.md

conformance: $(READY) ## what ACR's engine does with task files, against what the sandbox does (ten seconds)
	@$(PY) -m sandbox.conformance

SPECS ?=
spec-examples: setup ## the examples of Azure's REST specifications, sent to a sandbox: SPECS=a clone (two minutes)
	@$(ROOT) $(PY) -m tests.spec_examples $(if $(SPECS),--specs $(SPECS))

az-table: $(READY) ## docs/azure-cli.md from the lists of az commands that `make yardstick` runs
	@$(PY) -m sandbox.yardstick.document > docs/azure-cli.md

yardstick: setup ## the article's az commands and more, with the real Azure CLI, in a sandbox of their own (733 MB)
	@$(PY) -m sandbox.yardstick --install
	@$(ROOT) $(PY) -m sandbox --state .sandbox/yardstick down
	@$(ROOT) rm -rf .sandbox/yardstick
	@$(ROOT) $(PY) -m sandbox --state .sandbox/yardstick up
	@$(ROOT) $(PY) -m sandbox.yardstick --state .sandbox/yardstick; code=$$?; \
		$(ROOT) $(PY) -m sandbox --state .sandbox/yardstick down; exit $$code

bench: setup ## benchmarks: the event path, the board, the gateway (half a minute)
	@$(ROOT) $(PY) -m bench

bench-history: setup ## a page of a history of 100,000 candidates against one of 1,000 (three minutes)
	@$(ROOT) $(PY) -m bench.history

bench-scan: $(READY) ## a scanner's report of 60 MB, read by the app and by `json.load` (half a minute)
	@$(PY) -m bench.scan

scan-real: $(READY) ## trivy, grype and osv-scanner, where they are on the PATH, against the sandbox's stand-in
	@$(PY) -m tests.scan_real

bench-sweep: browser ## a sweep of 1,000 tags against `skopeo inspect` in a loop, and its memory (two minutes)
	@$(ROOT) $(PY) -m bench.sweep

screenshots: browser ## docs/images/board-*.png from the real pages on a world of fakes
	@$(PY) -m tests.browser.screenshots docs/images

clean: ## remove state and caches; downloads in .tools and .venv stay
	@[ ! -d .sandbox ] || $(MAKE) --no-print-directory down
	@[ ! -d .sandbox ] || for state in demo yardstick .; do \
		$(ROOT) $(PY) -m sandbox --state .sandbox/$$state down > /dev/null || exit; done
	@rm -rf $(LEFT) 2>/dev/null || $(SUDO) rm -rf $(LEFT)
