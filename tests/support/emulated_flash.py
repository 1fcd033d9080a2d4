"""What FlashAttention on CUDA promises, computed plainly on any device."""

from __future__ import annotations

import torch
from torch import Tensor

from longbel_cli.model.decoders import flash
from longbel_cli.model.decoders.cascade import Sequences


def varlen(
    query: Tensor, keys: Tensor, values: Tensor, of: Sequences, scale: float, causal: bool
) -> tuple[Tensor, Tensor]:
    """What the CUDA operator promises, from what it is given on the device alone."""
    indices = (of.query_starts, of.key_starts, of.key_lengths)
    assert all(each.dtype == torch.int32 and each.is_contiguous() for each in indices)
    assert len(of.query_starts) == len(of.key_starts) == len(of.key_lengths) + 1
    starts = of.key_starts[:-1].tolist()
    assert starts == sorted(starts)
    output = torch.empty_like(query)
    sums = torch.empty(query.shape[1], len(query))
    for index, (start, length) in enumerate(zip(starts, of.key_lengths.tolist(), strict=True)):
        first, last = of.query_starts[index : index + 2].tolist()
        assert last - first <= of.longest_query and length <= of.longest_key
        own = slice(start, start + length)
        result = flash.plain(query[first:last], keys[own], values[own], causal)
        assert scale == query.shape[2] ** -0.5
        output[first:last], sums[:, first:last] = result
    assert int(of.query_starts[-1]) == len(query)
    return output, sums


class EmulatedFlash:
    """In place of the adapter of CUDA."""

    def causal(
        self, query: Tensor, keys: Tensor, values: Tensor, of: Sequences, scale: float
    ) -> Tensor:
        return varlen(query, keys, values, of, scale, causal=True)[0]

    def full(
        self, query: Tensor, keys: Tensor, values: Tensor, of: Sequences, scale: float
    ) -> tuple[Tensor, Tensor]:
        return varlen(query, keys, values, of, scale, causal=False)
