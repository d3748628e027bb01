# Marquee's environment on one machine, in one place. Source it to use `marquee` and Airflow's own commands by hand:
#
#     . scripts/env.sh
#     marquee --help
#     airflow backfill create --dag-id artwork_nightly --from-date 2026-01-05 --to-date 2026-01-09T23:59
#
# Production uses none of this: there you configure Airflow, Spark and MARQUEE_… yourself.

[ -n "${BASH_VERSION:-}" ] || { echo "scripts/env.sh: source it in bash, not in another shell" >&2; return 2; }

MARQUEE_ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
export PATH="$MARQUEE_ROOT/.venv/bin:$MARQUEE_ROOT/.tools/bin:$PATH"
# A stray PYTHONPATH or SPARK_HOME would load other versions than .venv pins.
unset PYTHONPATH SPARK_HOME PYTHONHOME

export MARQUEE_SCORING_PYTHON="${MARQUEE_SCORING_PYTHON:-$MARQUEE_ROOT/.venv/bin/python}"
# What production knows, the model is told: how often each artwork was played.
export MARQUEE_SIGNALS="${MARQUEE_SIGNALS:-[\"play_rate\"]}"
# Two cores train on some 25 examples a second; for a GPU the setting's default is right.
export MARQUEE_TRAINING_EXAMPLES="${MARQUEE_TRAINING_EXAMPLES:-8000}"
# All that training on two cores does not need is held out, so that the log can support an estimate in every slice
# (docs/evaluation.md).
export MARQUEE_HELD_OUT_SHARE="${MARQUEE_HELD_OUT_SHARE:-0.8}"
export MARQUEE_HELD_OUT_EXAMPLES="${MARQUEE_HELD_OUT_EXAMPLES:-50000}"
# One machine runs one engine at a time, and an engine takes most of a minute to start.
export MARQUEE_SHARDS="${MARQUEE_SHARDS:-1}"

# Of its own: in another home, it would migrate the database and change the pools of somebody's Airflow.
[ "${AIRFLOW_HOME:-$MARQUEE_ROOT/.airflow}" = "$MARQUEE_ROOT/.airflow" ] ||
  echo "scripts/env.sh: Airflow's home is $MARQUEE_ROOT/.airflow; AIRFLOW_HOME, $AIRFLOW_HOME, is not used" >&2
export AIRFLOW_HOME="$MARQUEE_ROOT/.airflow"
export AIRFLOW__CORE__DAGS_FOLDER="$MARQUEE_ROOT/dags"
export AIRFLOW__CORE__LOAD_EXAMPLES=False
# Each task is a JVM or an engine: with more at once, a laptop runs out of memory.
export AIRFLOW__CORE__PARALLELISM="${AIRFLOW__CORE__PARALLELISM:-2}"
export AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION=True
export AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL=30
# The UI asks for no password, so it listens on this machine only.
export AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS=True
export AIRFLOW__API__HOST=127.0.0.1
export AIRFLOW_CONN_SPARK_DEFAULT="${AIRFLOW_CONN_SPARK_DEFAULT:-{\"conn_type\": \"spark\", \"host\": \"local[*]\"\}}"

export SPARK_CONF_DIR="${SPARK_CONF_DIR:-$MARQUEE_ROOT/conf/spark}"
# A killed JVM leaves its libraries and blocks behind: here, not in /tmp.
export SPARK_LOCAL_DIRS="$MARQUEE_ROOT/.cache/spark"
export SPARK_SUBMIT_OPTS="\"-Djava.io.tmpdir=$SPARK_LOCAL_DIRS\" -XX:-UsePerfData"
mkdir -p "$SPARK_LOCAL_DIRS"
export SPARK_LOCAL_IP="${SPARK_LOCAL_IP:-127.0.0.1}"
export PYSPARK_PYTHON="$MARQUEE_ROOT/.venv/bin/python"

# Everything is in the clone: turn off downloads and usage reports.
export HF_HUB_OFFLINE=1 TRANSFORMERS_OFFLINE=1 HF_HUB_DISABLE_TELEMETRY=1
export VLLM_NO_USAGE_STATS=1 DO_NOT_TRACK=1
export AIRFLOW__USAGE_DATA_COLLECTION__ENABLED=False

# Caches that libraries would otherwise leave in the home folder or in /tmp.
export HF_HOME="$MARQUEE_ROOT/.cache/huggingface"
export VLLM_CACHE_ROOT="$MARQUEE_ROOT/.cache/vllm" VLLM_CONFIG_ROOT="$MARQUEE_ROOT/.cache/vllm"
export TORCHINDUCTOR_CACHE_DIR="$MARQUEE_ROOT/.cache/torchinductor" TRITON_CACHE_DIR="$MARQUEE_ROOT/.cache/triton"
export MPLCONFIGDIR="$MARQUEE_ROOT/.cache/matplotlib" NUMBA_CACHE_DIR="$MARQUEE_ROOT/.cache/numba"
