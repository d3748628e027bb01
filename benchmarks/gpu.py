"""Pairs a second of Marquee and of vLLM alone on a GPU, sizes of steps, and where the seconds go.

Both sides use one engine in one process: marquee bench gpu PART … --night FOLDER [--into FOLDER]. Each part starts one
engine or more:

    night      makes the night; `reference` scores it with the tiny Llama as the machine does by default: on a CPU
    host       the tiny Llama: what the host can do, a profile of it, and its probabilities against the reference
    fp8, bf16  Llama 3.1 8B's shape with random weights: every side, sizes of steps, the GPU's seconds by kernel
    variants   that shape in FP8 with other kernels and caches
    processes  the tiny Llama with vLLM's engine in a process of its own, as a GPU scores by default

Each result is printed, and written to `<into>/gpu-<parts>.json`, as soon as it is there. All parts but the last need
VLLM_ENABLE_V1_MULTIPROCESSING=0: they change the steps of an engine that runs.
"""

from __future__ import annotations

import argparse
import cProfile
import gc
import io
import json
import pstats
import re
import shutil
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.gpu_seconds import PEAK, kernels, products, timed
from benchmarks.prompt_bucket import MEASURED, WARM_UP, make_nights, prompts_file
from inference.checkpoint import Checkpoint, read_checkpoint
from inference.engine import Engine
from inference.job import ScoringJob
from inference.score import Shard
from inference.tokens import Tokens
from schemas.settings import Settings
from schemas.tables import ARTWORK_SCORES

Found = dict[str, Any]
# The longest prompt of the night has some 530 tokens.
LENGTH = 2048
LLAMA_8B = """{"architectures": ["LlamaForCausalLM"], "model_type": "llama", "torch_dtype": "bfloat16",
"vocab_size": 128256, "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32,
"num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 128, "max_position_embeddings": 2048,
"rms_norm_eps": 1e-5, "rope_theta": 500000.0, "hidden_act": "silu", "tie_word_embeddings": false, "bos_token_id": 0,
"eos_token_id": 2}"""
# Operations of all its weights for a token: the usual count. Its layers' products alone are 13.96e9.
FLOP = 16.06e9
# (tokens, prompts) of a step, those of the settings first.
STEPS = {
    "fp8": ((16384, 256), (16384, 512), (16384, 1024), (8192, 512), (32768, 512), (32768, 1024)),
    "none": ((16384, 256), (16384, 512), (32768, 512)),
}
_FUSED = {
    "custom_ops": ["+quant_fp8", "+rms_norm", "+silu_and_mul"],
    "pass_config": {"fuse_norm_quant": True, "fuse_act_quant": True},
}
VARIANTS: dict[str, Found] = {
    "kernels that norm and quantize": {"compilation_config": _FUSED},
    "cache in FP8": {"kv_cache_dtype": "fp8"},
    "scales per channel": {"quantization": "fp8_per_channel"},
}


class Bench:
    """The night, the tiny Llama, the engine that runs, and the file that results go to."""

    def __init__(self, night: Path, file: Path) -> None:
        self.night, self.file, self.began = night, file, time.perf_counter()
        self.config = Settings().model_copy(update={"warehouse": str(night)})
        self.tiny = read_checkpoint(Settings().model)
        self.tokens = Tokens(self.tiny)
        self.results: list[Found] = []
        self.engine: Any = None
        self.model = self.tiny

    def keep(self, what: str, **found: Any) -> None:
        self.results.append({"what": what, "at": round(time.perf_counter() - self.began, 1), **found})
        print({name: each for name, each in self.results[-1].items() if name != "lines"}, flush=True)
        torch, vllm = (sys.modules.get(name) for name in ("torch", "vllm"))
        about = {
            "device": torch.cuda.get_device_name() if torch and torch.cuda.is_available() else "CPU",
            "versions": {module.__name__: module.__version__ for module in (torch, vllm) if module},
        }
        self.file.write_text(json.dumps({**about, "results": self.results}, indent=1) + "\n")

    def start(self, what: str, model: Checkpoint, config: Settings, **further: Any) -> None:
        began = time.perf_counter()
        self.config, self.model, self.engine = config, model, Engine(model, config, self.tokens.labels, further)
        seconds = round(time.perf_counter() - began, 1)
        self.marquee(WARM_UP)
        self.keep(f"{what}: start", seconds=seconds)

    def stop(self) -> None:
        """End the engine, and give back the GPU's memory."""
        if self.engine is not None:
            self.engine.llm.llm_engine.engine_core.shutdown()
            self.engine = None
        gc.collect()
        torch = sys.modules.get("torch")
        if torch and torch.cuda.is_available():
            torch.cuda.empty_cache()

    def set_steps(self, tokens: int, prompts: int) -> None:
        """Change what the engine may take in a step; no more than it was started with."""
        scheduler = self.engine.llm.llm_engine.engine_core.engine_core.scheduler
        self.engine.in_flight = self.engine.in_flight // scheduler.max_num_running_reqs * prompts
        scheduler.max_num_scheduled_tokens = tokens
        # vLLM 0.26 looks at the first when it takes a prompt, the pinned version at the second.
        scheduler.max_num_running_reqs = scheduler.max_num_active_reqs = prompts

    def scored(self, ds: date = MEASURED) -> Shard:
        """Score a night, from the tables on disk to the table on disk, in a new warehouse."""
        night = ScoringJob(str(self.night), ds, tempfile.mkdtemp(prefix="marquee-gpu-"))
        night.create_missing()
        shard = Shard(night, self.config, self.model, 0, 1)
        shard.score(lambda *_: self.engine)
        return shard

    def marquee(self, ds: date = MEASURED) -> Found:
        began = time.perf_counter()
        counts = self.scored(ds).counts
        return self.rates(counts["pairs"], began, counts["prompt_tokens"], counts["cached_tokens"])

    def probabilities(self) -> dict[Any, list[float]]:
        night = ScoringJob(str(self.night), MEASURED, self.scored().job.into)
        rows = night.rows(ARTWORK_SCORES, ["user_id", "title_id", "probabilities"])
        return {(row["user_id"], row["title_id"]): row["probabilities"] for row in rows}

    def generate(self, pairs: int | None = None) -> Found:
        """`LLM.generate` on ready-made token ids, sorted by user; results are thrown away."""
        rows = sorted(self._rows(), key=lambda row: (row["user_id"], row["title_id"]))[:pairs]
        prompts = [self._ids(row) for row in rows]
        sampling = self._sampling(max_tokens=1, logprob_token_ids=self.tokens.labels[:3], flat_logprobs=True)
        return self._asked(lambda: self.engine.llm.generate(prompts, sampling, use_tqdm=False))

    def usual(self) -> Found:
        """The usual script: the table's order, from text to ids and back, up to 8 tokens, a regular expression."""
        rows, sampling = self._rows(), self._sampling(max_tokens=8)

        def run() -> list[Any]:
            outputs: list[Any] = self.engine.llm.generate(list(map(self._ids, rows)), sampling, use_tqdm=False)
            for output in outputs:
                re.search("[123]", self.tokens.text(list(output.outputs[0].token_ids)))
            return outputs

        return self._asked(run)

    def _rows(self) -> list[Found]:
        """One prompt text per pair, in the table's order."""
        rows: list[Found] = pq.read_table(prompts_file(self.night, MEASURED)).to_pylist()
        return rows

    def _ids(self, row: Found) -> Found:
        return {"prompt_token_ids": self.tokens.context(row["prompt"]).ids}

    def _sampling(self, **how: Any) -> Any:
        return type(self.engine.llm.get_default_sampling_params())(temperature=0, detokenize=False, **how)

    def _asked(self, run: Callable[[], list[Any]]) -> Found:
        self.engine.llm.llm_engine.reset_prefix_cache()
        began = time.perf_counter()
        outputs = run()
        # A prompt's last answer token is never computed.
        tokens = sum(len(output.prompt_token_ids) + len(output.outputs[0].token_ids) - 1 for output in outputs)
        return self.rates(len(outputs), began, tokens, sum(output.num_cached_tokens or 0 for output in outputs))

    def rates(self, pairs: int, began: float, prompt: int, cached: int) -> Found:
        seconds = time.perf_counter() - began
        found = {"pairs": pairs, "seconds": round(seconds, 2), "pairs_per_second": round(pairs / seconds, 1)}
        found |= {"computed_per_second": round((prompt - cached) / seconds), "cached_share": round(cached / prompt, 4)}
        if self.model is not self.tiny:
            peak = PEAK[self.model.quantization]
            found["share_of_peak"] = round((prompt - cached) / seconds * FLOP / peak, 3)
        return found


def of_large(bench: Bench, model: Checkpoint) -> None:
    kind = model.quantization
    tokens, prompts = (max(each) for each in zip(*STEPS[kind], strict=True))
    most = {"max_num_batched_tokens": tokens, "max_num_seqs": prompts, "gpu_memory_utilization": 0.45}
    bench.start(kind, model, bench.config.model_copy(update=most), load_format="dummy")
    for tokens, prompts in STEPS[kind]:
        bench.set_steps(tokens, prompts)
        bench.keep(f"{kind}: marquee, {tokens} tokens, {prompts} prompts", **bench.marquee())
    bench.set_steps(*STEPS[kind][0])
    bench.keep(f"{kind}: LLM.generate, ids sorted by user", **bench.generate())
    bench.keep(f"{kind}: kernels", **kernels(lambda: bench.generate(1000)))
    bench.keep(f"{kind}: matrix products alone", **products())
    bench.keep(f"{kind}: marquee again", **bench.marquee())
    bench.keep(f"{kind}: the usual script", **bench.usual())


def of_variant(bench: Bench, model: Checkpoint, name: str) -> None:
    part = bench.config.model_copy(update={"gpu_memory_utilization": 0.35})
    bench.start(name, model, part, load_format="dummy", **VARIANTS[name])
    bench.keep(f"fp8, {name}: marquee", **bench.marquee())
    bench.keep(f"fp8, {name}: kernels", **kernels(lambda: bench.generate(1000)))


def of_host(bench: Bench) -> None:
    part = bench.config.model_copy(update={"gpu_memory_utilization": 0.2, "max_num_seqs": 1024})
    bench.start("tiny", bench.tiny, part)
    for prompts in (256, 512, 1024):
        bench.set_steps(part.steps(on_cpu=False).max_num_batched_tokens, prompts)
        bench.keep(f"tiny: marquee, {prompts} prompts", **timed(bench.marquee))
    bench.keep("tiny: LLM.generate", **timed(bench.generate))
    profile, text = cProfile.Profile(), io.StringIO()
    profile.runcall(bench.marquee)
    pstats.Stats(profile, stream=text).sort_stats("tottime").print_stats(70).sort_stats("cumtime").print_stats(70)
    bench.keep("tiny: profile", lines=text.getvalue().splitlines())


def of_processes(bench: Bench) -> None:
    bench.start("tiny, two processes", bench.tiny, bench.config)
    bench.keep("tiny, two processes: marquee", **timed(bench.marquee))
    bench.keep("tiny, two processes: LLM.generate", **timed(bench.generate))


def of_numbers(bench: Bench, reference: Path, dtype: str, model: Checkpoint) -> None:
    """The tiny Llama's probabilities against those of the reference."""
    known = {(row["user_id"], row["title_id"]): row["probabilities"] for row in pq.read_table(reference).to_pylist()}
    name = f"numbers: {dtype}, {model.quantization}"
    part = bench.config.model_copy(update={"gpu_memory_utilization": 0.1, "dtype": dtype})
    bench.start(name, model, part, enforce_eager=True)
    found = bench.probabilities()
    apart = [abs(one - other) for pair in known for one, other in zip(known[pair], found[pair], strict=True)]
    same = [each.index(max(each)) == found[pair].index(max(found[pair])) for pair, each in known.items()]
    mean, share = sum(apart) / len(apart), sum(same) / len(same)
    bench.keep(name, pairs=len(known), largest=max(apart), mean=mean, same_best=share)


def make_reference(bench: Bench, file: Path) -> None:
    bench.start("reference", bench.tiny, bench.config)
    found = bench.probabilities().items()
    rows = [{"user_id": user, "title_id": title, "probabilities": each} for (user, title), each in found]
    pq.write_table(pa.Table.from_pylist(rows), file)


def make_large(folder: Path, tokenizer: Path) -> Checkpoint:
    """Llama 3.1 8B's shape, for weights that no file holds."""
    for file in tokenizer.glob("tokenizer*"):
        shutil.copy(file, folder)
    (folder / "config.json").write_text(LLAMA_8B)
    return Checkpoint(folder, "llama-8b", "llama-8b@random", (), LENGTH, json.loads(LLAMA_8B)["vocab_size"], 0)


def main(arguments: list[str] | None = None) -> int:
    how = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser("marquee bench gpu", description=__doc__, formatter_class=how)
    parts = ("night", "reference", "host", "fp8", "bf16", "variants", "processes")
    parser.add_argument("parts", nargs="+", choices=parts)
    parser.add_argument("--night", type=Path, required=True, help="the folder that the part `night` makes")
    parser.add_argument("--into", type=Path, default=Path("benchmarks/results"), help="default: %(default)s")
    parser.add_argument("--users", type=int, default=300, help="of the night that is made; default: %(default)s")
    parser.add_argument("--reference", type=Path, help="scores to compare with; the part `reference` makes them")
    parsed = parser.parse_args(arguments)
    if "night" in parsed.parts:
        make_nights(parsed.night, parsed.users)
        return 0
    parsed.into.mkdir(parents=True, exist_ok=True)
    bench = Bench(parsed.night, parsed.into / f"gpu-{'-'.join(parsed.parts)}.json")
    model = make_large(Path(tempfile.mkdtemp(prefix="marquee-llama-")), bench.tiny.path)
    numbers = [("bfloat16", bench.tiny), ("bfloat16", bench.tiny.quantized("fp8")), ("float32", bench.tiny)]
    work: dict[str, list[Callable[[], None]]] = {
        "reference": [lambda: make_reference(bench, parsed.reference)],
        "host": [
            lambda: of_host(bench),
            *(partial(of_numbers, bench, parsed.reference, dtype, each) for dtype, each in numbers),
        ],
        "fp8": [lambda: of_large(bench, model.quantized("fp8"))],
        "bf16": [lambda: of_large(bench, model)],
        "variants": [partial(of_variant, bench, model.quantized("fp8"), name) for name in VARIANTS],
        "processes": [lambda: of_processes(bench)],
    }
    failed = 0
    for step in [step for part in parsed.parts for step in work[part]]:
        # What fails is a result too, and what comes after it still runs.
        try:
            step()
        except Exception:
            failed = 1
            bench.keep("FAILED", lines=traceback.format_exc().splitlines())
        bench.stop()
    return failed


if __name__ == "__main__":
    sys.exit(main())
