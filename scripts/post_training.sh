#!/usr/bin/env bash
# One run of post-training on this machine, as `make post-training` runs it: the DAG, and what became of the candidate.
# Reads DS from the environment; MARQUEE_WAREHOUSE must hold the input tables.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/env.sh

# Told now, not by the last task.
[ -n "${MARQUEE_REGISTRY:-}" ] || {
    echo "marquee: set MARQUEE_REGISTRY to the URI of an MLflow registry: the candidate is kept and judged there." >&2
    exit 2
}
ds=${DS:-$(python -m examples last-day --warehouse "$MARQUEE_WAREHOUSE")}
scripts/run_dag.sh artwork_post_training "$ds"
python -m training.registry list
echo "The page on the candidate: ${MARQUEE_CHECKPOINTS:-checkpoints}/$ds/dpo/report.html"
