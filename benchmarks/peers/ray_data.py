"""Ray Data's LLM processor with its vLLM stage, given the CPU, on the flat table in its own order.

A dataset starts its actors when it is run, so the engine starts within the clock. Ray is no requirement of this
project: docs/performance.md says how to install it beside it.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.peers.job import Job, Scored
from benchmarks.peers.llm import engine_arguments
from benchmarks.prompt_bucket import prompts_file
from inference.results import softmax

# More than there are, for its stages and its own reading and writing all ask for one: with 2 it waits for ever.
_CPUS = 8
_BATCH = 256
# Of a dataset that may resume, where a block is done or not done: as many as the buckets that benchmarks/work_lost.py
# gives Marquee by default. Left alone, Ray reads all prompts as one, however many files they are in.
_BLOCKS = 16
_PAIR = "pair"


def runnable(sides: Sequence[str]) -> list[str]:
    """The sides that can run here: where Ray is not installed, its own are left out, and it is said."""
    left_out = [side for side in sides if side.startswith("ray_data")]
    if not left_out or importlib.util.find_spec("ray") is not None:
        return list(sides)
    print(f"{', '.join(left_out)}: left out, for the package ray is not installed here (docs/performance.md, Scoring)")
    return [side for side in sides if side not in left_out]


def start(job: Job) -> Callable[[date], Scored]:
    """As it comes: one block, a row that fails fails the dataset, and a dataset that is run again begins anew."""
    return _processor(job, resumes=False)


def start_resuming(job: Job) -> Callable[[date], Scored]:
    """In several blocks, with its checkpoints, and with rows that fail kept as rows of no probabilities."""
    return _processor(job, resumes=True)


def _processor(job: Job, resumes: bool) -> Callable[[date], Scored]:
    import ray
    from ray.data import DataContext, SaveMode
    from ray.data.checkpoint import CheckpointConfig
    from ray.data.llm import build_processor, vLLMEngineProcessorConfig

    ray.init(num_cpus=_CPUS, include_dashboard=False, log_to_driver=False)
    config = vLLMEngineProcessorConfig(
        model_source=job.model,
        engine_kwargs=engine_arguments(job),
        batch_size=_BATCH,
        concurrency=1,
        chat_template_stage=False,
        tokenize_stage=False,
        detokenize_stage=False,
        placement_group_config={"bundles": [{"CPU": 1}]},
        log_engine_metrics=False,
        should_continue_on_error=resumes,
    )
    labels = job.labels

    def asked(row: dict[str, Any]) -> dict[str, Any]:
        sampling = {"max_tokens": 1, "temperature": 0, "ignore_eos": True, "detokenize": False}
        return {**row, "sampling_params": {**sampling, "logprob_token_ids": labels[: row["options"]]}}

    def answered(row: dict[str, Any]) -> dict[str, Any]:
        kept = {name: row[name] for name in ("user_id", "title_id", _PAIR) if name in row}
        first = row["logprobs"][0]
        found = softmax([first[label]["logprob"] for label in labels[: row["options"]]])
        return {**kept, "probabilities": found, "prompt_tokens": row["num_input_tokens"]}

    processor = build_processor(config, preprocess=asked, postprocess=answered)

    def run(ds: date) -> Scored:
        folder = Path(job.into) / str(ds)
        prompts = prompts_file(Path(job.warehouse), ds)
        if resumes:
            done = Path(job.into) / f"done-{ds}"
            DataContext.get_current().checkpoint_config = CheckpointConfig(_PAIR, str(done))
            rows = ray.data.read_parquet(str(_with_pairs(prompts, Path(job.into) / f"prompts-{ds}.parquet")))
            processor(rows.repartition(_BLOCKS)).write_parquet(str(folder))
        else:
            processor(ray.data.read_parquet(str(prompts))).write_parquet(str(folder), mode=SaveMode.OVERWRITE)
        # A row that failed has none: `answered` does not see it.
        tokens = sum(row["prompt_tokens"] or 0 for row in _read(folder, ["prompt_tokens"]))
        columns = ["user_id", "title_id", "probabilities"]
        # Its outputs do not tell what was cached.
        return Scored(tokens, None, lambda: [{**row, "answer": None} for row in _read(folder, columns)])

    return run


def _read(folder: Path, columns: list[str]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(folder, columns=columns).to_pylist()
    return rows


def _with_pairs(prompts: Path, into: Path) -> Path:
    """The flat table with the one column that tells a row from all others, which checkpoints ask for."""
    table = pq.read_table(prompts)
    pairs = [f"{user_id} {title_id}" for user_id, title_id in zip(table["user_id"], table["title_id"], strict=True)]
    pq.write_table(table.append_column(_PAIR, pa.array(pairs)), into)
    return into
