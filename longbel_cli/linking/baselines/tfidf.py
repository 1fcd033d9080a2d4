"""`--linker tfidf`: the nearest names by the cosine of character trigram TF-IDF vectors.

scispaCy's candidate generator with an exact search in place of an approximate one. Knows no torch.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence

from kb_builder.files import sha256_of
from kb_builder.store.kept import kept
from kb_builder.store.knowledge_base import KnowledgeBase
from longbel_cli.linking.baselines.ranking import Hit, IndexedRanker
from longbel_cli.linking.baselines.trigram_index import FORMAT_VERSION, TrigramIndex
from longbel_cli.linking.options import BaselineOptions

log = logging.getLogger(__name__)

# The index of fewer names is built faster than its files are worth.
KEPT_FROM = 1 << 15


class TfidfRanker(IndexedRanker[TrigramIndex]):
    """Concepts by their name nearest to the mention; a concept that shares no trigram with it is
    no candidate."""

    name = "tfidf"

    def rank(self, mentions: Sequence[str], rows: range, limit: int) -> list[list[Hit]]:
        index = self.index(rows)
        return [index.nearest(mention, limit) for mention in mentions]

    def make_index(self, rows: range) -> TrigramIndex:
        base = self.knowledge_base
        if len(rows) < KEPT_FROM:
            return TrigramIndex.build(base, rows)

        def build() -> TrigramIndex:
            log.info("indexing the trigrams of %d names, once", len(rows))
            return TrigramIndex.build(base, rows)

        parts = [FORMAT_VERSION, base.signature, rows.start, rows.stop]
        name = sha256_of(json.dumps(parts).encode())[:16]
        return kept(
            base,
            "tfidf",
            name,
            build,
            TrigramIndex.save,
            lambda path: TrigramIndex.open(path, base),
        )


def open_linker(knowledge_base: KnowledgeBase, options: BaselineOptions) -> TfidfRanker:
    """As the table of baselines opens it."""
    return TfidfRanker(knowledge_base, options.beams, options.abbreviations == "on")
