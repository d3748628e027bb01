"""Where a run's seconds go: the host's by thread, the GPU's by kernel, and what its matrix products reach alone."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import psutil

Found = dict[str, Any]
# Operations a second that an H100 or H200 does, dense, by number type.
PEAK = {"none": 989.4e12, "fp8": 1978.9e12}
# (inputs, outputs) of the matrix products of a layer of Llama 3.1 8B.
PRODUCTS = ((4096, 6144), (4096, 4096), (4096, 28672), (14336, 4096))


def timed(run: Callable[[], Found]) -> Found:
    """What a run found, and the processor seconds of the busiest threads of this process and of the engine's."""
    before = thread_seconds()
    found = run()
    spent = {thread: round(seconds - before.get(thread, 0.0), 2) for thread, seconds in thread_seconds().items()}
    return {**found, "threads": dict(sorted(spent.items(), key=lambda item: -item[1])[:4])}


def thread_seconds() -> dict[str, float]:
    own = psutil.Process()
    return {
        f"{'own' if process == own else 'child'} {thread.id}": thread.user_time + thread.system_time
        for process in (own, *own.children(recursive=True))
        for thread in process.threads()
    }


def kernels(run: Callable[[], Found]) -> Found:
    """The GPU's seconds of a run by kernel, the longest first."""
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CUDA]) as profiled:
        found = run()
    spent = [(event.self_device_time_total / 1e6, event.count, event.key[:150]) for event in profiled.key_averages()]
    lines = [f"{seconds:8.4f} s {count:7d} x {name}" for seconds, count, name in sorted(spent, reverse=True)[:20]]
    return {**found, "busy": round(sum(seconds for seconds, *_ in spent), 3), "lines": lines}


def products(tokens: int = 16384, repeats: int = 20) -> Found:
    """Shares of the peak that a layer's products reach alone: cuBLAS in 16 bits, vLLM's CUTLASS kernels in 8."""
    import torch

    spent = {"none": 0.0, "fp8": 0.0}
    for inputs, outputs in PRODUCTS:
        left, right = (torch.randn(size, inputs, device="cuda", dtype=torch.bfloat16) for size in (tokens, outputs))
        left8, right8 = left.to(torch.float8_e4m3fn), right.to(torch.float8_e4m3fn)
        out = torch.empty(tokens, outputs, device="cuda", dtype=torch.bfloat16)
        scales = torch.ones(tokens, 1, device="cuda"), torch.ones(1, device="cuda")
        in_8_bits = torch.ops._C.cutlass_scaled_mm  # noqa: SLF001 (where torch keeps the operations of an extension)
        ways = {
            "none": partial(torch.mm, left, right.t(), out=out),
            "fp8": partial(in_8_bits, out, left8, right8.t(), *scales, None),
        }
        for kind, way in ways.items():
            way()
            torch.cuda.synchronize()
            began = time.perf_counter()
            for _ in range(repeats):
                way()
            torch.cuda.synchronize()
            spent[kind] += (time.perf_counter() - began) / repeats
    done = 2.0 * tokens * sum(inputs * outputs for inputs, outputs in PRODUCTS)
    return {f"{kind}_share_of_peak": round(done / seconds / PEAK[kind], 3) for kind, seconds in spent.items()}
