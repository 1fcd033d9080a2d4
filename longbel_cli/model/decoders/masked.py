"""Attention through masks: the oracle, and the way of models and devices that have no other.

A prompt's token sees all before it, a search tree's token the prompt and its own ancestors; both
within a sliding window, where the model has one. Segments whose slots share a pool are computed
together, one call a layer; the others one by one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from longbel_cli.model.decoders.row import Segment
from longbel_cli.model.decoders.row_pools import KeyValueCache, RowPool, Slot

_QUERY_BLOCK = 128  # prompt tokens whose attention is computed together on a CPU
_KEY_STEP = 64  # keys of a shared call are a multiple of this, as its kernels like them


class _Block(NamedTuple):
    """Queries `[first, last)` of a segment, which see the first `keys` places through `bias`
    (groups * (last - first), keys): 0 where a key is seen, minus infinity elsewhere."""

    first: int
    last: int
    keys: int
    bias: Tensor


class _Alone:
    """A segment that is computed by itself."""

    def __init__(self, segment: Segment, device: torch.device) -> None:
        self._segment, self._device = segment, device
        self._known: dict[tuple[int, int | None], list[_Block]] = {}

    def attend(
        self, layer: int, query: Tensor, key: Tensor, value: Tensor, scaling: float | None,
        window: int | None, output: Tensor,
    ) -> None:  # fmt: skip
        """Write keys and values (kv heads, N, size) of the segment to its slot, and what its
        queries (heads, N, size) find to `output` (N, heads, size)."""
        start, n, slot = self._segment.start, self._segment.n, self._segment.slot
        heads, kv_heads, size = len(query), len(key), query.shape[2]
        packed, columns = slice(start, start + n), slice(self._segment.offset, self._segment.end)
        slot.keys[layer, :, columns] = key[:, packed]
        slot.values[layer, :, columns] = value[:, packed]
        for block in self._blocks(heads // kv_heads, window, query.dtype):
            rows = slice(start + block.first, start + block.last)
            # Query heads of one key head are folded into the query axis, so that keys and
            # values are read in place and never repeated.
            folded = query[:, rows].reshape(1, kv_heads, len(block.bias), size)
            attended = nn.functional.scaled_dot_product_attention(
                folded,
                slot.keys[layer, None, :, : block.keys],
                slot.values[layer, None, :, : block.keys],
                attn_mask=block.bias,
                scale=scaling,
            )
            output[rows] = attended.reshape(heads, block.last - block.first, -1).transpose(0, 1)

    def _blocks(self, groups: int, window: int | None, dtype: torch.dtype) -> list[_Block]:
        """The queries in blocks, each with the keys that it needs, within a sliding window.

        A prompt's early tokens see few keys: cut into blocks, the later ones are not computed.
        On a GPU, where a call costs more than what it spares, there is one block.
        """
        if (groups, window) not in self._known:
            n = self._segment.n
            whole = self._segment.tree is not None or self._device.type != "cpu"
            size = n if whole else _QUERY_BLOCK
            self._known[groups, window] = [
                self._block(first, min(first + size, n), groups, window, dtype)
                for first in range(0, n, size)
            ]
        return self._known[groups, window]

    def _block(
        self, first: int, last: int, groups: int, window: int | None, dtype: torch.dtype
    ) -> _Block:
        segment, device = self._segment, self._device
        keys = segment.offset + last
        seen = torch.ones(last - first, keys, dtype=torch.bool, device=device)
        positions = torch.arange(keys, device=device)
        if segment.tree is None:
            seen = seen.tril(segment.offset + first)
        else:
            seen[:, segment.prompt :] = torch.from_numpy(segment.tree.visible()).to(device)
            if window is not None:
                positions[segment.prompt :] = torch.tensor(segment.tree.positions, device=device)
        if window is not None:
            queries = positions[segment.offset + first :]
            seen &= queries[:, None] - positions < window
        bias = torch.zeros(seen.shape, dtype=dtype, device=device).masked_fill_(~seen, -torch.inf)
        return _Block(first, last, keys, bias.repeat(groups, 1))


class _Together:
    """Segments whose slots are rows of one pool: one call a layer.

    Each of its lines is a row of the pool: all of them, read in place, or, where few have a
    segment in this pass, copies of those. A line has as many queries as the longest segment; the
    rest, and lines without a segment, compute something that nobody reads.
    """

    def __init__(self, pool: RowPool, segments: Sequence[Segment], device: torch.device) -> None:
        self._pool = pool
        rows = np.array([segment.slot.row for segment in segments])
        in_place = 2 * len(rows) >= pool.rows
        lines = rows if in_place else np.arange(len(rows))
        self._chosen = None if in_place else torch.from_numpy(rows).to(device)
        self._lines = pool.rows if in_place else len(rows)
        lengths = np.array([segment.n for segment in segments])
        self._width = int(lengths.max())
        self._keys = -(-max(segment.end for segment in segments) // _KEY_STEP) * _KEY_STEP
        starts = np.array([segment.start for segment in segments])
        offsets = np.array([segment.offset for segment in segments])
        rank = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        token = np.repeat(starts, lengths) + rank
        line = np.repeat(lines, lengths)
        padded = np.zeros((self._lines, self._width), dtype=np.int64)
        padded[line, rank] = token
        columns = (token, np.repeat(rows, lengths), np.repeat(offsets, lengths) + rank, line)
        moved = torch.from_numpy(np.stack((*columns, rank))).to(device)
        self._tokens, self._rows, self._places, self._line, self._number = moved
        self._padded = torch.from_numpy(padded.reshape(-1)).to(device)
        # A line without a segment sees all that it can; nobody reads what comes of it.
        first = np.full(self._lines, self._keys, dtype=np.int64)
        first[lines] = offsets
        self._first_place = torch.from_numpy(first).to(device)  # of a line's first query
        self._known: dict[tuple[int, int | None], Tensor] = {}
        self._note(segments, lines)

    def _note(self, segments: Sequence[Segment], lines: npt.NDArray[np.int64]) -> None:
        """Whatever else `_visible` needs."""

    def attend(
        self, layer: int, query: Tensor, key: Tensor, value: Tensor, scaling: float | None,
        window: int | None, output: Tensor,
    ) -> None:  # fmt: skip
        """As a segment alone does it, for all of them."""
        heads, kv_heads, size = len(query), len(key), query.shape[2]
        lines, width, groups = self._lines, self._width, heads // kv_heads
        keys, values = self._pool.keys[layer], self._pool.values[layer]
        keys[self._rows, :, self._places] = key.transpose(0, 1)[self._tokens]
        values[self._rows, :, self._places] = value.transpose(0, 1)[self._tokens]
        keys, values = keys[:, :, : self._keys], values[:, :, : self._keys]
        if self._chosen is not None:
            keys, values = keys[self._chosen], values[self._chosen]
        queries = query.transpose(0, 1)[self._padded]
        folded = queries.view(lines, width, kv_heads, groups, size).permute(0, 2, 3, 1, 4)
        attended = nn.functional.scaled_dot_product_attention(
            folded.reshape(lines, kv_heads, groups * width, size),
            keys,
            values,
            attn_mask=self._bias(groups, window, query.dtype),
            scale=scaling,
        )
        unfolded = attended.reshape(lines, kv_heads, groups, width, -1).permute(0, 3, 1, 2, 4)
        output[self._tokens] = unfolded[self._line, self._number].flatten(1, 2)

    def _bias(self, groups: int, window: int | None, dtype: torch.dtype) -> Tensor:
        """(lines, 1, groups * width, keys): 0 where a key is seen, minus infinity elsewhere."""
        if (groups, window) not in self._known:
            seen = self._visible(window)
            bias = torch.zeros(seen.shape, dtype=dtype, device=seen.device)
            bias.masked_fill_(~seen, -torch.inf)
            self._known[groups, window] = bias.repeat(1, groups, 1)[:, None]
        return self._known[groups, window]

    def _visible(self, window: int | None) -> Tensor:
        """(lines, width, keys): which places each query sees. Here of prompts: all up to its own,
        within the window."""
        device = self._first_place.device
        own = (self._first_place[:, None] + torch.arange(self._width, device=device))[:, :, None]
        columns = torch.arange(self._keys, device=device)
        seen = own >= columns
        return seen if window is None else seen & (own < columns + window)


class _TreesTogether(_Together):
    """The same of search trees, in which a query sees the prompt and its own ancestors."""

    def _note(self, segments: Sequence[Segment], lines: npt.NDArray[np.int64]) -> None:
        trees = [segment.tree for segment in segments if segment.tree is not None]
        size = max(tree.size for tree in trees)
        seen = np.zeros((self._lines, self._width, size), dtype=np.bool_)
        positions = np.zeros((self._lines, size), dtype=np.int64)
        prompts = np.full(self._lines, self._keys, dtype=np.int64)
        for segment, tree, line in zip(segments, trees, lines, strict=True):
            seen[line, : segment.n, : tree.size] = tree.visible()
            positions[line, : tree.size] = tree.positions
            prompts[line] = segment.prompt
        device = self._first_place.device
        self._seen = torch.from_numpy(seen).to(device)
        self._positions = torch.from_numpy(positions).to(device)
        self._prompts = torch.from_numpy(prompts).to(device)

    def _visible(self, window: int | None) -> Tensor:
        lines, width, size = self._seen.shape
        columns = torch.arange(self._keys, device=self._seen.device)
        in_tree = columns - self._prompts[:, None]  # (lines, keys), negative in the prompt
        at = in_tree.clamp(0, size - 1)
        seen = self._seen.gather(2, at[:, None].expand(lines, width, self._keys))
        seen &= (in_tree < size)[:, None]
        seen |= (in_tree < 0)[:, None]
        if window is None:
            return seen
        positions = torch.where(in_tree < 0, columns, self._positions.gather(1, at))
        new = (self._first_place - self._prompts)[:, None] + torch.arange(
            width, device=columns.device
        )
        queries = self._positions.gather(1, new.clamp(0, size - 1))
        return seen & (queries[:, :, None] - positions[:, None] < window)


class _MaskedPass:
    """The attention of one pass, part by part."""

    arrays: Mapping[str, npt.NDArray[Any]] = {}

    def __init__(self, segments: Sequence[Segment], device: torch.device) -> None:
        self._segments, self._device = segments, device
        self.parts: list[_Alone | _Together] = []

    def receive(self, arrays: Mapping[str, Tensor]) -> None:
        shared: dict[tuple[int, bool, int], list[Segment]] = defaultdict(list)
        for segment in self._segments:
            # Prompts of about one length go together, to pad at most fourfold; so do all trees
            # but those of more than 32 tokens: a call costs more than what it pads there.
            length = (segment.n - 1).bit_length() // (2 if segment.tree is None else 6)
            shared[id(segment.slot.pool), segment.tree is not None, length].append(segment)
        for (_, trees, _), together in shared.items():
            if len(together) == 1:
                self.parts.append(_Alone(together[0], self._device))
            else:
                form = _TreesTogether if trees else _Together
                self.parts.append(form(together[0].slot.pool, together, self._device))

    def attend(
        self, layer: int, query: Tensor, key: Tensor, value: Tensor, scaling: float | None,
        window: int | None,
    ) -> Tensor:  # fmt: skip
        output = query.new_empty(query.shape[1], query.shape[0], value.shape[2])
        for part in self.parts:
            part.attend(layer, query, key, value, scaling, window, output)
        return output


class MaskedAttention:
    """Attention of everything that has a mask, on any device."""

    name = "masks"

    def __init__(self, shape: tuple[int, int, int], like: Tensor, pool_tokens: int) -> None:
        self.cache = KeyValueCache(shape, like, pool_tokens)
        # Of pools, rows stand empty.
        self.spare = 2.0 if pool_tokens else 1.0
        self._device = like.device

    def order(self, slot: Slot, is_tree: bool) -> tuple[int, ...]:
        return ()

    def plan(self, segments: Sequence[Segment]) -> _MaskedPass:
        return _MaskedPass(segments, self._device)
