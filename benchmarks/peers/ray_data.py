"""Ray Data's LLM processor with its vLLM stage on the CPU, on the flat table in its own order.

A dataset starts its actors when it runs, so the engine's start is timed. This project does not require Ray;
docs/performance.md says how to install it.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from benchmarks.peers.job import Job, Scored
from benchmarks.peers.llm import engine_arguments
from benchmarks.prompt_bucket import prompts_file
from inference.results import softmax

# More than the machine has: each stage, reading and writing request one, and with 2 it waits for ever.
_CPUS = 8
_BATCH = 256


def runnable(sides: Sequence[str]) -> list[str]:
    """The sides that can run here: Ray's is left out, with a message, if Ray is not installed."""
    if "ray_data" in sides and importlib.util.find_spec("ray") is None:
        print("ray_data is left out: the package ray is not installed (docs/performance.md, Scoring)")
        return [side for side in sides if side != "ray_data"]
    return list(sides)


def start(job: Job) -> Callable[[date], Scored]:
    """With Ray's defaults: one block, a failed row fails the dataset, and a rerun starts from the beginning."""
    import ray
    from ray.data import SaveMode
    from ray.data.llm import build_processor, vLLMEngineProcessorConfig

    ray.init(num_cpus=_CPUS, include_dashboard=False, log_to_driver=False)
    config = vLLMEngineProcessorConfig(
        model_source=job.settings.model,
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

    def request(row: dict[str, Any]) -> dict[str, Any]:
        sampling = {"max_tokens": 1, "temperature": 0, "ignore_eos": True, "detokenize": False}
        return {**row, "sampling_params": {**sampling, "logprob_token_ids": labels[: row["options"]]}}

    def result(row: dict[str, Any]) -> dict[str, Any]:
        found = softmax([row["logprobs"][0][label]["logprob"] for label in labels[: row["options"]]])
        pair = {name: row[name] for name in ("user_id", "title_id")}
        return {**pair, "probabilities": found, "prompt_tokens": row["num_input_tokens"]}

    processor = build_processor(config, preprocess=request, postprocess=result)

    def run(ds: date) -> Scored:
        folder = Path(job.into) / str(ds)
        prompts = ray.data.read_parquet(str(prompts_file(Path(job.warehouse), ds)))
        processor(prompts).write_parquet(str(folder), mode=SaveMode.OVERWRITE)
        scored = pq.read_table(folder)
        columns = ["user_id", "title_id", "probabilities"]
        # Ray's outputs do not report cached tokens.
        tokens = sum(scored["prompt_tokens"].to_pylist())
        return Scored(tokens, None, lambda: [{**row, "answer": None} for row in scored.select(columns).to_pylist()])

    return run
