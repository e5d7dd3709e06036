#!/usr/bin/env bash
# Builds what EMR runs into dist/emr/VERSION, from the locks:
#
#   environment.tar.gz          a virtual environment with the job, its packages and conf/, for spark.archives
#   orders_lakehouse-*.whl      the job alone, for --py-files where the cluster's Python has its packages
#   jobs/                       the entry points
#
#   deploy/emr/build.sh [LOCK ...]    a further lock with hashes, for each extra of the project that you use
#
# Build it on the architecture that the application has, with a Python that EMR has. Then:
#   aws s3 sync dist/emr/ s3://BUCKET/code/
set -euo pipefail

# --- what may differ for you ---
: "${ORDERS_EMR_PYTHON:=python3.11}"  # emr-spark-8.1.0 has 3.11 on EC2 and Serverless
: "${ORDERS_EMR_PYTHON_PREFIX:=/usr}" # there, the Python is in this folder's bin
: "${ORDERS_EMR_DIST:=}"              # where to put it; empty: dist/emr of this project
# -------------------------------

# What the release itself brings: its Spark, with the Python side of it, and its Delta.
readonly ON_EMR="pyspark py4j delta-spark"
# For secrets in AWS's manager and for Redshift. The release's own Python has it, an environment does not.
readonly AWS="boto3 botocore jmespath s3transfer urllib3"

root="$(CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")/../.." && pwd)"
version="$(sed -n 's/^version = "\(.*\)"$/\1/p' "$root/pyproject.toml")"
dist="${ORDERS_EMR_DIST:-$root/dist/emr}/$version"
work="$(mktemp -d)"
readonly root version dist work
trap 'rm -rf "$work"' EXIT

entries() { # lock, packages, "with" or "without": those entries of the lock, with their hashes
  awk -v names=" $2 " -v wanted="$3" '
    /^[a-zA-Z0-9]/ { split($1, name, "=="); taken = (index(names, " " name[1] " ") > 0) == (wanted == "with") }
    taken' "$1"
}

make_tools() { # what builds the wheel and packs the environment
  "$ORDERS_EMR_PYTHON" -m venv "$work/tools"
  entries "$root/requirements/deploy.txt" venv-pack with >"$work/venv-pack.txt"
  "$work/tools/bin/python" -m pip install --quiet --require-hashes --no-deps \
    -r "$root/requirements/build.txt" -r "$work/venv-pack.txt"
}

make_wheel() { # from a copy: what an earlier build left beside the code must not get in
  mkdir "$work/source"
  cp -R "$root"/{pyproject.toml,README.md,LICENSE,etl_lib,jobs} "$work/source/"
  "$work/tools/bin/python" -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir "$dist" "$work/source"
}

make_environment() { # further locks
  local python="$work/environment/bin/python" lock
  local -a locks=()
  "$ORDERS_EMR_PYTHON" -m venv "$work/environment"
  entries "$root/requirements/local.txt" "$ON_EMR" without >"$work/job.txt"
  entries "$root/requirements/dev.txt" "$AWS" with >"$work/aws.txt"
  for lock in "$work/job.txt" "$work/aws.txt" "$@"; do locks+=(-r "$lock"); done
  "$python" -m pip install --quiet --require-hashes --no-deps --only-binary :all: "${locks[@]}"
  "$python" -m pip install --quiet --no-deps --no-index "$dist"/orders_lakehouse-*.whl
  "$python" -m pip uninstall --quiet --yes pip setuptools 2>/dev/null # nobody installs into an archive
  cp -R "$root/conf" "$work/environment/conf"
  "$work/tools/bin/venv-pack" --quiet --force --prefix "$work/environment" \
    --python-prefix "$ORDERS_EMR_PYTHON_PREFIX" --output "$dist/environment.tar.gz"
}

main() {
  rm -rf "$dist"
  mkdir -p "$dist/jobs"
  make_tools
  make_wheel
  make_environment "$@"
  cp "$root"/jobs/*.py "$dist/jobs/"
  rm "$dist/jobs/__init__.py"
  echo "$dist" >&2
}

main "$@"
