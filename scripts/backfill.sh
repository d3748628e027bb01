#!/usr/bin/env bash
# Has the Airflow of `make airflow` make past nights: FROM and TO are the first and the last night, both made.
# AGAIN=1 makes nights again that have a run; without it they are left alone.
#
# It is `airflow backfill create`, and knows two things about it. A --to-date is midnight and a night's run is dated 02:00,
# so the last night is asked for by its end. And on SQLite the command fails whenever the scheduler writes at the same
# moment ("database is locked"; on a real database it does not): Airflow leaves nothing behind then, so it is tried again.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/env.sh
. scripts/stop.sh

[ -n "${FROM:-}" ] && [ -n "${TO:-}" ] || {
    echo "marquee: name the nights: make backfill FROM=2026-01-05 TO=2026-01-09." >&2
    exit 2
}
log=$AIRFLOW_HOME/logs/backfill-$FROM-$TO.log
again=none
[ -z "${AGAIN:-}" ] || again=completed

create() {
    airflow dags unpause --yes artwork_nightly &&
        airflow backfill create --dag-id artwork_nightly --from-date "$FROM" --to-date "${TO}T23:59:59" \
            --reprocess-behavior "$again" --max-active-runs "${MAX_ACTIVE_RUNS:-3}"
}

mkdir -p "$(dirname "$log")"
for try in 1 2 3 4 5 6 7 8; do
    if create > "$log" 2>&1; then
        echo "Nights from $FROM to $TO are queued; 'make airflow' must be running. See them with:"
        echo "    . scripts/env.sh; airflow dags list-runs artwork_nightly"
        exit 0
    fi
    grep -q "database is locked" "$log" || break
    echo "Airflow's SQLite database was being written to; trying again ($try)"
    sleep "$try"
done
tail -n 3 "$log" >&2
stop "the backfill was not created; all that was said is in $log."
