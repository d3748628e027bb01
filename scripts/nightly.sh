#!/usr/bin/env bash
# One night on this machine, as `make nightly` runs it: sample tables where there are none, the DAG, and what it did.
# Reads MARQUEE_WAREHOUSE, SERVICE, MOVIELENS, DS and LOOKUP_USER from the environment.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/env.sh
. scripts/stop.sh

warehouse=$MARQUEE_WAREHOUSE
service=${SERVICE:-simulated}

fill_with_sample() {
    echo "Filling $warehouse with the $service service"
    case $service in
        simulated) python -m examples simulated --warehouse "$warehouse" ;;
        movielens)
            [ -n "${MOVIELENS:-}" ] || stop "SERVICE=movielens needs MOVIELENS=folder, a MovieLens 100K folder (u.data, u.item)."
            python -m examples movielens --folder "$MOVIELENS" --warehouse "$warehouse"
            ;;
        *) stop "SERVICE is '$service', expected simulated or movielens." ;;
    esac
    echo "$service" > "$warehouse/.service"
}

# An object store is never filled with a sample.
if [[ $warehouse != *://* ]]; then
    if [ ! -d "$warehouse/viewing_history" ]; then
        fill_with_sample
    elif [ -e "$warehouse/.service" ] && [ "$(cat "$warehouse/.service")" != "$service" ]; then
        stop "$warehouse holds the $(cat "$warehouse/.service") service and SERVICE is $service: name another WAREHOUSE."
    fi
fi
ds=${DS:-$(python -m examples last-day --warehouse "$warehouse")}

scripts/run_dag.sh artwork_nightly "$ds"
python -m serving.summary --ds "$ds"
python -m serving.lookup ${LOOKUP_USER:+--user "$LOOKUP_USER"}
