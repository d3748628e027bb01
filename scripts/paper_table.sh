#!/usr/bin/env bash
# The paper's table on a sample service: 110,000 training examples, every policy, judged on 5,000 held-out impressions as in
# the paper and then on all there are, each estimate beside the true value. Takes about two hours on two cores.
# Reads SERVICE, MOVIELENS and WAREHOUSE from the environment; what is done already is not done again.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/env.sh

service=${SERVICE:-simulated}
warehouse=$MARQUEE_WAREHOUSE
# A third of the users are held out: 5,000 of their impressions cannot tell 3 % from nothing, some 50,000 can.
export MARQUEE_TRAINING_EXAMPLES=110000 MARQUEE_HELD_OUT_SHARE=0.33 MARQUEE_HELD_OUT_EXAMPLES=60000
export MARQUEE_WAREHOUSE MARQUEE_SIGNALS

said() { printf '\n\033[1m%s\033[0m  %s\n' "$(date -u +%H:%M:%S)" "$*"; }

fill() { # folder
    [ -d "$1/viewing_history" ] && return
    case $service in
        simulated) python -m examples simulated --users 1200 --warehouse "$1" ;;
        movielens) python -m examples movielens --folder "$MOVIELENS" --warehouse "$1" ;;
        *) echo "marquee: SERVICE is '$service', expected simulated or movielens." >&2; exit 1 ;;
    esac
}

trained() { # recipe, base, options: the checkpoint's folder is named as the recipe
    said "training $1"
    python -m "training.$1" --ds "$ds" --base "$2" --out "$MARQUEE_WAREHOUSE/checkpoints/$1" "${@:3}"
}

judged() { # candidate, models that stand beside it
    local model models=()
    for model in "$@"; do
        said "scoring held-out questions with $model"
        python -m inference.held_out --ds "$ds" --model "$model"
        models+=(--model "$model")
    done
    said "scoring held-out questions with $1 in four orders"
    python -m inference.held_out --ds "$ds" --model "$1" --orders 4
    models+=(--model "$(python -c 'import sys; from inference.checkpoint import read_checkpoint; print(read_checkpoint(sys.argv[1]).version)' "$1")+orders4")
    for most in 5000 "$MARQUEE_HELD_OUT_EXAMPLES"; do
        said "policies on up to $most held-out impressions, signals $MARQUEE_SIGNALS"
        MARQUEE_HELD_OUT_EXAMPLES=$most python -m evaluation.evaluate --ds "$ds" --candidate "$1" --champion logging "${models[@]}"
    done
    python -m evaluation.report --ds "$ds" --candidate "$1" --champion logging --out "$MARQUEE_WAREHOUSE/report.html"
}

# Without and with what a traditional recommender knows, on the same impressions.
for MARQUEE_SIGNALS in '[]' '["play_rate"]'; do
    MARQUEE_WAREHOUSE=$warehouse
    [ "$MARQUEE_SIGNALS" = '[]' ] || MARQUEE_WAREHOUSE=$warehouse-signals
    said "the $service service in $MARQUEE_WAREHOUSE, signals $MARQUEE_SIGNALS"
    fill "$MARQUEE_WAREHOUSE"
    ds=$(python -m examples last-day --warehouse "$MARQUEE_WAREHOUSE")
    made=$MARQUEE_WAREHOUSE/checkpoints
    [ -d "$MARQUEE_WAREHOUSE/post_training_examples" ] || python -m spark_jobs examples --ds "$ds"
    trained sft "$MARQUEE_MODEL"
    trained dpo "$made/sft"
    if [ "$MARQUEE_SIGNALS" = '[]' ]; then
        # Its teacher is no model: it writes templated reasons from the artworks' true themes.
        trained reasoning "$MARQUEE_MODEL" --limit 10000
        trained grpo "$made/sft" --limit 2000
        judged "$made/dpo" "$made/sft" "$made/reasoning" "$made/grpo" "$MARQUEE_MODEL"
    else
        judged "$made/dpo" "$made/sft" "$MARQUEE_MODEL"
    fi
done
