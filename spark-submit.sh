#!/usr/bin/env bash
# Runs a job:  ./spark-submit.sh jobs/orders.py [options]
#
# Where a Spark is at hand (SPARK_HOME, as on a cluster, or a spark-submit on the PATH), this is that Spark's spark-submit with
# the same arguments. Elsewhere it first sets up a Spark in .venv (deploy/setup.sh), whose defaults are in deploy/spark/.
# ORDERS_DRIVER_MEMORY, as in 4g, sets the memory of a Spark set up here.
#
#   ./spark-submit.sh --with s3,postgres jobs/orders.py     fetches (once) and uses the jars for S3 and the driver for PostgreSQL
#
# A Spark set up here asks the job's configuration what it needs: jars, without --with, and options of Java that suit the
# amount of data (etl_lib/settings/launch.py). A cluster brings its own.
set -euo pipefail

root="$(CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)"
readonly root venv="$root/.venv"

if (($# == 0)); then
  echo "usage: ./spark-submit.sh [spark-submit's options] jobs/orders.py [the job's options]" >&2
  exit 2
fi
with=""
if [[ "$1" == --with ]]; then
  with="${2:-}"
  shift $(($# > 1 ? 2 : 1))
fi
args=("$@")

# A job named as seen from the project (jobs/orders.py) is found from any working directory. The job is the first argument that
# is neither one of spark-submit's options nor an option's value.
locate_job() {
  local i=0
  while ((i < ${#args[@]})); do
    case "${args[i]}" in
      --verbose | -v | --help | -h | --version | --usage-error | --supervise | --load-spark-defaults | --*=*) i=$((i + 1)) ;;
      -*) i=$((i + 2)) ;;
      *)
        [[ "${args[i]}" != *.py || -e "${args[i]}" || ! -e "$root/${args[i]}" ]] || args[i]="$root/${args[i]}"
        return
        ;;
    esac
  done
}

spark_at_hand() { # prints its spark-submit
  local candidate
  if [[ -n "${SPARK_HOME:-}" ]]; then
    echo "$SPARK_HOME/bin/spark-submit"
    return
  fi
  while read -r candidate; do
    [[ "$candidate" -ef "$venv/bin/spark-submit" ]] && continue # .venv is active: still the one set up here
    echo "using $candidate, which is on the PATH" >&2
    echo "$candidate"
    return
  done < <(type -aP spark-submit)
  return 1
}

adapt_to_job() { # jars: those of --with, or else those that the configuration asks for; options of Java: as its data ask for
  local told asked_for java_options="" jars class_path=""
  told="$("$venv/bin/python" -m etl_lib.settings.launch "${args[@]}" </dev/null)"
  { read -r asked_for && read -r java_options; } <<<"$told" || true # an empty last line is not there
  [[ -z "$java_options" ]] || args=(--conf "spark.driver.defaultJavaOptions=$java_options" "${args[@]}")
  with="${with:-$asked_for}"
  for jars in ${with//,/ }; do
    "$root/deploy/setup.sh" jars "$jars" </dev/null
    class_path+="${class_path:+:}$venv/jars-$jars/*"
  done
  [[ -z "$class_path" ]] ||
    args=(--conf "spark.driver.extraClassPath=$class_path" --conf "spark.executor.extraClassPath=$class_path" "${args[@]}")
}

use_own_spark() {
  "$root/deploy/setup.sh" </dev/null # standard input is the job's
  export ORDERS_JAVA="${JAVA_HOME:+$JAVA_HOME/bin/}java" JAVA_HOME="$root/deploy/java"
  export SPARK_HOME="$venv/spark"
  export PYSPARK_PYTHON="$venv/bin/python" PYSPARK_DRIVER_PYTHON="$venv/bin/python"
  export SPARK_CONF_DIR="${SPARK_CONF_DIR:-$root/deploy/spark}" # on the class path, so that log4j2 finds its file without quoting
  export SPARK_LOCAL_IP="${SPARK_LOCAL_IP:-127.0.0.1}"
  adapt_to_job
  [[ -z "${ORDERS_DRIVER_MEMORY:-}" ]] || args=(--driver-memory "$ORDERS_DRIVER_MEMORY" "${args[@]}")
}

# Spark's own log has the form of the job's (deploy/spark/log4j2.properties), with the time of this machine.
if [[ -t 2 ]]; then
  ORDERS_TIME_ZONE="GMT$(date +%z)"
  export ORDERS_LOGS=people ORDERS_TIME_ZONE
fi

# spark-submit merges Python's stderr into stdout, so the job writes its logs to the stderr of this process instead. Two
# processes can share a terminal or a pipe, but not a file, so a pipe goes in between.
[[ ! -f /dev/stderr ]] || exec 2> >(exec cat >&2)

locate_job
export PYTHONPATH="$root${PYTHONPATH:+:$PYTHONPATH}" # etl_lib
if ! spark_submit="$(spark_at_hand)"; then
  use_own_spark
  spark_submit="$SPARK_HOME/bin/spark-submit"
elif [[ ! -x "$spark_submit" ]]; then
  echo "SPARK_HOME is $SPARK_HOME, but there is no bin/spark-submit in it; unset it to use a Spark set up here" >&2
  exit 2
fi
exec "$spark_submit" "${args[@]}"
