#!/usr/bin/env bash
# Runs a command while Airflow's connection spark_default names a Spark standalone cluster of two workers on this machine,
# one processor and one executor of 1 GiB each:
#
#     scripts/spark_cluster.sh make nightly WAREHOUSE=/tmp/on-a-cluster
#     make nightly WAREHOUSE=/tmp/local
#     make fingerprint WAREHOUSE=/tmp/local OTHER=/tmp/on-a-cluster
#
# The steps' seconds are in the table night_steps of each. What the master and the workers say is kept in .cache/cluster.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/stop.sh

[ $# -gt 0 ] || {
    sed -n '2,9s/^# \{0,1\}//p' "$0" >&2
    exit 2
}
address=127.0.0.1 port=7077 page=7078
kept=$PWD/.cache/cluster
mkdir -p "$kept"
daemons=()
trap 'kill "${daemons[@]}" 2> /dev/null || true; wait || true' EXIT

# In an environment of its own: the command's is the caller's, who may name another warehouse.
start() {
    local name=$1
    shift
    (
        . scripts/env.sh
        SPARK_DAEMON_MEMORY=512m exec spark-class "$@"
    ) > "$kept/$name.log" 2>&1 &
    daemons+=($!)
}

workers_alive() {
    .venv/bin/python - "http://$address:$page/json/" << 'PYTHON'
import json, sys, urllib.request
opened = urllib.request.build_opener(urllib.request.ProxyHandler({})).open(sys.argv[1], timeout=5)
sys.exit(0 if json.load(opened)["aliveworkers"] == 2 else 1)
PYTHON
}

start master org.apache.spark.deploy.master.Master --host "$address" --port "$port" --webui-port "$page"
for number in 1 2; do
    start "worker-$number" org.apache.spark.deploy.worker.Worker --host "$address" --webui-port 0 --cores 1 --memory 2g \
        --work-dir "$kept/worker-$number" "spark://$address:$port"
done
for attempt in $(seq 60); do
    workers_alive 2> /dev/null && break
    [ "$attempt" -lt 60 ] || {
        stop "the two workers did not register with spark://$address:$port; see $kept/*.log"
    }
    sleep 1
done
export AIRFLOW_CONN_SPARK_DEFAULT="{\"conn_type\": \"spark\", \"host\": \"spark://$address\", \"port\": $port}"
echo "spark_default: spark://$address:$port, two workers; their page: http://$address:$page"
"$@"
