#!/usr/bin/env bash
# The paper's table on a sample service: 110,000 training examples, every policy, judged on 5,000 held-out impressions as in
# the paper and then on as many as the claim needs, each estimate beside the true value. Takes over three hours on two cores.
# Reads SERVICE, MOVIELENS and MARQUEE_WAREHOUSE from the environment; what is done already in that warehouse, which
# must be its own, is not done again.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/env.sh
. scripts/stop.sh

service=${SERVICE:-simulated}
warehouse=$MARQUEE_WAREHOUSE
export MARQUEE_TRAINING_EXAMPLES=110000 MARQUEE_HELD_OUT_EXAMPLES=90000
# 5,000 held-out impressions cannot tell 3 % from nothing: as many users are held out as are left by those to learn from.
case $service in
    simulated) MARQUEE_HELD_OUT_SHARE=0.5 ;;
    movielens) MARQUEE_HELD_OUT_SHARE=0.33 ;;
    *) stop "SERVICE is '$service', expected simulated or movielens." ;;
esac
export MARQUEE_HELD_OUT_SHARE MARQUEE_WAREHOUSE MARQUEE_SIGNALS

said() { printf '\n\033[1m%s\033[0m  %s\n' "$(date -u +%H:%M:%S)" "$*"; }

in_warehouse() { # folder, signals: what follows works there
    MARQUEE_WAREHOUSE=$1 MARQUEE_SIGNALS=$2
    said "the $service service in $1, signals $2"
    if [ ! -d "$1/viewing_history" ]; then
        case $service in
            simulated) python -m examples simulated --users 1700 --warehouse "$1" ;;
            movielens) python -m examples movielens --folder "$MOVIELENS" --warehouse "$1" ;;
        esac
        echo "$service" > "$1/.paper-table"
    elif [ "$(cat "$1/.paper-table" 2> /dev/null)" != "$service" ]; then
        # A smaller sample, or another, would be trained on and judged as if it were this one.
        stop "$1 holds tables that make paper-table SERVICE=$service did not make: name another WAREHOUSE."
    fi
    ds=$(python -m examples last-day --warehouse "$1")
    # The tables are there from the job's beginning on: they do not tell that it ended.
    [ -e "$1/.examples-made" ] || { python -m spark_jobs examples --ds "$ds"; touch "$1/.examples-made"; }
}

trained() { # recipe, base, options: the checkpoint's folder is named as the recipe
    said "training $1"
    python -m "training.$1" --ds "$ds" --base "$2" --out "$made/$1" "${@:3}"
}

scored() { # model, options
    said "scoring held-out questions with $*"
    python -m inference.held_out --ds "$ds" --model "$@"
}

in_warehouse "$warehouse" '["play_rate"]'
made=$warehouse/checkpoints
# The tiny Llama knows the form of an answer, and gains nothing by plays alone: a quarter of them shows it.
trained sft "$MARQUEE_MODEL" --limit 12500
trained dpo "$made/sft"
scored "$made/dpo" --orders 4
# Its teacher is no model: it writes templated reasons from the artworks' true themes.
trained reasoning "$MARQUEE_MODEL" --limit 10000
trained grpo "$made/sft" --limit 500
for model in "$MARQUEE_MODEL" "$made"/{dpo,sft,reasoning,grpo}; do
    scored "$model"
done

# The same impressions with neither signal and with taste groups alone: what the untrained model makes of them tells, as
# differences to its answers with neither, what each signal is worth.
in_warehouse "$warehouse-plain" '[]'
scored "$MARQUEE_MODEL"
in_warehouse "$warehouse-taste" '["taste_group"]'
scored "$MARQUEE_MODEL"

in_warehouse "$warehouse" '["play_rate"]'
for most in 5000 "$MARQUEE_HELD_OUT_EXAMPLES"; do
    said "policies on up to $most held-out impressions"
    MARQUEE_HELD_OUT_EXAMPLES=$most python -m evaluation.evaluate --ds "$ds" --candidate "$made/dpo" --champion logging \
        --model "$made/dpo+orders4" --model "$made/sft" --model "$made/reasoning" --model "$made/grpo" --model "$MARQUEE_MODEL" \
        --beside "$warehouse-plain" "$MARQUEE_MODEL" --beside "$warehouse-taste" "$MARQUEE_MODEL" \
        --against most_popular --against "$MARQUEE_MODEL" --against "$MARQUEE_MODEL in ${warehouse##*/}-plain"
done
python -m evaluation.report --ds "$ds" --candidate "$made/dpo" --champion logging --out "$warehouse/report.html"
