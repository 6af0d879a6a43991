# All chores of the project; `make` alone lists them. Each sets up .venv first where that is still to be done.

BIN := .venv/bin
ARGS ?=

COMPILE := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-emit-find-links --custom-compile-command "make lock"

# What the named subset of the tests over the wire is run on, beside those that have all of a module.
BROKERS := quorum rediss sqs sqs-given none
# All of these modules, on RabbitMQ and Redis.
RUN_LOOP := tests/wire/test_run_loop.py tests/wire/test_run_failures.py tests/wire/test_run_ends.py
FLOW := tests/wire/test_flow_admission.py tests/wire/test_flow_concurrency.py tests/wire/test_timeouts.py

MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help dev test services test-services answered chaos fuzz lint format types imports mutate contract routes ci bench lock venv clean

help: ## list the chores
	@echo "make CHORE [ARGS=...]"
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

dev: venv ## run the server and the example shop (ARGS="--port 8300 --app-port 5001 --persist")
	@$(BIN)/python scripts/dev.py $(ARGS)

test: venv ## run the tests (ARGS="tests/core -k sleep -x", or ARGS="-n 2" for two processes)
	@$(BIN)/python -m pytest -m "not services" $(ARGS)

services: ## start PostgreSQL, MariaDB, Redis and RabbitMQ, those that are installed and do not answer
	@scripts/services

test-services: venv ## run the tests on PostgreSQL and MariaDB with each broker, in processes that are killed
	@$(BIN)/python -m pytest $(RUN_LOOP) $(FLOW) --on pg-rabbitmq $(ARGS)
	@$(BIN)/python -m pytest tests/wire_js --on pg-rabbitmq $(ARGS)
	@$(BIN)/python -m pytest $(RUN_LOOP) --on pg-redis $(ARGS)
	@$(BIN)/python -m pytest $(RUN_LOOP) --on maria-rabbitmq $(ARGS)
	@for broker in $(BROKERS); do $(BIN)/python -m pytest tests/wire -m each_broker --on pg-$$broker $(ARGS) || exit 1; done
	@$(BIN)/python -m pytest -m services tests/cluster tests/deploy $(ARGS)

answered: venv ## kill everything right after a 2xx, until 1000 events were answered on each database
	@ANSWERED_EVENTS=$${ANSWERED_EVENTS:-1000} $(BIN)/python -m pytest tests/crash/test_answered.py -s -q $(ARGS)

chaos: venv ## kill every part at random, for minutes (ARGS="--seconds 600 --seed 7 --broker redis", or --help)
	@$(BIN)/python -m tests.cluster $(ARGS)

fuzz: venv ## 100 000 inputs that are nearly right (ARGS="--seed 7 --only events", or --help)
	@$(BIN)/python -m tests.fuzz $(ARGS)

lint: venv ## check style and format
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

format: venv ## mend style and format where that can be done by a machine
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

types: venv ## check the types
	@$(BIN)/mypy

imports: venv ## check which room imports which
	@$(BIN)/lint-imports --no-logo

mutate: venv ## remove each guard of the core in turn, and see that its tests notice (ARGS="--only run.woke")
	@$(BIN)/python scripts/mutate.py $(ARGS)

# The tests come last and are no stage: their closing line is the last line of all.
ci: venv ## all that must pass before a change lands, with the time each part took
	@scripts/stage lint $(BIN)/ruff check .
	@scripts/stage format $(BIN)/ruff format --check .
	@scripts/stage types $(BIN)/mypy
	@scripts/stage imports $(BIN)/lint-imports --no-logo
	@scripts/stage browser scripts/chromium
	@scripts/stage services scripts/services
	@echo "==> test"
	@$(BIN)/python -m pytest -m "not services" -n 3 --dist loadfile --durations=10 $(ARGS)
	@echo "==> test-services"
	@$(MAKE) test-services ARGS="--durations=5 $(ARGS)"

bench: venv ## measure the server on this machine
	@$(BIN)/python -m tests.bench $(ARGS)

contract: venv ## try every route of a server in production against its OpenAPI document (ARGS="--examples 200 --seed 7")
	@$(BIN)/python -m tests.contract $(ARGS)

routes: venv ## write docs/routes.md anew: every route with the credential it needs
	@$(BIN)/python scripts/routes.py

lock: venv ## write what is pinned anew: requirements*.txt, docker/requirements-build.txt (ARGS="--upgrade" for newer versions)
	@$(COMPILE) pyproject.toml --extra mysql $(ARGS) -o requirements.txt
	@$(COMPILE) pyproject.toml --extra mysql $(ARGS) --group dev -c requirements.txt -o requirements-dev.txt
	@$(COMPILE) --group build -c requirements-dev.txt -o docker/requirements-build.txt

venv: ## make .venv, or bring it up to date (PYTHON=/path/to/python)
	@scripts/venv

clean: ## remove .venv, caches and what was built
	@rm -rf .venv build dist htmlcov .coverage .coverage.* .grimp_cache .hypothesis .import_linter_cache \
		.mypy_cache .pytest_cache .ruff_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
