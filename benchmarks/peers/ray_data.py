"""Ray Data's LLM processor with its vLLM stage, given the CPU, on the flat table in its own order.

A dataset starts its actors when it is run, so the engine starts within the clock. Ray is no requirement of this
project: docs/performance.md says how to install it beside it.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from benchmarks.peers.job import Job, Scored
from benchmarks.peers.llm import engine_arguments
from benchmarks.prompt_bucket import prompts_file
from inference.results import softmax

# More than there are, for its stages and its own reading and writing all ask for one: with 2 it waits for ever.
_CPUS = 8
_BATCH = 256


def start(job: Job) -> Callable[[date], Scored]:
    import ray
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
    )
    labels = job.labels

    def asked(row: dict[str, Any]) -> dict[str, Any]:
        sampling = {"max_tokens": 1, "temperature": 0, "ignore_eos": True, "detokenize": False}
        return {**row, "sampling_params": {**sampling, "logprob_token_ids": labels[: row["options"]]}}

    def answered(row: dict[str, Any]) -> dict[str, Any]:
        first = row["logprobs"][0]
        found = softmax([first[label]["logprob"] for label in labels[: row["options"]]])
        pair = {"user_id": row["user_id"], "title_id": row["title_id"]}
        return {**pair, "probabilities": found, "prompt_tokens": row["num_input_tokens"]}

    processor = build_processor(config, preprocess=asked, postprocess=answered)

    def run(ds: date) -> Scored:
        folder = Path(job.into) / str(ds)
        processor(ray.data.read_parquet(str(prompts_file(Path(job.warehouse), ds)))).write_parquet(str(folder))
        tokens = sum(pq.read_table(folder, columns=["prompt_tokens"])["prompt_tokens"].to_pylist())
        # Its outputs do not tell what was cached.
        return Scored(tokens, None, lambda: [{**row, "answer": None} for row in pq.read_table(folder).to_pylist()])

    return run
