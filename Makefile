# What CI runs is what you run. Needs bash, make, Python 3.11 to 3.13 and Java 17; everything else is set up in .venv.
SHELL := bash
.DEFAULT_GOAL := help
.PHONY: help setup lint types test test-slow browser servers gx deploy-check airflow image matrix pairs coverage torture mutation bench bench-full lock clean

# Paths are relative, and tools run as modules: the project's path may hold spaces, and a moved .venv works.
PYTHON := .venv/bin/python
SHELL_SCRIPTS := spark-submit.sh deploy/setup.sh deploy/docker-entrypoint.sh deploy/emr/build.sh deploy/java/bin/java .ci/run

# What `make test` leaves to targets of their own.
OTHER_LANES := slow or torture or browser or servers or gx or deploy or airflow or image

# Tests use the Spark that is set up here, not the one of a cluster or of another environment.
unexport SPARK_HOME SPARK_CONF_DIR PYTHONPATH
export PYSPARK_PYTHON := $(CURDIR)/$(PYTHON)
export PYSPARK_DRIVER_PYTHON := $(PYSPARK_PYTHON)
export SPARK_LOCAL_IP ?= 127.0.0.1

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "%-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## make .venv with all that tests and checks need (does nothing when it is current)
	@deploy/setup.sh dev

lint: setup ## ruff, shellcheck, hadolint
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	.venv/bin/shellcheck $(SHELL_SCRIPTS)
	.venv/bin/hadolint Dockerfile deploy/compose/Dockerfile

types: setup ## mypy, strict
	$(PYTHON) -m mypy

test: setup ## the tests but the slow ones, with coverage
	COVERAGE_FILE=.coverage.test $(PYTHON) -m pytest -m 'not ($(OTHER_LANES))' --cov --cov-report=term

test-slow: setup ## the slow tests; some need the jars for S3 (640 MB), the driver for PostgreSQL, two more Sparks (900 MB)
	@deploy/setup.sh jars s3
	@deploy/setup.sh jars postgres
	@deploy/setup.sh pair 4.0
	@deploy/setup.sh pair 4.2
	COVERAGE_FILE=.coverage.slow $(PYTHON) -m pytest -m slow --cov --cov-report= --cov-fail-under=0

browser: setup ## what a browser makes of the reports; needs Chromium (Debian: apt-get install chromium)
	$(PYTHON) -m pytest -m browser tests/browser

servers: setup ## from a run to an alert; needs Debian's prometheus, -node-exporter, -pushgateway and -alertmanager
	$(PYTHON) -m pytest -m servers tests/servers

gx: setup ## the rules as Great Expectations tells them; installs it into .venv
	@deploy/setup.sh gx
	$(PYTHON) -m pytest -m gx tests/gx

deploy-check: setup ## the files in deploy/ held against what reads them: libraries, schemas, the jobs' own parsers; needs Debian's systemd and prometheus
	@deploy/setup.sh deploy
	$(PYTHON) -m pytest -m deploy tests/deploy

image: setup ## build the container's image and run the sample in it; needs root, and Debian's buildah and mmdebstrap
	@deploy/setup.sh sbom
	$(PYTHON) -m pytest -m image tests/image

airflow: setup ## the DAGs in deploy/airflow: read, rendered, and the local one really run; installs Airflow into .venv/airflow
	@deploy/setup.sh airflow
	.venv/airflow/bin/python -m pytest --confcutdir=tests/airflow -p no:warnings -m airflow tests/airflow

pairs: setup ## of the slow tests just those on the oldest and newest pair of Spark and Delta and on Spark Connect
	@deploy/setup.sh pair 4.0
	@deploy/setup.sh pair 4.2
	$(PYTHON) -m pytest -m slow -k finished_on_every_platform

matrix: setup ## what `make test` runs on every pair, on Spark Connect, on every Python (LANES='connect pair-4.0' for some); hours
	@deploy/setup.sh pair 4.0
	@deploy/setup.sh pair 4.2
	$(PYTHON) -m tests.matrix --marked 'not ($(OTHER_LANES))' $(LANES)

coverage: setup ## what test and test-slow covered together, when both have run
	$(PYTHON) -m coverage combine --keep --quiet .coverage.test .coverage.slow
	$(PYTHON) -m coverage report --fail-under=95

torture: setup ## kill, fill the disk and crowd the warehouse, every way; an hour on two cores
	$(PYTHON) -m pytest -m torture

mutation: setup ## how many mutants of the deciding modules the tests kill; 45 minutes (MUTATION='--sample 20 --seed 7' for less)
	$(PYTHON) -m tests.mutation $(MUTATION)

bench: ## time the jobs beside their peers, small; leave the machine alone for a quarter of an hour
	@deploy/setup.sh bench
	$(PYTHON) bench/orders.py --scale 0.1
	$(PYTHON) bench/features.py

bench-full: ## the same at full size, and growing tables and awkward inputs; some three hours on two cores
	@deploy/setup.sh bench
	$(PYTHON) bench/orders.py --scale 1 --repeat 3
	$(PYTHON) bench/features.py --scale 1 --repeat 3
	$(PYTHON) bench/growth.py --scale 1
	$(PYTHON) bench/spread_of_work.py
	$(PYTHON) bench/spread_of_work.py --inputs even --cluster

UV_COMPILE := uv pip compile --quiet --universal --generate-hashes --python-version 3.11 --no-header \
	--no-emit-index-url --no-emit-find-links

lock: ## make the locks anew within pyproject.toml's ranges (needs uv; `make lock UPGRADE=--upgrade` for newer versions)
	echo 'setuptools>=77' | $(UV_COMPILE) $(UPGRADE) - -o requirements/build.txt
	$(UV_COMPILE) $(UPGRADE) --extra local pyproject.toml -o requirements/local.txt
	$(UV_COMPILE) $(UPGRADE) --extra local --extra dev pyproject.toml -c requirements/local.txt -o requirements/dev.txt
	$(UV_COMPILE) $(UPGRADE) --extra bench pyproject.toml -c requirements/dev.txt -o requirements/bench.txt
	$(UV_COMPILE) $(UPGRADE) --extra gx pyproject.toml -c requirements/dev.txt -o requirements/gx.txt
	$(UV_COMPILE) $(UPGRADE) --extra deploy pyproject.toml -c requirements/dev.txt -o requirements/deploy.txt
	$(UV_COMPILE) $(UPGRADE) --extra airflow pyproject.toml -o requirements/airflow.txt
	echo 'cyclonedx-bom>=7.5' | $(UV_COMPILE) $(UPGRADE) - -c requirements/dev.txt -o requirements/sbom.txt
	echo 'pyspark==4.0.2' | $(UV_COMPILE) --no-deps - -o requirements/pair-4.0.txt
	echo 'pyspark==4.2.0' | $(UV_COMPILE) --no-deps - -o requirements/pair-4.2.txt

clean: ## remove .venv and what tools leave behind; tables and outputs stay
	rm -rf .venv .venv.lock .coverage* htmlcov .pytest_cache .mypy_cache .ruff_cache .hypothesis build *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
