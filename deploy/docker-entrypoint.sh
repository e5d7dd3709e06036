#!/usr/bin/env bash
# What the container runs, under tini:
#
#   driver | executor ...       as Spark on Kubernetes starts its pods
#   jobs/orders.py [options]    spark-submit with these arguments; so do spark-submit's own options (--master ... jobs/orders.py)
#   anything else               that command: bash, spark-submit, python ...
set -euo pipefail

: "${SPARK_HOME:=/opt/spark}"

# Options for the executor's Java come as SPARK_JAVA_OPT_0, SPARK_JAVA_OPT_1 ... and may hold spaces.
java_options() {
  local i=0 name=SPARK_JAVA_OPT_0
  java_opts=()
  while [[ -n "${!name:-}" ]]; do
    java_opts+=("${!name}")
    i=$((i + 1)) name="SPARK_JAVA_OPT_$i"
  done
}

class_path() { # the order is Spark's: configuration, Spark, the user's
  local part joined=""
  for part in "${SPARK_CONF_DIR:-$SPARK_HOME/conf}" "${HADOOP_CONF_DIR:-}" "${SPARK_CLASSPATH:-}" "$SPARK_HOME/jars/*" \
    "${SPARK_EXTRA_CLASSPATH:-}" "${SPARK_DIST_CLASSPATH:-}"; do
    [[ -z "$part" ]] || joined+="${joined:+:}$part"
  done
  echo "$joined"
}

driver() {
  command=("$SPARK_HOME/bin/spark-submit"
    --conf "spark.driver.bindAddress=$SPARK_DRIVER_BIND_ADDRESS"
    --conf "spark.executorEnv.SPARK_DRIVER_POD_IP=$SPARK_DRIVER_BIND_ADDRESS"
    --deploy-mode client
    "$@")
}

executor() {
  java_options
  command=("${JAVA_HOME:+$JAVA_HOME/bin/}java" "${java_opts[@]}"
    "-Xms$SPARK_EXECUTOR_MEMORY" "-Xmx$SPARK_EXECUTOR_MEMORY"
    -cp "$(class_path)"
    org.apache.spark.scheduler.cluster.k8s.KubernetesExecutorBackend
    --driver-url "$SPARK_DRIVER_URL"
    --executor-id "$SPARK_EXECUTOR_ID"
    --cores "$SPARK_EXECUTOR_CORES"
    --app-id "$SPARK_APPLICATION_ID"
    --hostname "$SPARK_EXECUTOR_POD_IP"
    --resourceProfileId "$SPARK_RESOURCE_PROFILE_ID"
    --podName "$SPARK_EXECUTOR_POD_NAME")
}

case "${1:-}" in
  driver) driver "${@:2}" ;;
  executor) executor ;;
  -* | *.py) command=(/opt/orders/spark-submit.sh "$@") ;;
  *) command=("${@:-bash}") ;;
esac
# -s: tini also reaps the Python workers that outlive the process that started them.
exec tini -s -- "${command[@]}"
