"""`--linker tfidf`: the nearest names by the cosine of character trigram TF-IDF vectors.

scispaCy's candidate generator with an exact search in place of an approximate one: an inverted
index over blocks of names, in numpy. Knows no torch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from kb_builder.store.knowledge_base import KnowledgeBase
from longbel_cli.linking.baselines.ranking import (
    Hit,
    IndexedRanker,
    best_names,
    merged,
    names_by_block,
)
from longbel_cli.linking.baselines.trigrams import (
    LETTER_BITS,
    NAMES_PER_BLOCK,
    TrigramCounts,
    count_trigrams,
    letters_of,
    trigram_keys,
)
from longbel_cli.linking.options import BaselineOptions


class TfidfRanker(IndexedRanker["TrigramIndex"]):
    """Concepts by their name nearest to the mention; a concept that shares no trigram with it is
    no candidate."""

    name = "tfidf"

    def rank(self, mentions: Sequence[str], rows: range, limit: int) -> list[list[Hit]]:
        index = self.index(rows)
        return [index.nearest(mention, limit) for mention in mentions]

    def make_index(self, rows: range) -> TrigramIndex:
        return TrigramIndex(self.knowledge_base, rows)


@dataclass(frozen=True, eq=False)
class _Block:
    """Names from `first_row` on: the names that hold trigram `keys[i]` are
    `names[starts[i]:starts[i + 1]]` (uint16, within the block), with their unit vectors' weights
    (float32). `concepts` are those of the names; `annotated` says which corpora use, if any."""

    first_row: int
    concepts: np.ndarray
    annotated: np.ndarray | None
    keys: np.ndarray
    starts: np.ndarray
    names: np.ndarray
    weights: np.ndarray

    def cosines(self, keys: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """float64[names]: the cosine of each name with a unit vector over trigram keys."""
        if not len(self.keys):
            return np.zeros(len(self.concepts))
        rows = np.searchsorted(self.keys, keys)
        rows[rows == len(self.keys)] = 0
        known = self.keys[rows] == keys
        rows, weights = rows[known], weights[known]
        low, high = self.starts[rows], self.starts[rows + 1]
        stretches = [slice(*ends) for ends in zip(low.tolist(), high.tolist(), strict=True)]
        if not stretches:
            return np.zeros(len(self.concepts))
        names = np.concatenate([self.names[stretch] for stretch in stretches])
        products = np.concatenate([self.weights[stretch] for stretch in stretches])
        products = products * np.repeat(weights, high - low)
        return np.bincount(names, products, len(self.concepts))


class TrigramIndex:
    """The TF-IDF vectors of a stretch of names, six bytes a trigram of a name.

    A trigram's weight is its count times ln((1 + names) / (1 + names that hold it)) + 1.
    """

    def __init__(self, knowledge_base: KnowledgeBase, rows: range) -> None:
        self._concepts, self._annotated = knowledge_base.row_concepts, knowledge_base.annotated
        counted = [
            (start, len(names), count_trigrams(names))
            for start, names in names_by_block(knowledge_base, rows, NAMES_PER_BLOCK)
        ]
        keys = [counts.keys for _, _, counts in counted]
        holding = [counts.sizes for _, _, counts in counted]
        nothing = np.zeros(0, dtype=np.int64)
        self._keys, column = np.unique(np.concatenate([nothing, *keys]), return_inverse=True)
        frequency = np.bincount(column, np.concatenate([nothing, *holding]))
        self._idf = np.log((1 + len(rows)) / (1 + frequency)) + 1
        self._unseen = np.log(1 + len(rows)) + 1
        # Counts go as blocks come: both at once would be the peak of memory.
        counted.reverse()
        self._blocks = [self._block(*counted.pop()) for _ in range(len(counted))]

    def _block(self, first_row: int, n_names: int, counts: TrigramCounts) -> _Block:
        idf = self._idf[np.searchsorted(self._keys, counts.keys)]
        weights = counts.times * np.repeat(idf, counts.sizes)
        weights /= np.sqrt(np.bincount(counts.name, weights * weights, n_names))[counts.name]
        own = slice(first_row, first_row + n_names)
        return _Block(
            first_row=first_row,
            concepts=self._concepts[own],
            annotated=None if self._annotated is None else self._annotated[own],
            keys=counts.keys,
            starts=np.concatenate(([0], np.cumsum(counts.sizes))),
            names=counts.name,
            weights=weights.astype(np.float32),
        )

    @property
    def n_bytes(self) -> int:
        return sum(
            block.keys.nbytes + block.starts.nbytes + block.names.nbytes + block.weights.nbytes
            for block in self._blocks
        )

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


def open_linker(knowledge_base: KnowledgeBase, options: BaselineOptions) -> TfidfRanker:
    """As the table of baselines opens it."""
    return TfidfRanker(knowledge_base, options.beams, options.abbreviations == "on")
