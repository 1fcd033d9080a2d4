"""An inverted index of names by their character trigrams, in blocks of names; kept as files that
are mapped into memory. numpy only.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from kb_builder.store.knowledge_base import KnowledgeBase
from longbel_cli.linking.baselines.ranking import Hit, best_names, merged, names_by_block
from longbel_cli.linking.baselines.trigrams import (
    LETTER_BITS,
    NAMES_PER_BLOCK,
    TrigramCounts,
    count_trigrams,
    letters_of,
    trigram_keys,
)

FORMAT_VERSION = 1  # of the files and of what they hold: another one is another index


class _Postings(NamedTuple):
    """Which names of a block hold which trigrams: those that hold `keys[i]` (int64, ascending) are
    `names[starts[i]:starts[i + 1]]` (uint16, within the block; starts int64), with the weights of
    their unit vectors (float32)."""

    keys: np.ndarray
    starts: np.ndarray
    names: np.ndarray
    weights: np.ndarray


@dataclass(frozen=True, eq=False)
class _Block:
    """The names from `first_row` on, with their concepts; `annotated` says which of them corpora
    use, if any."""

    first_row: int
    concepts: np.ndarray
    annotated: np.ndarray | None
    postings: _Postings

    def cosines(self, keys: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """float64[names]: the cosine of each name with a unit vector over trigram keys."""
        held = self.postings
        if not len(held.keys):
            return np.zeros(len(self.concepts))
        rows = np.searchsorted(held.keys, keys)
        rows[rows == len(held.keys)] = 0
        known = held.keys[rows] == keys
        rows, weights = rows[known], weights[known]
        low, high = held.starts[rows], held.starts[rows + 1]
        stretches = [slice(*ends) for ends in zip(low.tolist(), high.tolist(), strict=True)]
        if not stretches:
            return np.zeros(len(self.concepts))
        names = np.concatenate([held.names[stretch] for stretch in stretches])
        products = np.concatenate([held.weights[stretch] for stretch in stretches])
        products = products * np.repeat(weights, high - low)
        return np.bincount(names, products, len(self.concepts))


class TrigramIndex:
    """The TF-IDF vectors of the names `rows` of a knowledge base, six bytes a trigram of a name.

    A trigram's weight is its count times ln((1 + names) / (1 + names that hold it)) + 1: `idf`
    (float64) of `keys` (int64, ascending).
    """

    def __init__(
        self,
        knowledge_base: KnowledgeBase,
        rows: range,
        keys: np.ndarray,
        idf: np.ndarray,
        postings: Sequence[_Postings],
    ) -> None:
        self._concepts, self._annotated = knowledge_base.row_concepts, knowledge_base.annotated
        self._rows, self._keys, self._idf = rows, keys, idf
        self._unseen = np.log(1 + len(rows)) + 1
        starts = range(rows.start, rows.stop, NAMES_PER_BLOCK)
        self._blocks = [
            self._block(range(start, min(start + NAMES_PER_BLOCK, rows.stop)), of_block)
            for start, of_block in zip(starts, postings, strict=True)
        ]

    def _block(self, rows: range, postings: _Postings) -> _Block:
        own = slice(rows.start, rows.stop)
        annotated = None if self._annotated is None else self._annotated[own]
        return _Block(rows.start, self._concepts[own], annotated, postings)

    @classmethod
    def build(cls, knowledge_base: KnowledgeBase, rows: range) -> TrigramIndex:
        """Count the trigrams of those names."""
        counted = [
            count_trigrams(names)
            for _, names in names_by_block(knowledge_base, rows, NAMES_PER_BLOCK)
        ]
        nothing = np.zeros(0, dtype=np.int64)
        all_keys = np.concatenate([nothing, *(counts.keys for counts in counted)])
        holding = np.concatenate([nothing, *(counts.sizes for counts in counted)])
        keys, column = np.unique(all_keys, return_inverse=True)
        idf = np.log((1 + len(rows)) / (1 + np.bincount(column, holding))) + 1
        # Counts go as blocks come: both at once would be the peak of memory.
        counted.reverse()
        postings = [_weighted(counted.pop(), keys, idf) for _ in range(len(counted))]
        return cls(knowledge_base, rows, keys, idf, postings)

    def save(self, folder: Path) -> None:
        """Write the index into an empty folder: an array a file, blocks one after the other."""
        blocks = [block.postings for block in self._blocks]
        sizes = [[len(block.keys), len(block.names)] for block in blocks]
        arrays = {"rows": [self._rows.start, self._rows.stop], "sizes": sizes}
        for name, values in arrays.items():
            np.save(folder / f"{name}.npy", np.array(values, np.int64), allow_pickle=False)
        np.save(folder / "all_keys.npy", self._keys, allow_pickle=False)
        np.save(folder / "idf.npy", self._idf, allow_pickle=False)
        for field in _Postings._fields:
            values = np.concatenate([getattr(block, field) for block in blocks])
            np.save(folder / f"{field}.npy", values, allow_pickle=False)

    @classmethod
    def open(cls, folder: Path, knowledge_base: KnowledgeBase) -> TrigramIndex:
        """The index that was saved in a folder, by memory map."""
        rows, sizes, keys, idf, *fields = (
            np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)
            for name in ("rows", "sizes", "all_keys", "idf", *_Postings._fields)
        )
        return cls(
            knowledge_base, range(*rows.tolist()), keys, idf, list(_cut(_Postings(*fields), sizes))
        )

    @property
    def n_bytes(self) -> int:
        return sum(array.nbytes for block in self._blocks for array in block.postings)

    def nearest(self, mention: str, limit: int) -> list[Hit]:
        """The best name of each of the `limit` nearest concepts."""
        if not len(self._keys):
            return []
        keys, weights = self._vector(mention)
        hits = self._best_of_blocks(keys, weights, limit)
        return merged(hits, self._concepts, limit, self._annotated)

    def _best_of_blocks(
        self, keys: np.ndarray, weights: np.ndarray, limit: int
    ) -> Iterator[list[Hit]]:
        for block in self._blocks:
            cosines = block.cosines(keys, weights)
            yield [
                Hit(round(float(cosines[row]), 6), block.first_row + row)
                for row in best_names(cosines, block.concepts, limit, 0.0, block.annotated)
            ]

    def _vector(self, text: str) -> tuple[np.ndarray, np.ndarray]:
        """Trigram keys of a text and its unit vector over them; trigrams of no name count."""
        of_text, _ = trigram_keys(*letters_of([text]), LETTER_BITS)
        keys, count = np.unique(of_text, return_counts=True)
        rows = np.searchsorted(self._keys, keys)
        rows[rows == len(self._keys)] = 0
        weights = count * np.where(self._keys[rows] == keys, self._idf[rows], self._unseen)
        return keys, weights / np.sqrt(np.sum(weights * weights))


def _weighted(counts: TrigramCounts, keys: np.ndarray, idf: np.ndarray) -> _Postings:
    """The unit vectors of a block's names, by what all names' trigrams weigh."""
    of_block = idf[np.searchsorted(keys, counts.keys)]
    weights = counts.times * np.repeat(of_block, counts.sizes)
    if len(weights):
        weights /= np.sqrt(np.bincount(counts.name, weights * weights))[counts.name]
    starts = np.concatenate(([0], np.cumsum(counts.sizes)))
    return _Postings(counts.keys, starts, counts.name, weights.astype(np.float32))


def _cut(whole: _Postings, sizes: np.ndarray) -> Iterator[_Postings]:
    """The blocks that stand one after the other; `sizes`: int64[blocks, (keys, pairs)]."""
    ends = np.cumsum(sizes, axis=0).tolist()
    first_key = first_pair = 0
    for block, (last_key, last_pair) in enumerate(ends):
        keys, pairs = slice(first_key, last_key), slice(first_pair, last_pair)
        starts = whole.starts[first_key + block : last_key + block + 1]  # one more than keys each
        yield _Postings(whole.keys[keys], starts, whole.names[pairs], whole.weights[pairs])
        first_key, first_pair = last_key, last_pair
