"""A device's constants: matrix products, attention, norms, memory, launches. Used by `card`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from longbel_cli.model.decoders.cascade import FlashAttention
from longbel_cli.model.decoders.flash import CpuFlash, CudaFlash, largest_difference, sequences

HIDDEN, INNER, HEADS, KV_HEADS, SIZE = 4096, 14336, 32, 8, 128  # of Llama-3.1-8B


def flash_of(device: str) -> FlashAttention:
    return CpuFlash() if device == "cpu" else CudaFlash()


def flash_errors(device: str) -> Iterator[dict[str, Any]]:
    """The largest difference between FlashAttention and plain attention in float32."""
    for heads, kv_heads, size in ((32, 8, 128), (4, 2, 16), (8, 8, 64), (8, 1, 256)):
        like = torch.empty(0, dtype=torch.bfloat16, device=device)
        result = largest_difference(flash_of(device), heads, kv_heads, size, like)
        yield {"heads": heads, "kv_heads": kv_heads, "size": size, "difference": result}


def seconds_of(call: Callable[[], object], device: str, repeats: int = 20) -> float:
    """Seconds of one call among several that follow each other without a pause."""
    for _ in range(3):
        call()
    if device == "cpu":
        started = time.perf_counter()
        for _ in range(repeats):
            call()
        return (time.perf_counter() - started) / repeats
    first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.synchronize()
    first.record()
    for _ in range(repeats):
        call()
    last.record()
    torch.cuda.synchronize()
    return first.elapsed_time(last) / 1000 / repeats


def constants(device: str, tiny: bool = False) -> Iterator[dict[str, Any]]:
    """One row for each constant: its name, its sizes, and a rate a second."""
    hidden, inner = (64, 128) if tiny else (HIDDEN, INNER)
    repeats = 2 if tiny else 20
    index = torch.float32 if device == "cpu" else torch.bfloat16

    def drawn(*shape: int) -> Tensor:
        return torch.randn(*shape, device=device, dtype=index)

    down, up = drawn(inner, hidden), drawn(hidden, 2 * inner)
    for rows in (64,) if tiny else (64, 256, 1024, 4096, 16_384, 65_536):
        tokens = drawn(rows, hidden)
        wide = drawn(rows, inner)
        taken = seconds_of(partial(_products, tokens, up, wide, down), device, repeats)
        yield {"constant": "matmul", "rows": rows, "per_second": 6 * rows * hidden * inner / taken}
    yield from _attention(device, tiny, repeats)
    tokens = drawn(64 if tiny else 16_384, hidden)
    weight = drawn(hidden)
    for name, call in (
        ("rms_norm", lambda: nn.functional.rms_norm(tokens, (hidden,), weight, 1e-5)),
        ("copy", lambda: tokens.clone()),
    ):
        taken = seconds_of(call, device, repeats)
        moved = 2 * tokens.numel() * tokens.element_size()
        yield {"constant": name, "rows": len(tokens), "per_second": moved / taken}
    small = drawn(8)
    started = time.perf_counter()
    for _ in range(1000):
        small.add_(1)
    yield {"constant": "launch", "seconds": (time.perf_counter() - started) / 1000}


def _products(tokens: Tensor, up: Tensor, wide: Tensor, down: Tensor) -> tuple[Tensor, Tensor]:
    """What a layer's gate, its value and their product with the way back are."""
    return tokens @ up, wide @ down


def _attention(device: str, tiny: bool, repeats: int) -> Iterator[dict[str, Any]]:
    """FlashAttention over 64 documents: prompts of 600 new tokens, trees of 50 over 1,000."""
    documents, heads, kv_heads, size = (2, 4, 2, 16) if tiny else (64, HEADS, KV_HEADS, SIZE)
    new, tree, length = (8, 4, 32) if tiny else (600, 50, 1070)
    index = torch.float32 if device == "cpu" else torch.bfloat16
    keys, values = (
        torch.randn(documents * length, kv_heads, size, device=device, dtype=index)
        for _ in range(2)
    )
    flash = flash_of(device)
    for name, rows in (("prompts", new), ("trees", tree)):
        query = torch.randn(documents * rows, heads, size, device=device, dtype=index)
        of = sequences([(rows, n * length, length) for n in range(documents)], torch.device(device))
        run = flash.causal if name == "prompts" else flash.full
        taken = seconds_of(partial(run, query, keys, values, of, size**-0.5), device, repeats)
        seen = length - (rows - 1) / 2 if name == "prompts" else length
        work = 4 * heads * size * documents * rows * seen
        yield {"constant": f"attention, {name}", "rows": rows, "per_second": work / taken}
