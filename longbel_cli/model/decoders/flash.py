"""FlashAttention over sequences of any lengths: torch's own kernels, on CUDA and on a CPU.

What `cascade` needs of a device. The one on CUDA calls an operator that is no promise of torch's,
so it is tried against plain attention before it is used.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from longbel_cli.model.decoders.cascade import FlashAttention, Sequences

_LARGEST_HEAD = 256  # of FlashAttention 2


class CudaFlash:
    """FlashAttention 2 as torch is built with it; causal masks are aligned at their ends."""

    def causal(
        self, query: Tensor, keys: Tensor, values: Tensor, of: Sequences, scale: float
    ) -> Tensor:
        return _varlen(query, keys, values, of, scale, causal=True)[0]

    def full(
        self, query: Tensor, keys: Tensor, values: Tensor, of: Sequences, scale: float
    ) -> tuple[Tensor, Tensor]:
        return _varlen(query, keys, values, of, scale, causal=False)


def _varlen(
    query: Tensor, keys: Tensor, values: Tensor, of: Sequences, scale: float, causal: bool
) -> tuple[Tensor, Tensor]:
    output, sums, *_ = torch.ops.aten._flash_attention_forward(
        query, keys, values, of.query_starts, of.key_starts, of.longest_query, of.longest_key,
        0.0, causal, False, scale=scale, seqused_k=of.key_lengths,
    )  # fmt: skip
    return output, sums


class CpuFlash:
    """torch's FlashAttention for CPUs, document by document."""

    def causal(
        self, query: Tensor, keys: Tensor, values: Tensor, of: Sequences, scale: float
    ) -> Tensor:
        output = torch.empty_like(query)
        first = 0
        for n, start, length in of.lengths:
            rows, first_new = query[first : first + n], start + length - n
            own = slice(first_new, start + length)
            result, sums = _on_cpu(rows, keys[own], values[own], scale, causal=True)
            if length > n:
                before = slice(start, first_new)
                other, more = _on_cpu(rows, keys[before], values[before], scale)
                share = torch.sigmoid(sums - more)[..., None].to(result.dtype)
                result = torch.lerp(other, result, share)
            output[first : first + n] = result
            first += n
        return output

    def full(
        self, query: Tensor, keys: Tensor, values: Tensor, of: Sequences, scale: float
    ) -> tuple[Tensor, Tensor]:
        output = torch.empty_like(query)
        sums = query.new_empty(query.shape[1], query.shape[0], dtype=torch.float32)
        first = 0
        for n, start, length in of.lengths:
            rows, own = slice(first, first + n), slice(start, start + length)
            result = _on_cpu(query[rows], keys[own], values[own], scale)
            output[rows], sums.T[rows] = result
            first += n
        return output, sums


def _on_cpu(
    query: Tensor, keys: Tensor, values: Tensor, scale: float, causal: bool = False
) -> tuple[Tensor, Tensor]:
    """Of one document: (n, heads, size) and the log-sum-exp, float32 (n, heads)."""
    output, sums = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
        query.transpose(0, 1)[None],
        keys.transpose(0, 1)[None],
        values.transpose(0, 1)[None],
        0.0,
        causal,
        scale=scale,
    )
    return output[0].transpose(0, 1), sums[0].T


def cuda_flash(heads: int, kv_heads: int, size: int, like: Tensor) -> CudaFlash:
    """The adapter for a model's heads on the device of `like`, once it was seen to compute what it
    should; else ValueError with the reason."""
    if like.dtype not in (torch.bfloat16, torch.float16):
        raise ValueError(f"it computes no {str(like.dtype).removeprefix('torch.')}")
    if size > _LARGEST_HEAD:
        raise ValueError(f"heads of {size} are larger than {_LARGEST_HEAD}")
    flash = CudaFlash()
    try:
        difference = largest_difference(flash, heads, kv_heads, size, like)
    except (RuntimeError, TypeError, AttributeError, ValueError) as error:
        reason = next(iter(str(error).splitlines()), "")[:120]
        raise ValueError(f"this torch or card has none ({reason})") from error
    if not difference < _CLOSE:
        raise ValueError(f"it differs from plain attention by {difference:.3f}")
    return flash


_CLOSE = 0.03  # of numbers about 1 in bfloat16


def largest_difference(
    flash: FlashAttention, heads: int, kv_heads: int, size: int, like: Tensor
) -> float:
    """Between FlashAttention and plain attention in float32, over documents that lie apart, of
    which some have more keys than queries; log-sum-exps included."""
    generator = torch.Generator().manual_seed(0)
    lengths = [(3, 0, 3), (1, 5, 70), (9, 90, 40), (130, 140, 200)]  # queries, start, keys
    n, capacity = sum(queries for queries, _, _ in lengths), 400
    query, keys, values = (
        torch.randn(rows, some, size, generator=generator).to(like)
        for rows, some in ((n, heads), (capacity, kv_heads), (capacity, kv_heads))
    )
    of = sequences(lengths, like.device)
    causal = flash.causal(query, keys, values, of, size**-0.5)
    full, sums = flash.full(query, keys, values, of, size**-0.5)
    differences, first = [torch.zeros((), device=like.device)], 0
    for queries, start, length in lengths:
        rows, own = slice(first, first + queries), slice(start, start + length)
        for masked, result in ((True, causal), (False, full)):
            expected, expected_sums = plain(query[rows], keys[own], values[own], masked)
            differences.append((result[rows] - expected).abs().max())
            if not masked:
                differences.append((sums[:, rows] - expected_sums).abs().max())
        first += queries
    return float(torch.stack([difference.float() for difference in differences]).max())


def sequences(lengths: list[tuple[int, int, int]], device: torch.device) -> Sequences:
    """Of (queries, start of the keys, keys) of each document."""
    queries, starts, keys = torch.tensor(lengths, dtype=torch.int32, device=device).unbind(1)
    return Sequences(
        nn.functional.pad(queries.cumsum(0, dtype=torch.int32), (1, 0)),
        nn.functional.pad(starts, (0, 1)),
        keys.contiguous(),
        int(queries.max()),
        int(keys.max()),
        lengths,
    )


def plain(query: Tensor, keys: Tensor, values: Tensor, causal: bool) -> tuple[Tensor, Tensor]:
    """Attention of one document in float32: (n, heads, size), and log-sum-exps (heads, n)."""
    groups = query.shape[1] // keys.shape[1]
    keys, values = (
        tensor.float().repeat_interleave(groups, 1).transpose(0, 1) for tensor in (keys, values)
    )
    scores = query.float().transpose(0, 1) @ keys.transpose(1, 2) * query.shape[2] ** -0.5
    n, length = scores.shape[1:]
    if causal:
        seen = torch.ones(n, length, dtype=torch.bool, device=query.device).tril(length - n)
        scores = scores.masked_fill(~seen, -torch.inf)
    return (scores.softmax(-1) @ values).transpose(0, 1), scores.logsumexp(-1)
