#!/usr/bin/env bash
# Sets up the project's own Spark: .venv with the locked packages and, on Spark's class path, the Delta jars.
#
#   deploy/setup.sh              what a job needs                  (requirements/local.txt)
#   deploy/setup.sh dev          and what tests and checks need    (requirements/dev.txt)
#   deploy/setup.sh jars s3      and the jars for S3 (640 MB), in .venv/jars-s3; likewise jars postgres
#   deploy/setup.sh pair 4.0     and the oldest tested Spark (4.0) with its Delta, in .venv/pair-4.0; likewise the newest, pair 4.2
#   deploy/setup.sh airflow      and Airflow for the DAGs in deploy/airflow, in .venv/airflow (requirements/airflow.txt)
#
# All or nothing: the stamp in .venv is written last and names the locks it was made from. A start that finds it does nothing;
# one that finds none (killed half-way), or another (a lock has changed), begins anew.
#
#   ORDERS_PYTHON          the Python to use, instead of the first that fits
#   ORDERS_IVY_SETTINGS    an Ivy settings file, to fetch the jars from a mirror
#   ORDERS_JARS_DIR        a folder that holds the jars: nothing is fetched
#
# Exit codes: 1 the set-up failed, 2 this machine lacks something (the message says what to install).
set -euo pipefail

root="$(CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)"
readonly root venv="$root/.venv"

# Sets of jars: what to fetch, what not, and the file with their names and checksums. Without the exclusions Ivy brings 85 MB
# that Spark already has, and fails where a local Maven cache holds poms without jars.
about_jars() { # jars
  pins_name="jars-$1.sha256"
  excluded='org.*:*,com.*:*,javax.*:*,commons-*:*,io.airlift:*,io.unitycatalog:*'
  case "$1" in
    delta) package=io.delta:delta-spark_4.1_2.13:4.2.0 pins_name=jars.sha256 ;;
    pair-4.0) package=io.delta:delta-spark_2.13:4.0.1 ;;
    pair-4.2) package=io.delta:delta-spark_4.2_2.13:4.4.0 ;;
    s3)
      package=org.apache.hadoop:hadoop-aws:3.4.2
      excluded='org.apache.hadoop:hadoop-common,org.slf4j:*,com.*:*,javax.*:*,commons-*:*'
      ;;
    postgres) package=org.postgresql:postgresql:42.7.8 excluded='org.checkerframework:*' ;;
    pair-*) fail 2 "there is no pair '${1#pair-}'; there are: 4.0, 4.2" ;;
    *) fail 2 "there are no jars '$1'; there are: s3, postgres" ;;
  esac
  pins="$root/deploy/$pins_name"
}

say() { echo "set-up: $*" >&2; }

fail() { # exit code, message
  say "$2"
  exit "$1"
}

sha256() { # macOS has no sha256sum
  if command -v sha256sum >/dev/null; then sha256sum "$@"; else shasum -a 256 "$@"; fi
}

fingerprint() { # set of packages or of jars: what it is made from, in one number
  local -a from=("$root/requirements/build.txt" "$root/requirements/$1.txt" "$root/deploy/jars.sha256")
  case "$1" in
    jars-*) from=("$root/deploy/$1.sha256") ;;
    pair-*) from+=("$root/deploy/jars-$1.sha256") ;;
  esac
  cat "${from[@]}" "${BASH_SOURCE[0]}" | sha256 | cut -d ' ' -f 1
}

is_current() { # set
  [[ -x "$venv/bin/python" && -f "$venv/.setup-$1" && "$(<"$venv/.setup-$1")" == "$(fingerprint "$1")" ]]
}

# At every start, because it costs 40 ms and another Java may have become the default since the last one.
require_java() {
  local java="${JAVA_HOME:+$JAVA_HOME/bin/}java" version
  local advice="
  Debian, Ubuntu:  apt-get install openjdk-17-jre-headless
  macOS:           brew install --cask temurin@17"
  command -v "$java" >/dev/null ||
    fail 2 "Spark needs Java 17 (or 21), and there is no $java${JAVA_HOME:+ (JAVA_HOME is set)}.$advice"
  version="$("$java" -version 2>&1 | sed -n 's/.* version "\([^"]*\)".*/\1/p')"
  case "$version" in
    17 | 17.* | 21 | 21.*) ;;
    *) fail 2 "Spark needs Java 17 (or 21), and $java is ${version:-not a working Java}; set JAVA_HOME to one that fits.$advice" ;;
  esac
}

find_python() { # prints the first that fits; a name on the PATH need not run (pyenv), and Debian leaves venv out
  local candidate version unfit="" without_venv=""
  local -a candidates=(python3.13 python3.12 python3.11 python3 python)
  [[ -z "${ORDERS_PYTHON:-}" ]] || candidates=("$ORDERS_PYTHON")
  for candidate in "${candidates[@]}"; do
    version="$("$candidate" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)" || continue
    case "$version" in
      3.11 | 3.12 | 3.13)
        if "$candidate" -c 'import ensurepip, venv' 2>/dev/null; then
          echo "$candidate"
          return
        fi
        without_venv="$version"
        ;;
      *) unfit+=" $candidate is $version;" ;;
    esac
  done
  [[ -z "$without_venv" ]] ||
    fail 2 "Python $without_venv is here, but not its venv module.
  Debian, Ubuntu:  apt-get install python$without_venv-venv"
  fail 2 "Python 3.11, 3.12 or 3.13 is needed;${unfit:- none of ${candidates[*]} runs.}
  Debian, Ubuntu:  apt-get install python3 python3-venv
  macOS:           brew install python@3.12
  or set ORDERS_PYTHON to one that is not on the PATH"
}

# Held until this script and its children end, however they end: nothing is left behind that would have to be cleaned up.
# Python's flock, because macOS has no command for it.
lock() { # python
  exec 9>>"$root/.venv.lock"
  "$1" -c '
import fcntl, sys
try:
    fcntl.flock(9, fcntl.LOCK_EX | fcntl.LOCK_NB)
except BlockingIOError:
    print("set-up: waiting for another one to end", file=sys.stderr)
    fcntl.flock(9, fcntl.LOCK_EX)'
}

logged() { # advice, command ...: the command's output only when it fails
  local log="$venv/setup.log" advice="$1"
  shift
  if ! "$@" >"$log" 2>&1; then
    grep -vE '^[[:space:]]+at ' "$log" | tail -n 12 >&2 # the reason, without the stack
    fail 1 "that failed; the whole output is in $log
$advice"
  fi
}

make_venv() { # python, folder
  say "making ${2#"$root/"} with $("$1" --version)"
  "$1" -m venv --clear "$2" || fail 1 "could not make $2"
}

install() { # set, environment, further options of pip
  local advice="  Without a network: set a mirror with 'pip config set global.index-url URL', or PIP_NO_INDEX=1 and PIP_FIND_LINKS to a folder of packages."
  # -I: a PYTHONPATH of the caller must not count as installed.
  # --no-deps: the lock has all of them. An old pip would look for those of an extra anew, and refuse what is newer than the lock.
  local -a pip=("$2/bin/python" -I -m pip install --require-hashes --no-deps)
  say "installing the packages of requirements/$1.txt"
  # pyspark comes as source; what builds it is locked too, hence no build isolation.
  logged "$advice" "${pip[@]}" -r "$root/requirements/build.txt"
  logged "$advice" "${pip[@]}" --no-build-isolation --use-pep517 "${@:3}" -r "$root/requirements/$1.txt"
}

resolve_jars() { # package, packages to leave out, scratch folder: Spark's own Ivy puts them into its folder jars/
  local settings="${ORDERS_IVY_SETTINGS:-}" # Spark reads the path as a URI, hence %20
  : >"$3/empty.py"
  SPARK_HOME="$venv/spark" PYSPARK_PYTHON="$venv/bin/python" PYSPARK_DRIVER_PYTHON="$venv/bin/python" \
    "$venv/spark/bin/spark-submit" --packages "$1" --exclude-packages "$2" --conf "spark.jars.ivy=$3" \
    ${settings:+--conf "spark.jars.ivySettings=${settings// /%20}"} "$3/empty.py"
}

fetch_jars() { # scratch folder: each jar in it under the name that it is pinned by
  local jar group="" folder="${ORDERS_JARS_DIR:-}"
  if [[ -z "$folder" ]]; then
    say "fetching the jars of $package"
    logged "  Without a network: set ORDERS_IVY_SETTINGS to an Ivy settings file that names a mirror, or ORDERS_JARS_DIR to a folder
  with the jars of deploy/$pins_name. Behind a proxy: SPARK_SUBMIT_OPTS='-Dhttps.proxyHost=HOST -Dhttps.proxyPort=PORT'." \
      resolve_jars "$package" "$excluded" "$1"
    folder="$1/jars" group="*_" # Ivy puts the group in front
  fi
  while read -r _ jar; do
    # shellcheck disable=SC2086 # the group is a pattern
    cp "$folder"/$group"$jar" "$1/$jar" || fail 1 "$jar is missing in $folder"
  done < <(grep -v '^#' "$pins")
}

install_jars() { # jars, folder to put them into
  local scratch="$venv/fetched-$1" package excluded pins_name pins
  about_jars "$1"
  mkdir -p "$scratch" "$2"
  fetch_jars "$scratch"
  (cd "$scratch" && grep -v '^#' "$pins" | sha256 --check - >"$venv/setup.log" 2>&1) ||
    fail 1 "refused: these are not the jars that deploy/$pins_name pins: $(sed -n 's/: FAILED.*//p' "$venv/setup.log" | tr '\n' ' ')"
  mv "$scratch"/*.jar "$2/"
  rm -rf "$scratch"
}

set_up() { # set
  local python
  python="$(find_python)"
  lock "$python"
  if ! is_current local; then
    make_venv "$python" "$venv"
    install local "$venv"
    (cd "$venv" && ln -sfn lib/python3*/site-packages/pyspark spark) # one name, whatever the Python
    install_jars delta "$venv/spark/jars"
    fingerprint local >"$venv/.setup-local"
  fi
  if ! is_current "$1"; then
    case "$1" in
      jars-*)
        rm -rf "${venv:?}/$1"
        install_jars "${1#jars-}" "$venv/$1"
        ;;
      pair-*) # just pyspark: all else is that of .venv
        rm -rf "${venv:?}/$1"
        install "$1" "$venv" --target "$venv/$1"
        install_jars "$1" "$venv/$1/pyspark/jars"
        ;;
      airflow) # its packages are not those of the jobs
        make_venv "$python" "$venv/airflow"
        install airflow "$venv/airflow"
        ;;
      *) install "$1" "$venv" ;;
    esac
    fingerprint "$1" >"$venv/.setup-$1"
  fi
  say "done in $SECONDS s"
}

main() {
  local set="${1:-local}"
  local package excluded pins_name pins
  case "$set" in
    jars)
      about_jars "${2:-}"
      set="jars-$2"
      ;;
    pair)
      set="pair-${2:-}"
      about_jars "$set"
      ;;
    *) [[ -f "$root/requirements/$set.txt" ]] || fail 2 "there is no requirements/$set.txt" ;;
  esac
  require_java
  if ! is_current local || ! is_current "$set"; then
    set_up "$set"
  fi
}

main "$@"
