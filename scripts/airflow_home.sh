#!/usr/bin/env bash
# Makes Airflow's home, .airflow: its database and the pools that the DAGs name.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/env.sh
. scripts/stop.sh

log=$AIRFLOW_HOME/setup.log
mkdir -p "$AIRFLOW_HOME"
echo "Making Airflow's database in .airflow"
{
    airflow db migrate &&
        airflow pools set gpu 1 "One slot per GPU: a scoring task each" &&
        airflow pools set publish 1 "Runs publish one after the other"
} > "$log" 2>&1 || {
    tail -n 20 "$log" >&2
    stop "Airflow's database could not be made; all that was said is in $log."
}
touch "$AIRFLOW_HOME/.ready"
