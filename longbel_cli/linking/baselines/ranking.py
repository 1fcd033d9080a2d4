"""Linking by the mention alone: names of its semantic group ranked, one candidate a concept.

The engine that `exact`, `tfidf` and `dense` share. Knows no torch; context, memory and prompts
play no part in it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Generic, NamedTuple, Protocol, TypeVar

import numpy as np

from kb_builder.errors import LongbelError
from kb_builder.store.knowledge_base import KnowledgeBase
from kb_builder.text import clean
from longbel_cli.corpora.abbreviations import abbreviations, expanded
from longbel_cli.linking.engine import Truncation
from longbel_cli.linking.protocols import Needs, OnPrompt
from longbel_cli.model.decoders import DecodeStats
from longbel_cli.progress import ignore
from longbel_cli.types import Candidate, Document, Mention, Prediction

# Distinct mentions ranked together; also how often a run may be stopped inside a window.
_BATCH = 64
_WINDOW = (64, 1000)  # documents, mentions
# Scores this close may be equal as predictions show them.
ROUNDING = 1e-6


class Hit(NamedTuple):
    """A name, by its row of the names table, and how well it fits; larger is better."""

    score: float
    row: int


class Ranker(ABC):
    """Links by ranking the names of a stretch of the names table: an `EntityLinker`."""

    name: ClassVar[str]

    def __init__(
        self, knowledge_base: KnowledgeBase, beams: int = 5, abbreviations: bool = True
    ) -> None:
        self.knowledge_base, self.beams = knowledge_base, beams
        self.abbreviations = abbreviations

    @abstractmethod
    def rank(self, mentions: Sequence[str], rows: range, limit: int) -> list[list[Hit]]:
        """For each mention (cleaned) the best name of each of the `limit` best concepts."""

    @abstractmethod
    def prepare(self, rows: range) -> int:
        """Index those names, if they are not yet; the bytes that the index takes."""

    def weight_bytes(self) -> int:
        """The memory of a model's weights (loads it)."""
        return 0

    @property
    def model_path(self) -> Path | None:
        return None

    def settings(self) -> dict[str, Any]:
        return {
            "linker": self.name,
            "kb": self.knowledge_base.signature_on_disk,
            "names_from": _shown(self.knowledge_base.names_added),
            "beams": self.beams,
            "context_format": "none",
            "model": "none",
            "abbreviations": "on" if self.abbreviations else "off",
        }

    def as_loaded(self) -> dict[str, Any]:
        return {}

    def pin_threads(self, threads: int) -> None:  # noqa: B027  # none are used, unless said so
        """Compute on that many threads from now on, where sums depend on how they are split."""

    def engine(
        self,
        beams: int | None = None,
        token_budget: int | None = None,
        on_prompt: OnPrompt | None = None,
    ) -> RankingEngine:
        """An engine; there are no prompts to tell of and no tokens to budget."""
        if on_prompt is not None:
            raise LongbelError(f"the linker {self.name} writes no prompts", exit_code=2)
        return RankingEngine(self, beams or self.beams)

    def window_size(self) -> tuple[int, int]:
        """A look-up takes seconds for them."""
        return _WINDOW

    def needs(self, documents: Sequence[Document]) -> Needs:
        """Builds the index of the groups that the documents have."""
        groups = {mention.semantic_group for document in documents for mention in document.mentions}
        searched = [rows_to_search(self.knowledge_base, group) for group in sorted(groups)]
        index = sum(self.prepare(rows) for rows in dict.fromkeys(searched))
        return Needs(memory_bytes=self.weight_bytes() + index)


class Index(Protocol):
    """What names are found by."""

    @property
    def n_bytes(self) -> int:
        """The memory it takes."""


AnyIndex = TypeVar("AnyIndex", bound=Index)


class IndexedRanker(Ranker, Generic[AnyIndex]):
    """A ranker that indexes each stretch of rows when it is first searched."""

    def __init__(
        self, knowledge_base: KnowledgeBase, beams: int = 5, abbreviations: bool = True
    ) -> None:
        super().__init__(knowledge_base, beams, abbreviations)
        self._indexes: dict[range, AnyIndex] = {}

    @abstractmethod
    def make_index(self, rows: range) -> AnyIndex:
        """Index those names."""

    def index(self, rows: range) -> AnyIndex:
        """The index of those names."""
        if rows not in self._indexes:
            self._indexes[rows] = self.make_index(rows)
        return self._indexes[rows]

    def prepare(self, rows: range) -> int:
        return self.index(rows).n_bytes


class RankingEngine:
    """Links windows of documents, equal mentions of a group together."""

    def __init__(self, ranker: Ranker, beams: int) -> None:
        self._ranker, self._beams = ranker, beams
        self._base = ranker.knowledge_base
        self.token_budget: int | None = None
        self.truncated: Mapping[str, Truncation] = {}
        self.decoder_stats = DecodeStats()

    def link_window(
        self,
        documents: Sequence[Document],
        on_step: Callable[[int], None] = ignore,
        token_budget: int | None = None,
    ) -> list[Prediction]:
        """Predictions of all mentions, in document and mention order."""
        queries = [query for document in documents for query in self._queries(document)]
        counts = Counter(query.key for query in queries)
        candidates: dict[tuple[str, str], tuple[Candidate, ...]] = {}
        for keys, ranked in self._ranked(counts):
            candidates.update(zip(keys, ranked, strict=True))
            finished = sum(counts[key] for key in keys)
            self.decoder_stats.mentions += finished
            on_step(finished)
        return [query.prediction(candidates[query.key]) for query in queries]

    def _queries(self, document: Document) -> Iterator[Query]:
        """What is looked up for each mention: its text, or what it abbreviates."""
        known = abbreviations(document.text) if self._ranker.abbreviations else {}
        for mention in document.mentions:
            yield Query(document, mention, expanded(mention.text, known))

    def _ranked(
        self, keys: Iterable[tuple[str, str]]
    ) -> Iterator[tuple[Sequence[tuple[str, str]], list[tuple[Candidate, ...]]]]:
        """Batches of one group, in the groups' order of appearance, and their candidates."""
        by_group: dict[str, list[tuple[str, str]]] = {}
        for key in keys:
            by_group.setdefault(key[0], []).append(key)
        for group, of_group in by_group.items():
            rows = rows_to_search(self._base, group)
            for start in range(0, len(of_group), _BATCH):
                batch = of_group[start : start + _BATCH]
                hits = self._ranker.rank([text for _, text in batch], rows, self._beams)
                yield batch, [self._candidates(of_mention) for of_mention in hits]

    def _candidates(self, hits: Sequence[Hit]) -> tuple[Candidate, ...]:
        rows = [hit.row for hit in hits]
        return tuple(
            Candidate(rank, code, name, hit.score)
            for rank, (hit, code, name) in enumerate(
                zip(hits, self._base.codes_of(rows), self._base.names_of(rows), strict=True), 1
            )
        )


class Query(NamedTuple):
    """What is looked up for a mention; `long_form` where the document abbreviates it."""

    document: Document
    mention: Mention
    long_form: str | None

    @property
    def key(self) -> tuple[str, str]:
        """What decides the candidates: the group and the cleaned text."""
        text = self.mention.text if self.long_form is None else self.long_form
        return self.mention.semantic_group, clean(text)

    def prediction(self, candidates: tuple[Candidate, ...]) -> Prediction:
        """The answer to the mention."""
        return Prediction.of(self.document, self.mention, candidates, self.long_form)


def _shown(corpora: Mapping[str, str]) -> str | None:
    """The corpora whose names are looked up, each with its hash, for runs and signatures."""
    return ",".join(f"{name}:{sha256[:12]}" for name, sha256 in corpora.items()) or None


def rows_to_search(base: KnowledgeBase, group: str) -> range:
    """The names of a group; all names for a group that the knowledge base does not have."""
    return base.rows_of_group(group) if group in base.groups else range(base.n_names)


def folded(text: str) -> str:
    """The form under which a mention and a name are compared: case and outer blanks apart."""
    return clean(text).strip().casefold()


def names_by_block(base: KnowledgeBase, rows: range, size: int) -> Iterator[tuple[int, list[str]]]:
    """The names of `rows`, `size` at a time, each block with its first row."""
    for start in range(rows.start, rows.stop, size):
        yield start, base.names_of(np.arange(start, min(start + size, rows.stop)))


def best_names(
    scores: np.ndarray,
    concepts: np.ndarray,
    limit: int,
    above: float = -np.inf,
    annotated: np.ndarray | None = None,
) -> list[int]:
    """Positions of the best name of each of the `limit` best concepts, best first.

    `scores` (float[n]) are compared as predictions show them, with 6 decimals; of equal ones those
    of corpora (`annotated`, bool[n]) come before others, then the first. Names that do not score
    more than `above` are left out.
    """
    kept = 4 * limit
    while True:
        top = _best(scores, kept, above, annotated)
        _, first = np.unique(concepts[top], return_index=True)
        if len(first) >= limit or len(top) < min(kept, len(scores)) or kept >= len(scores):
            return [int(position) for position in top[np.sort(first)][:limit]]
        kept *= 4


def _best(scores: np.ndarray, limit: int, above: float, annotated: np.ndarray | None) -> np.ndarray:
    """Positions of the best `limit` scores, best first."""
    reached = _reached(scores, limit) - ROUNDING
    chosen = np.flatnonzero(scores >= reached if reached > above else scores > above)
    shown = np.round(scores[chosen], 6)
    keys = (chosen, -shown) if annotated is None else (chosen, ~annotated[chosen], -shown)
    return chosen[np.lexsort(keys)][:limit]


def _reached(scores: np.ndarray, limit: int) -> float:
    """A score that at least `limit` reach: as many stretches of them have one that does."""
    stretch = len(scores) // (8 * limit)
    if stretch < 2:
        return -np.inf
    stretches = scores[: len(scores) // stretch * stretch].reshape(-1, stretch)
    return float(np.sort(stretches.max(axis=1))[-limit])


def merged(
    blocks: Iterable[Sequence[Hit]],
    concepts: np.ndarray,
    limit: int,
    annotated: np.ndarray | None = None,
) -> list[Hit]:
    """The best concepts of several blocks' best; of equal scores those of corpora come before
    others (`annotated`, bool by row), then the first row's."""

    def rank(hit: Hit) -> tuple[float, bool, int]:
        return -hit.score, annotated is not None and not annotated[hit.row], hit.row

    hits = sorted((hit for block in blocks for hit in block), key=rank)
    of_concept: dict[int, Hit] = {}
    for hit in hits:
        of_concept.setdefault(int(concepts[hit.row]), hit)
    return list(of_concept.values())[:limit]
