"""Pairs a second of Marquee and of vLLM alone on a GPU: one engine in one process, from the same tables on disk.

`8b` has Llama 3.1 8B's shape with random weights: it measures the rate at which a night is scored. `tiny` is the tiny
Llama, which leaves a GPU idle: it measures what the host can do, and whether the probabilities match another machine's.
MARQUEE_… settings apply, such as MARQUEE_QUANTIZATION=fp8 and MARQUEE_MAX_NUM_SEQS. On a GPU vLLM's engine runs in its
own process unless VLLM_ENABLE_V1_MULTIPROCESSING=0 is set; only with that setting are its kernels listed.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from benchmarks import harness
from benchmarks.harness import Row, Table
from benchmarks.peers.job import Job
from benchmarks.peers.llm import label_sampling, text_sampling, token_counts
from benchmarks.peers.text import parsed
from benchmarks.prompt_bucket import MEASURED, OPTIONS, WARM_UP, make_nights
from inference.checkpoint import Checkpoint
from inference.engine import Engine
from inference.job import ScoringJob
from inference.score import score_shard
from inference.tokens import Tokens
from schemas.tables import ARTWORK_SCORES

Scores = dict[tuple[str, str], list[float]]
# The longest prompt of the night has some 530 tokens, so a context length of 2,048 is enough.
LLAMA_8B = """{"architectures": ["LlamaForCausalLM"], "model_type": "llama", "torch_dtype": "bfloat16",
"vocab_size": 128256, "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32,
"num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 128, "max_position_embeddings": 2048,
"rms_norm_eps": 1e-5, "rope_theta": 500000.0, "hidden_act": "silu", "tie_word_embeddings": false, "bos_token_id": 0,
"eos_token_id": 2}"""
# FLOP per token over all weights, the usual count. The matrix products of its layers alone take 13.96e9.
FLOP = 16.06e9
# Dense FLOP/s of an H100 or H200, by number type.
PEAK = {"none": 989.4e12, "fp8": 1978.9e12}


@dataclass(frozen=True)
class Bench:
    """A night, a running engine, and an empty folder for scores. `job` has the tokenizer and the settings."""

    job: Job
    model: Checkpoint
    engine: Engine
    folder: Path

    def marquee(self, ds: date = MEASURED, into: str = "warm-up") -> Row:
        """Score a night, from the tables on disk to the table on disk, in the new folder `into`."""
        began = time.perf_counter()
        night = ScoringJob(self.job.warehouse, ds, str(self.folder / into))
        counts = score_shard(night, self.job.settings, model=self.model, start=lambda *_: self.engine)
        prompt, cached = counts["prompt_tokens"], counts["cached_tokens"]
        return self.row("Marquee", counts["pairs"], began, prompt, prompt - cached)

    def generate(self, pairs: int | None = None) -> Row:
        """`LLM.generate` on ready-made token ids, sorted by user; the results are discarded."""
        rows = sorted(self.job.prompts(MEASURED), key=lambda row: (row["user_id"], row["title_id"]))[:pairs]
        ids, sampling = self._ids(rows), label_sampling(self.job, OPTIONS)
        return self._timed("LLM.generate", lambda: self.engine.llm.generate(ids, sampling, use_tqdm=False))

    def usual(self) -> Row:
        """The usual script: the table's order, from text to ids and back, up to 8 tokens, a regular expression."""
        rows, sampling = self.job.prompts(MEASURED), text_sampling(detokenize=False)
        tokens = Tokens(self.job.checkpoint)

        def run() -> list[Any]:
            outputs: list[Any] = self.engine.llm.generate(self._ids(rows), sampling, use_tqdm=False)
            for output in outputs:
                parsed(tokens.text(list(output.outputs[0].token_ids)), OPTIONS)
            return outputs

        return self._timed("the usual script", run)

    def _ids(self, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        tokens = Tokens(self.job.checkpoint)
        return [{"prompt_token_ids": tokens.context(row["prompt"]).ids} for row in rows]

    def _timed(self, side: str, run: Callable[[], list[Any]]) -> Row:
        self.engine.llm.llm_engine.reset_prefix_cache()
        began = time.perf_counter()
        outputs = run()
        return self.row(side, len(outputs), began, *token_counts(outputs))

    def row(self, side: str, pairs: int, began: float, prompt: int, computed: int) -> Row:
        seconds = time.perf_counter() - began
        found: Row = {"side": side, "pairs": pairs, "seconds": seconds, "pairs/s": pairs / seconds}
        found |= {"computed tokens/s": computed / seconds, "computed / prompt": computed / prompt}
        if self.model.path != self.job.checkpoint.path:
            found["share of the peak"] = computed / seconds * FLOP / PEAK[self.model.quantization]
        return found


def kernels(run: Callable[[], object]) -> list[Row]:
    """The GPU's seconds of a run by kernel: the total, then the longest."""
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CUDA]) as profiled:
        run()
    spent = [(event.self_device_time_total / 1e6, event.count, event.key[:150]) for event in profiled.key_averages()]
    spent.append((sum(seconds for seconds, *_ in spent), sum(calls for _, calls, _ in spent), "all"))
    longest = sorted(spent, reverse=True)[:21]
    return [{"kernel": name, "calls": calls, "seconds": seconds} for seconds, calls, name in longest]


def scores(folder: Path) -> Scores:
    """The probabilities that Marquee wrote for the measured night, by pair."""
    rows = ScoringJob(str(folder), MEASURED).rows(ARTWORK_SCORES, ["user_id", "title_id", "probabilities"])
    return {(row["user_id"], row["title_id"]): row["probabilities"] for row in rows}


def differences(known: Scores, found: Scores) -> Row:
    """How far probabilities are from the known ones, and the share of pairs with the same best artwork."""
    apart = [abs(one - other) for pair in known for one, other in zip(known[pair], found[pair], strict=True)]
    same = [each.index(max(each)) == found[pair].index(max(found[pair])) for pair, each in known.items()]
    row: Row = {"pairs": len(known), "largest": max(apart), "mean": sum(apart) / len(apart)}
    return {**row, "same best artwork": sum(same) / len(same)}


def make_large(folder: Path, tokenizer: Path) -> Checkpoint:
    """A checkpoint of Llama 3.1 8B's shape, without weight files."""
    folder.mkdir()
    for file in tokenizer.glob("tokenizer*"):
        shutil.copy(file, folder)
    (folder / "config.json").write_text(LLAMA_8B)
    shape = json.loads(LLAMA_8B)
    length, words = shape["max_position_embeddings"], shape["vocab_size"]
    return Checkpoint(folder, "llama-8b", "llama-8b@random", (), length, words, shape["bos_token_id"])


def measure(arguments: argparse.Namespace, folder: Path) -> Iterator[Table]:
    make_nights(folder / "night", arguments.users)
    job, tiny = Job(str(folder / "night")), arguments.model == "tiny"
    model = job.checkpoint if tiny else make_large(folder / "model", job.checkpoint.path)
    model = model.quantized(job.settings.quantization)
    began = time.perf_counter()
    engine = Engine(model, job.settings, job.labels, {} if tiny else {"load_format": "dummy"})
    title = f"{model.version}, one run a line; the engine started in {time.perf_counter() - began:.0f} s"
    bench = Bench(job, model, engine, arguments.into or folder)
    bench.marquee(WARM_UP)
    first, alone = bench.marquee(into="first"), bench.generate()
    yield title, [first, alone, bench.marquee(into="again"), bench.usual()]
    if arguments.reference:
        found, known = scores(bench.folder / "first"), scores(arguments.reference)
        yield f"Probabilities against those in {arguments.reference}", [differences(known, found)]
    if not tiny and os.environ.get("VLLM_ENABLE_V1_MULTIPROCESSING") == "0":
        yield "The GPU's seconds by kernel, for 1,000 pairs by LLM.generate", kernels(lambda: bench.generate(1000))


def main(arguments: list[str]) -> int:
    parser = harness.parser("gpu", __doc__)
    parser.add_argument("model", choices=("8b", "tiny"), help="what scores")
    parser.add_argument("--users", type=int, default=300, help="users, of 20 pairs each")
    parser.add_argument("--into", type=Path, help="an empty folder for Marquee's scores, instead of a temporary one")
    parser.add_argument("--reference", type=Path, help="scores to compare with: the folder `first` in another --into")
    return harness.run(parser, arguments, measure)
