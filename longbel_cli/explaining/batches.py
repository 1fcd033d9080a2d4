"""Rows of equal length run in batches of as many as the device's memory holds."""

from __future__ import annotations

from collections.abc import Callable

import torch

from kb_builder.errors import LongbelError

CPU_BATCH_TOKENS = 2048  # larger batches bring nothing where arithmetic is the limit
_GPU_SHARE = 0.8  # of the free memory; the rest is for fragments and the logits of longer answers


def in_batches(
    work: Callable[[int, int], None],
    count: int,
    tokens: int,
    max_batch_tokens: int | None,
    device: torch.device,
) -> None:
    """Call `work(first, last)` over `count` rows of `tokens` tokens, as many as memory holds.

    On a GPU without a given limit the first row is run alone and measured. Out of memory halves
    the batch; a row too large by itself is an error.
    """
    done, rows = 0, 1
    measure = max_batch_tokens is None and device.type == "cuda"
    if not measure:
        rows = max(1, (max_batch_tokens or CPU_BATCH_TOKENS) // max(1, tokens))
    while done < count:
        last = min(count, done + rows)
        try:
            if measure:
                rows = _rows_that_fit(lambda: work(done, done + 1), device)  # noqa: B023
                measure, last = False, done + 1
            else:
                work(done, last)
        except torch.OutOfMemoryError:
            torch.cuda.empty_cache()
            if last - done <= 1:
                raise LongbelError(
                    f"a prompt of {tokens} tokens does not fit into the memory of {device}",
                    "Use --method ablation, --dtype bfloat16 or --device cpu.",
                ) from None
            rows = (last - done) // 2
            continue
        done = last


def _rows_that_fit(run_one: Callable[[], None], device: torch.device) -> int:
    before = torch.cuda.memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    run_one()
    used = max(1, torch.cuda.max_memory_allocated(device) - before)
    free, _ = torch.cuda.mem_get_info(device)
    free += torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return max(1, int(free * _GPU_SHARE / used))
