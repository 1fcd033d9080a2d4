"""Which examples an epoch has, in which order, and how they are batched by length.

The order depends on the seed and the epoch alone, so that a training resumed after a kill
sees the batches it would have seen. Knows nothing of models.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from longbel_cli.training.data.examples import Example

# Examples made, sorted by length and batched at a time: enough for little padding.
CHUNK = 2048


@dataclass(frozen=True)
class Batch:
    """Examples padded on the right: `ids` and `weights` are [examples, longest].

    `position` is its own; `share` how much of the epoch it is, and `done` how much of it
    is behind once this batch is, from 0 to 1.
    """

    ids: NDArray[np.int64]
    weights: NDArray[np.float32]
    position: Position
    done: float
    share: float

    def part(self, rows: NDArray[np.int64]) -> Batch:
        """These examples alone, without the padding that none of them needs."""
        if len(rows) == len(self.ids):
            return self
        weights = self.weights[rows]
        # An example ends with the end of its answer, which weighs something.
        longest = int(np.flatnonzero(weights.any(axis=0))[-1]) + 1
        return replace(self, ids=self.ids[rows, :longest], weights=weights[:, :longest])


class Position(NamedTuple):
    """A batch by its epoch, its chunk of the epoch, and its position in the chunk."""

    epoch: int = 0
    chunk: int = 0
    position: int = 0


@dataclass(frozen=True)
class EpochPlan:
    """`make(item, epoch, rng)` gives the example of item 0 .. n_items - 1, None to leave it out."""

    n_items: int
    make: Callable[[int, int, random.Random], Example | None]
    tokens_per_batch: int
    seed: int
    pad: int

    def batches(self, epoch: int, start: Position | None = None) -> Iterator[Batch]:
        """The batches of an epoch, from `start` on if that lies in it."""
        order = np.random.default_rng([self.seed, epoch]).permutation(self.n_items)
        first = start.chunk if start is not None else 0
        for chunk in range(first, self.n_chunks):
            items = order[chunk * CHUNK : (chunk + 1) * CHUNK]
            for batch in self._chunk(epoch, chunk, items):
                if start is None or batch.position >= start:
                    yield batch

    @property
    def n_chunks(self) -> int:
        return -(-self.n_items // CHUNK)

    def _chunk(self, epoch: int, chunk: int, items: NDArray[np.int64]) -> Iterator[Batch]:
        examples = []
        for item in items.tolist():
            example = self.make(item, epoch, random.Random(f"{self.seed}/{epoch}/{item}"))
            if example is not None:
                examples.append(example)
        groups = by_length(examples, self.tokens_per_batch)
        random.Random(f"{self.seed}/{epoch}/chunk {chunk}").shuffle(groups)
        for index, group in enumerate(groups):
            ids, weights = self._padded(group)
            done = chunk * CHUNK + (index + 1) / len(groups) * len(items)
            share = len(items) / len(groups)
            position = Position(epoch, chunk, index)
            yield Batch(ids, weights, position, done / self.n_items, share / self.n_items)

    def _padded(self, group: Sequence[Example]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        length = max(len(example) for example in group)
        ids = np.full((len(group), length), self.pad, dtype=np.int64)
        weights = np.zeros((len(group), length), dtype=np.float32)
        for row, example in enumerate(group):
            ids[row, : len(example)] = example.ids
            weights[row, : len(example)] = example.weights
        return ids, weights


def by_length(examples: Sequence[Example], tokens_per_batch: int) -> list[list[Example]]:
    """Examples of near lengths together, at most `tokens_per_batch` with their padding.

    An example longer than that is a batch of its own.
    """
    groups: list[list[Example]] = []
    for example in sorted(examples, key=len):
        if not groups or len(example) * (len(groups[-1]) + 1) > tokens_per_batch:
            groups.append([])
        groups[-1].append(example)
    return groups
