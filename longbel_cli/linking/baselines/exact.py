"""`--linker exact`: the names that are the mention, case apart. Knows no torch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from kb_builder.store.knowledge_base import KnowledgeBase
from longbel_cli.linking.baselines.ranking import (
    Hit,
    IndexedRanker,
    folded,
    names_by_block,
)
from longbel_cli.linking.baselines.trigrams import NAMES_PER_BLOCK
from longbel_cli.linking.options import BaselineOptions


class ExactRanker(IndexedRanker["FormIndex"]):
    """Every concept that the mention names scores 1: those that corpora call so come first, then
    those that it is the preferred title of, then by code. A mention that is no name has no
    candidates."""

    name = "exact"

    def rank(self, mentions: Sequence[str], rows: range, limit: int) -> list[list[Hit]]:
        index = self.index(rows)
        return [self._hits(index.rows_of(mention))[:limit] for mention in mentions]

    def make_index(self, rows: range) -> FormIndex:
        return FormIndex(self.knowledge_base, rows)

    def _hits(self, rows: Sequence[int]) -> list[Hit]:
        base = self.knowledge_base
        concepts = base.row_concepts  # rows of a table that is sorted by code
        annotated = base.annotated

        def rank(row: int) -> tuple[bool, bool, int, int]:
            is_own = annotated is None or not annotated[row]
            return is_own, not base.term(row).preferred, int(concepts[row]), row

        of_concept: dict[int, Hit] = {}
        for row in sorted(rows, key=rank):
            of_concept.setdefault(int(concepts[row]), Hit(1.0, row))
        return list(of_concept.values())


def open_linker(knowledge_base: KnowledgeBase, options: BaselineOptions) -> ExactRanker:
    """As the table of baselines opens it."""
    return ExactRanker(knowledge_base, options.beams, options.abbreviations == "on")


class FormIndex:
    """Finds names by their folded form: 12 bytes a name, sorted by a hash of the form.

    Hashes are those of this process; what they lead to is compared as text.
    """

    def __init__(self, knowledge_base: KnowledgeBase, rows: range) -> None:
        self._base = knowledge_base
        hashes = np.empty(len(rows), dtype=np.int64)
        for start, names in names_by_block(knowledge_base, rows, NAMES_PER_BLOCK):
            first = start - rows.start
            hashes[first : first + len(names)] = [hash(folded(name)) for name in names]
        order = np.argsort(hashes, kind="stable")
        self._hashes = hashes[order]
        self._rows = (order + rows.start).astype(np.int32)

    @property
    def n_bytes(self) -> int:
        return self._hashes.nbytes + self._rows.nbytes

    def rows_of(self, mention: str) -> list[int]:
        """The rows of the names that are `mention`, case apart; ascending."""
        form = folded(mention)
        low = np.searchsorted(self._hashes, hash(form), "left")
        high = np.searchsorted(self._hashes, hash(form), "right")
        rows = self._rows[low:high]
        names = self._base.names_of(rows)
        return [int(row) for row, name in zip(rows, names, strict=True) if folded(name) == form]
