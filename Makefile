# Everything from a bare python3 (3.11+): `make demo` to see it work, `make test` to trust it.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
# On all cores, which pip does not; a package may hold files that are not meant for this Python.
COMPILE = $(BIN)/python -m compileall -qq -j 0

# Where this is set, every import is compiled anew: 3 to 8 times slower (docs/adr/0008-pinned-dependencies.md)
unexport PYTHONDONTWRITEBYTECODE
export PREFECT_SERVER_ANALYTICS_ENABLED = false

.PHONY: setup setup-dev chromium postgresql demo up up-drill drill guide canary dead-sinks test walks soak soak-up \
	mutants check format pins clean

setup: $(VENV)/.runtime
setup-dev: $(VENV)/.dev

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "crypto-bot needs Python 3.11 or newer: make PYTHON=python3.11 $(MAKECMDGOALS)"; exit 2; }
	@$(PYTHON) -m venv $(VENV)

# pip first: one of before 23.3 takes the pin of a package for none where another wants it with an extra.
$(VENV)/.runtime: requirements-pip.txt requirements.txt pyproject.toml | $(VENV)/bin/python
	@echo "installing into $(VENV) (once, about a minute)"
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements-pip.txt
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-compile --require-hashes -r requirements.txt
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@$(COMPILE) $(VENV)/lib || true
	@$(COMPILE) cli config exchanges execution flows services simvenue strategies tasks trading
	@$(BIN)/python -m cli.prefect_database || echo "no database of Prefect's is prepared: a new server makes its own, which takes seconds longer"
	@touch $@

$(VENV)/.dev: requirements-dev.txt $(VENV)/.runtime
	@echo "installing the tools for tests and checks"
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-compile --require-hashes -r requirements-dev.txt
	@$(COMPILE) $(VENV)/lib || true
	@touch $@

demo: setup
	@$(BIN)/crypto-bot demo

up: setup
	@$(BIN)/crypto-bot up

# The emergency stop against the bare sequence of a venue's own requests (docs/emergency-stop.md)
drill: setup
	@$(BIN)/python scripts/stop_drill.py

# Planted secrets, DEBUG logging, every fault: nothing of them may be left anywhere (docs/alerts-and-logs.md)
canary: setup-dev
	@$(BIN)/python scripts/canary.py

# What a trader's cycle costs while every sink of metrics and every alert channel hangs (docs/monitoring-setup.md)
dead-sinks: setup-dev
	@$(BIN)/python -m scripts.dead_sinks

# Cold start, kill -9 of each part while orders rest, Ctrl+C: what each takes (docs/prefect-ui.md)
up-drill: setup
	@$(BIN)/python scripts/up_drill.py

# Both operations guides, typed command by command from fresh clones; about eleven minutes.
guide: setup-dev
	@$(BIN)/python -m tests.guide

# A browser for the test of Prefect's UI (Debian); without it that test is skipped and says so.
chromium:
	@test -x /usr/bin/chromium || { apt-get update -qq && apt-get install -qq -y chromium; } > /dev/null 2>&1 || echo "chromium could not be installed: the test of the UI will be skipped"

# PostgreSQL for the tests of two hosts (Debian; with pg_trgm, which Prefect needs); without it they are skipped.
postgresql:
	@ls /usr/lib/postgresql/*/bin/postgres > /dev/null 2>&1 || { apt-get update -qq && apt-get install -qq -y postgresql; } > /dev/null 2>&1 || echo "PostgreSQL could not be installed: the tests of two hosts will be skipped"

# 24 simulated hours at one cycle a minute on four venues; about half an hour on two cores.
soak-up: setup-dev
	@$(BIN)/python -m tests.soak --hours 24

# Two at a time: many tests wait for a process of theirs.
test: setup-dev postgresql
	@$(BIN)/python -m pytest -n 2 --dist worksteal -m "not walk"

# The tests that take a whole installation where its people take it: `up` with what is killed under it, Prefect's UI in a
# browser, two hosts, the guide, six minutes of the soak.
walks: setup-dev chromium postgresql
	@$(BIN)/python -m pytest -n 2 --dist load --maxschedchunk 1 -m walk

# Guards removed one at a time: the tests must notice each.
mutants: setup-dev
	@$(BIN)/python scripts/mutation_check.py

# Ten thousand schedules of faults, each from its seed; a broken promise prints the seed that replays it. Then two
# thousand cycles at each venue, with trader and venue as processes (docs/survival.md).
soak: setup-dev
	@$(BIN)/python -m tests.simulation --seeds 10000
	@$(BIN)/python -m tests.simulation.soak --cycles 2000

check: setup-dev
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy

format: setup-dev
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

# New pins: needs uv. Hashes are recorded, addresses of package indexes are not.
pins:
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header pyproject.toml --extra build --extra postgresql -o requirements.txt
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header pyproject.toml --extra build --extra dev -c requirements.txt -o requirements-dev.txt
	echo pip | uv pip compile --quiet --generate-hashes --no-header -c requirements.txt - -o requirements-pip.txt

clean:
	rm -rf $(VENV) var
