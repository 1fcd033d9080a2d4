"""The names of all groups as one trie over token ids, in flat arrays. numpy only.

Inner nodes are the prefixes that at least two names of a group share, numbered breadth first
with a group's root first; what follows a name's last shared prefix is its leaf's tail. The end
token is not stored: it is bound when decoding, and is written -1 here.

Node ids: an inner node is its own number; `n_inner + p` is the node reached by consuming
`tail_token[p]`. It knows nothing of text, tokenizers or models.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

END = -1
NO_ROW = -1
_BLOCK = 32  # tail tokens per entry of the sampled leaf index


class Children(NamedTuple):
    """The edges out of a node: tokens ascending (END first) and the nodes they lead to."""

    tokens: np.ndarray
    nodes: np.ndarray


class Run(NamedTuple):
    """The tokens that a node forces, up to the node at which there is a choice or a name ends,
    and the row of the name that ends there or -1. `ends` says that nothing else follows."""

    tokens: list[int]
    node: int
    row: int
    ends: bool


@dataclass(frozen=True, eq=False)
class Trie:
    """One trie for every group; `roots` gives the node that a group's answers start from.

    For inner node i: its inner children are `inner_first[i]..inner_first[i+1]`, its leaves
    `leaf_first[i]..leaf_first[i+1]` (an empty tail, the name that ends at i, comes first).
    Leaf l is row `leaf_row[l]` of the names table and still has to write
    `tail_token[tail_start[l]:tail_start[l+1]]`. `answer_prefix` is the id of the token that
    the first answer token follows; `too_long` counts names that do not fit the 128 tokens an
    answer may have, `indistinct` those whose tokens are another name's of the group.
    """

    roots: dict[str, int]
    inner_token: np.ndarray
    inner_first: np.ndarray
    leaf_first: np.ndarray
    tail_start: np.ndarray
    tail_token: np.ndarray
    leaf_row: np.ndarray
    answer_prefix: int = -1
    too_long: int = 0
    indistinct: int = 0

    ARRAYS = ("inner_token", "inner_first", "leaf_first", "tail_start", "tail_token", "leaf_row")

    @property
    def n_inner(self) -> int:
        return len(self.inner_token)

    @property
    def n_leaves(self) -> int:
        return len(self.leaf_row)

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays together."""
        return sum(getattr(self, name).nbytes for name in self.ARRAYS)

    @cached_property
    def _leaf_of_block(self) -> np.ndarray:
        """The leaf that holds every 32nd tail token, so that finding a leaf looks at few."""
        at = np.arange(0, len(self.tail_token) + _BLOCK, _BLOCK, dtype=np.int64)
        leaf = np.searchsorted(self.tail_start, at, side="right") - 1
        return np.minimum(leaf, max(self.n_leaves - 1, 0)).astype(np.int32)

    @cached_property
    def _read(self) -> _Views:
        """The arrays as Python reads single numbers of them fastest."""
        arrays = (*(getattr(self, name) for name in self.ARRAYS), self._leaf_of_block)
        return _Views(*(memoryview(array) for array in arrays))

    def leaf_of_tail(self, position: int) -> int:
        """The leaf whose tail holds `tail_token[position]`; a bounded look-up."""
        read, block = self._read, position // _BLOCK
        low, high = read.leaf_of_block[block], read.leaf_of_block[block + 1]
        return bisect_right(read.tail_start, position, low, high + 2) - 1

    def run(self, node: int) -> Run:
        """What `node` forces: the only child of a node, and so on down to a choice or an end."""
        read, n_inner = self._read, self.n_inner
        tokens: list[int] = []
        while node < n_inner:
            first, stop = read.inner_first[node], read.inner_first[node + 1]
            leaf, leaf_stop = read.leaf_first[node], read.leaf_first[node + 1]
            start = read.tail_start[leaf]
            ends = leaf < leaf_stop and start == read.tail_start[leaf + 1]
            if stop - first + leaf_stop - leaf != 1 or ends:
                alone = ends and stop == first and leaf_stop - leaf == 1
                return Run(tokens, node, read.leaf_row[leaf] if ends else NO_ROW, alone)
            if first < stop:
                tokens.append(read.inner_token[first])
                node = first
            else:  # a group of one name, which its root leads to
                tokens.append(read.tail_token[start])
                node = n_inner + start
        position = node - n_inner
        leaf = self.leaf_of_tail(position)
        stop = read.tail_start[leaf + 1]
        tokens += read.tail_token[position + 1 : stop].tolist()
        return Run(tokens, n_inner + stop - 1, read.leaf_row[leaf], True)

    def children(self, node: int) -> Children:
        """What may follow at `node`: tokens and the nodes they lead to; END leads to -1."""
        if node >= self.n_inner:
            return self._after_tail(node - self.n_inner)
        read = self._read
        first, stop = read.inner_first[node], read.inner_first[node + 1]
        leaf, leaf_stop = read.leaf_first[node], read.leaf_first[node + 1]
        ends = int(leaf < leaf_stop and read.tail_start[leaf] == read.tail_start[leaf + 1])
        starts = self.tail_start[leaf + ends : leaf_stop]
        inner = ends + stop - first
        tokens = np.empty(inner + len(starts), np.int64)
        nodes = np.empty_like(tokens)
        tokens[:ends] = END
        nodes[:ends] = -1
        tokens[ends:inner] = self.inner_token[first:stop]
        nodes[ends:inner] = np.arange(first, stop)
        tokens[inner:] = self.tail_token[starts]
        nodes[inner:] = starts
        nodes[inner:] += self.n_inner
        if stop > first and len(starts):  # two ascending runs: inner nodes, leaves
            order = np.argsort(tokens, kind="stable")
            tokens, nodes = tokens[order], nodes[order]
        return Children(tokens, nodes)

    def _after_tail(self, position: int) -> Children:
        following = position + 1
        if following == int(self.tail_start[self.leaf_of_tail(position) + 1]):
            return Children(np.array([END]), np.array([-1]))
        token = int(self.tail_token[following])
        return Children(np.array([token]), np.array([self.n_inner + following]))

    def leaf(self, node: int) -> int:
        """The row of the name that ends at `node`, or -1."""
        if node >= self.n_inner:
            position = node - self.n_inner
            leaf = self.leaf_of_tail(position)
            return int(self.leaf_row[leaf]) if position + 1 == self.tail_start[leaf + 1] else -1
        leaf, stop = int(self.leaf_first[node]), int(self.leaf_first[node + 1])
        if leaf < stop and self.tail_start[leaf] == self.tail_start[leaf + 1]:
            return int(self.leaf_row[leaf])
        return NO_ROW


class _Views(NamedTuple):
    """Of each array of a trie, and of its sampled leaf index."""

    inner_token: memoryview
    inner_first: memoryview
    leaf_first: memoryview
    tail_start: memoryview
    tail_token: memoryview
    leaf_row: memoryview
    leaf_of_block: memoryview


class TokenRuns(NamedTuple):
    """Token sequences one after the other: sequence i is `tokens[offsets[i]:offsets[i+1]]`."""

    tokens: np.ndarray  # int32
    offsets: np.ndarray  # int64


def build_trie(
    groups: Sequence[str],
    group_first: Sequence[int],
    runs: TokenRuns,
    answer_prefix: int = -1,
    max_answer_tokens: int = 128,
) -> Trie:
    """The trie of names whose rows `group_first[g]..group_first[g+1]` are group g's.

    Level by level: the names still together at a node are split by their next token; those
    alone become leaves. No loop over names, only over token positions. Of names of one group
    with equal tokens the first row stands.
    """
    offsets = runs.offsets
    lengths = np.diff(offsets)
    firsts = np.asarray(group_first, dtype=np.int64)
    sizes = firsts[1:] - firsts[:-1]
    rows = np.arange(int(sizes.sum()), dtype=np.int32)
    parents = np.repeat(np.arange(len(groups), dtype=np.int32), sizes)
    inner_tokens = [np.full(len(groups), END, dtype=np.int32)]
    inner_parents: list[np.ndarray] = []
    leaves: list[_Leaves] = []
    n_inner, depth, indistinct = len(groups), 0, 0
    while len(rows):
        level = _split(rows, parents, depth, runs, n_inner)
        leaves.append(level.leaves)
        inner_tokens.append(level.tokens)
        inner_parents.append(level.parents)
        indistinct += level.indistinct
        n_inner += len(level.tokens)
        rows, parents, depth = level.rows, level.row_parents, depth + 1
    all_parents = np.concatenate([*inner_parents, np.zeros(0, np.int32)])
    leaf_parent = np.concatenate([np.zeros(0, np.int32), *(leaf.parent for leaf in leaves)])
    leaf_row = np.concatenate([np.zeros(0, np.int32), *(leaf.row for leaf in leaves)])
    depths = [np.full(len(leaf.row), leaf.depth, np.int64) for leaf in leaves]
    leaf_depth = np.concatenate([np.zeros(0, np.int64), *depths])
    tail_start, tail_token = _tails(leaf_row, leaf_depth, runs)
    return Trie(
        roots={group: index for index, group in enumerate(groups)},
        inner_token=np.concatenate(inner_tokens),
        inner_first=_starts(all_parents, n_inner, base=len(groups)),
        leaf_first=_starts(leaf_parent, n_inner),
        tail_start=tail_start,
        tail_token=tail_token,
        leaf_row=leaf_row,
        answer_prefix=answer_prefix,
        too_long=int(np.count_nonzero(lengths + 1 > max_answer_tokens)),
        indistinct=indistinct,
    )


class _Leaves(NamedTuple):
    parent: np.ndarray
    row: np.ndarray
    depth: int


class _Level(NamedTuple):
    leaves: _Leaves
    tokens: np.ndarray
    parents: np.ndarray
    rows: np.ndarray
    row_parents: np.ndarray
    indistinct: int


def _split(
    rows: np.ndarray, parents: np.ndarray, depth: int, runs: TokenRuns, n_inner: int
) -> _Level:
    """Split the names at their nodes by token number `depth`; a name that ends has key 0."""
    at = runs.offsets[rows] + depth
    key = parents.astype(np.int64) << 32
    going_on = at < runs.offsets[rows + 1]
    key[going_on] |= runs.tokens[at[going_on]].astype(np.int64) + 1
    order = np.argsort(key, kind="stable")
    key, rows = key[order], rows[order]
    start = np.flatnonzero(np.concatenate(([True], key[1:] != key[:-1])))
    size = np.diff(np.append(start, len(key)))
    ended = (key[start] & 0xFFFFFFFF) == 0
    is_leaf = ended | (size == 1)
    leaf_at = start[is_leaf]
    inner = np.flatnonzero(~is_leaf)
    inner_key = key[start[inner]]
    stays = np.repeat(~is_leaf, size)
    new_ids = np.arange(n_inner, n_inner + len(inner), dtype=np.int32)
    return _Level(
        leaves=_Leaves((key[leaf_at] >> 32).astype(np.int32), rows[leaf_at], depth),
        tokens=((inner_key & 0xFFFFFFFF) - 1).astype(np.int32),
        parents=(inner_key >> 32).astype(np.int32),
        rows=rows[stays],
        row_parents=np.repeat(new_ids, size[inner]),
        indistinct=int((size[ended] - 1).sum()),
    )


def _starts(sorted_parents: np.ndarray, n_nodes: int, base: int = 0) -> np.ndarray:
    """int32[n_nodes + 1]: where each node's run of children begins, `base` before the first."""
    counts = np.bincount(sorted_parents, minlength=n_nodes)
    return (base + np.concatenate(([0], np.cumsum(counts)))).astype(np.int32)


def _tails(
    leaf_row: np.ndarray, leaf_depth: np.ndarray, runs: TokenRuns
) -> tuple[np.ndarray, np.ndarray]:
    first = runs.offsets[leaf_row] + leaf_depth
    length = runs.offsets[leaf_row + 1] - first
    start = np.concatenate(([0], np.cumsum(length)))
    tokens = np.empty(int(start[-1]), dtype=np.int32)
    step = 1 << 19  # leaves at a time: the index of all tails at once would be the peak
    for low in range(0, len(leaf_row), step):
        high = min(low + step, len(leaf_row))
        shift = np.repeat(first[low:high] - start[low:high], length[low:high])
        tokens[start[low] : start[high]] = runs.tokens[np.arange(start[low], start[high]) + shift]
    return start.astype(np.int32), tokens
