"""Attention of a packed row in as many kernels for a hundred documents as for one.

Prompts are one call of FlashAttention over sequences of any lengths. A search tree is attended to
in two parts that are merged: the prompt, which all its tokens see, by the same kind of call, and
the tree itself, of some hundred places at most, through a mask. No mask is over prompts, and no
document is padded to another's length. Full attention alone; what has a sliding window goes another
way. The two calls of FlashAttention are an adapter's (`flash`); all else is the same everywhere.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from kb_builder.errors import LongbelError
from longbel_cli.model.decoders.pool import KeyValuePool, Slot
from longbel_cli.model.decoders.row import Segment, bits


class Sequences(NamedTuple):
    """Queries of several documents, one after the other, and where each one's keys lie.

    Document i has the queries `[query_starts[i], query_starts[i + 1])` and the keys
    `[key_starts[i], key_starts[i] + key_lengths[i])`, all int32 on the device (`key_starts` has one
    more); documents are sorted by the start of their keys. `lengths` are the same numbers on the
    host: (queries, start of the keys, keys) of each.
    """

    query_starts: Tensor
    key_starts: Tensor
    key_lengths: Tensor
    longest_query: int
    longest_key: int
    lengths: Sequence[tuple[int, int, int]]


class FlashAttention(Protocol):
    """FlashAttention over sequences of any lengths: queries (N, heads, size) over keys and values
    (places, kv heads, size)."""

    def causal(
        self, query: Tensor, keys: Tensor, values: Tensor, of: Sequences, scale: float
    ) -> Tensor:
        """The last query of a document sees all its keys, the one before all but one, and so on.
        Returns (N, heads, size)."""

    def full(
        self, query: Tensor, keys: Tensor, values: Tensor, of: Sequences, scale: float
    ) -> tuple[Tensor, Tensor]:
        """Every query sees all keys of its document. Returns (N, heads, size), and the logarithm
        of the sums of the exponentials, float32 (heads, N)."""


class CascadeAttention:
    """Attention through FlashAttention over a flat pool of keys and values. `groups` is how many
    query heads share a key head."""

    name = "flash"
    spare = 1.5  # a pool grows by a half

    def __init__(
        self, shape: tuple[int, int, int], groups: int, like: Tensor, flash: FlashAttention
    ) -> None:
        self.cache = KeyValuePool(shape, like)
        self._groups, self._flash = groups, flash

    def order(self, slot: Slot, is_tree: bool) -> tuple[int, ...]:
        """Prompts before trees, both as their keys lie."""
        return is_tree, slot.start

    def plan(self, segments: Sequence[Segment]) -> _CascadePass:
        return _CascadePass(self.cache, self._groups, self._flash, segments)


class _CascadePass:
    """The attention of one pass."""

    def __init__(
        self,
        pool: KeyValuePool,
        groups: int,
        flash: FlashAttention,
        segments: Sequence[Segment],
    ) -> None:
        self._pool, self._flash = pool, flash
        prompts = [segment for segment in segments if segment.tree is None]
        trees = segments[len(prompts) :]
        self._prompts = _Lengths(prompts, 1)
        self._trees = _Trees(trees, groups, pool.keys[0].shape[1]) if trees else None
        written = [
            np.arange(segment.slot.start + segment.offset, segment.slot.start + segment.end)
            for segment in segments
        ]
        self.arrays: Mapping[str, npt.NDArray[Any]] = {
            "written": np.concatenate(written),
            **self._prompts.arrays("prompt"),
            **({} if self._trees is None else self._trees.arrays()),
        }

    def receive(self, arrays: Mapping[str, Tensor]) -> None:
        self._written = arrays["written"]
        self._prompts.receive(arrays, "prompt")
        if self._trees is not None:
            self._trees.receive(arrays)

    def attend(
        self, layer: int, query: Tensor, key: Tensor, value: Tensor, scaling: float | None,
        window: int | None,
    ) -> Tensor:  # fmt: skip
        if window is not None:
            raise LongbelError(
                "this model's sliding window is not in its configuration",
                "Use --decoder reference.",
            )
        keys, values = self._pool.keys[layer], self._pool.values[layer]
        keys.index_copy_(0, self._written, key.transpose(0, 1))
        values.index_copy_(0, self._written, value.transpose(0, 1))
        scale = query.shape[2] ** -0.5 if scaling is None else scaling
        queries, n = query.transpose(0, 1), self._prompts.queries
        if self._trees is None:
            return self._flash.causal(queries, keys, values, self._prompts.on_device, scale)
        output = torch.empty_like(queries, memory_format=torch.contiguous_format)
        if n:
            of = self._prompts.on_device
            output[:n] = self._flash.causal(queries[:n], keys, values, of, scale)
        output[n:] = self._trees.attend(queries[n:], keys, values, self._flash, scale)
        return output


class _Lengths:
    """Queries and keys of segments, `rows` queries for each of their tokens: of prompts the keys
    up to the segment's end, of trees those of the prompt."""

    def __init__(self, segments: Sequence[Segment], rows: int) -> None:
        self._of = [
            (
                rows * segment.n,
                segment.slot.start,
                segment.end if segment.tree is None else segment.prompt,
            )
            for segment in segments
        ]
        self.queries = sum(queries for queries, _, _ in self._of)

    def arrays(self, name: str) -> dict[str, npt.NDArray[Any]]:
        queries, starts, lengths = np.array(self._of, np.int32).reshape(-1, 3).T
        ends = np.cumsum(queries, dtype=np.int32)
        return {
            f"{name}_query_starts": np.concatenate([np.zeros(1, np.int32), ends]),
            f"{name}_key_starts": np.append(starts, np.int32(0)),
            f"{name}_key_lengths": np.ascontiguousarray(lengths),
        }

    def receive(self, arrays: Mapping[str, Tensor], name: str) -> None:
        self.on_device = Sequences(
            arrays[f"{name}_query_starts"],
            arrays[f"{name}_key_starts"],
            arrays[f"{name}_key_lengths"],
            max((queries for queries, _, _ in self._of), default=0),
            max((keys for _, _, keys in self._of), default=0),
            self._of,
        )


class _Trees:
    """The search trees of a pass.

    Shapes: D documents, W new tokens and T places of a tree at most, H key heads of G query heads
    each, N new tokens in all. What is padded repeats something that is there, behind a mask.
    """

    def __init__(self, segments: Sequence[Segment], groups: int, heads: int) -> None:
        self._segments, self._groups, self._heads = segments, groups, heads
        self._prompts = _Lengths(segments, groups)

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        trees = [segment.tree for segment in self._segments if segment.tree is not None]
        lengths = np.array([segment.n for segment in self._segments])
        sizes = np.array([tree.size for tree in trees])
        width, size = int(lengths.max()), int(sizes.max())
        firsts = np.cumsum(lengths) - lengths
        roots = np.array([segment.slot.start + segment.prompt for segment in self._segments])
        line = np.repeat(np.arange(len(trees)), lengths)
        column = np.arange(lengths.sum()) - firsts[line]
        seen = np.zeros((len(trees), width, size), dtype=np.bool_)
        seen[line, column] = bits([mask for tree in trees for mask in tree.seen], size)
        return {
            **self._prompts.arrays("tree"),
            "tree_seen": seen,
            # (D, W) and (D, T): tokens among the trees' own, and places of the pool
            "tree_tokens": firsts[:, None] + np.minimum(np.arange(width), lengths[:, None] - 1),
            "tree_places": roots[:, None] + np.minimum(np.arange(size), sizes[:, None] - 1),
            # (N,): where in (D, W) each token is
            "tree_padded": line * width + column,
        }

    def receive(self, arrays: Mapping[str, Tensor]) -> None:
        self._prompts.receive(arrays, "tree")
        seen, tokens = arrays["tree_seen"], arrays["tree_tokens"]
        stored, padded = arrays["tree_places"], arrays["tree_padded"]
        (lines, width, size), groups, heads = seen.shape, self._groups, self._heads
        group = torch.arange(groups, device=seen.device)
        head = torch.arange(heads, device=seen.device)[:, None]
        rows = tokens[:, None, :, None] * groups + group  # (D, 1, W, G) of (N, G)
        self._queries = (rows * heads + head[:, None]).view(-1)  # (D, H, W, G) of (N, G, H)
        n = len(padded) * groups
        self._sums = (rows + head[:, None] * n).view(lines * heads, width * groups, 1)
        self._keys = (stored[:, None] * heads + head).view(-1)  # (D, H, T) of (places, H)
        line, column = padded[:, None, None] // width, padded[:, None, None] % width
        # (N, H, G) of (D, H, W, G)
        self._padded = (((line * heads + head) * width + column) * groups + group).view(-1)
        bias = torch.zeros(seen.shape, device=seen.device).masked_fill_(~seen, -torch.inf)
        bias = bias[:, None, :, None].expand(lines, heads, width, groups, size)
        self._bias = bias.reshape(lines * heads, width * groups, size)

    def attend(
        self, query: Tensor, keys: Tensor, values: Tensor, flash: FlashAttention, scale: float
    ) -> Tensor:
        """What queries (N, heads, size) find."""
        heads, groups, size = self._heads, self._groups, query.shape[2]
        # Query heads of one key head are queries of their own, which fill the kernel's tiles.
        folded = query.view(-1, heads, groups, size).transpose(1, 2).contiguous()
        of = self._prompts.on_device
        prompt, sums = flash.full(folded.view(-1, heads, size), keys, values, of, scale)
        rows, width = self._bias.shape[:2]
        queries = folded.view(-1, size)[self._queries].view(rows, width, size).float()
        own = keys.view(-1, size)[self._keys].view(rows, -1, size).float()
        scores = torch.baddbmm(self._bias, queries, own.transpose(1, 2), alpha=scale)
        # The prompt is one more key, whose score is its log-sum-exp and whose value is known.
        weights = torch.cat([scores, sums.view(-1)[self._sums]], -1).softmax(-1)
        own = values.view(-1, size)[self._keys].view(rows, -1, size).float()
        output = torch.bmm(weights[:, :, :-1], own).view(-1, size)[self._padded]
        weight = weights.view(rows * width, -1)[self._padded, -1]
        return torch.addcmul(
            output.view(-1, heads, groups, size),
            weight.view(-1, heads, groups, 1),
            prompt.view(-1, groups, heads, size).transpose(1, 2).float(),
        ).view(-1, heads * groups, size)
