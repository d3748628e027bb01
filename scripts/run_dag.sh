#!/usr/bin/env bash
# Runs a DAG once, in this process: scripts/run_dag.sh artwork_nightly 2026-01-14. All that is said is kept in a log, what a
# person wants to see of it is printed.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/env.sh
. scripts/stop.sh
dag=$1 ds=$2
[[ $ds =~ ^[0-9]{4}-[0-9]{2}-[0-9]{2}$ ]] || stop "DS is '$ds', expected a date as YYYY-MM-DD."

log=.airflow/logs/$dag-$ds.log
mkdir -p .airflow/logs
echo "$dag of $ds on $MARQUEE_WAREHOUSE; everything that is said goes to $log"
began=$SECONDS
AIRFLOW__LOGGING__COLORED_CONSOLE_LOG=False NO_COLOR=1 airflow dags test "$dag" "$ds" 2>&1 |
    python scripts/follow.py "$log"
echo "It took $((SECONDS - began)) s"
echo
