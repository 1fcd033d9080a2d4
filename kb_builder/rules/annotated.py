"""Names as the annotators of corpora use them, which come before the source's own.

Of two concepts that a corpus calls by one name the more often annotated has it, then the smaller
code. Knows corpora as rows of code, name, group and document.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from kb_builder.rules.columns import pairs, starts_of_runs
from kb_builder.rules.normalise import tidy
from kb_builder.rules.pairs import AuditRows, NamePairs, joined
from kb_builder.semantics import resolve_group
from kb_builder.terms import ConceptGroups, CorpusNames


@dataclass(frozen=True)
class Annotated:
    """Claims of corpora, and where each comes from."""

    corpora: tuple[str, ...]
    strings: pa.LargeStringArray  # tidied, distinct
    name_pairs: NamePairs  # `name` is an index into strings
    mentions: np.ndarray  # int64, how often each was annotated
    origin: tuple[tuple[int, ...], ...]  # the corpora of each, ascending
    documents: tuple[tuple[str, ...], ...]  # of each corpus those that names came from, sorted
    counts: dict[str, int] = field(default_factory=dict)


class Terminology(Protocol):
    """The concepts that corpora are held against; `Terms` is one."""

    @property
    def codes(self) -> Any:
        """Texts, by concept."""

    @property
    def groups(self) -> tuple[str, ...]:
        """Their names."""

    @property
    def concept(self) -> np.ndarray:
        """Of every name."""

    @property
    def group(self) -> np.ndarray | None:
        """Of every name; None where `concept_groups` has them."""

    @property
    def concept_groups(self) -> ConceptGroups | None:
        """Of every concept."""


class _Key(NamedTuple):
    group: int
    name: str
    concept: int


def annotated_names(
    terms: Terminology, corpora: Sequence[CorpusNames], min_documents: int = 1
) -> Annotated:
    """What corpora call the concepts of `terms`, each in at least `min_documents` documents.

    A name goes into the group that its mention's type means; where that is none, into every group
    of its concept.
    """
    reader = _Reader(terms)
    for index, corpus in enumerate(corpora):
        reader.add(index, corpus)
    return reader.annotated(tuple(corpus.name for corpus in corpora), min_documents)


class _Reader:
    """The rows of corpora, counted by group, name and concept."""

    def __init__(self, terms: Terminology) -> None:
        self._terms = terms
        self._groups: dict[str, int | None] = {}
        self._of_concept: dict[int, list[int]] = {}
        self._mentions: Counter[_Key] = Counter()
        self._documents: dict[_Key, set[tuple[int, str]]] = defaultdict(set)
        self.counts: Counter[str] = Counter(corpus_mentions=0, corpus_unknown_codes=0)

    def add(self, index: int, corpus: CorpusNames) -> None:
        """The rows of one corpus."""
        codes = sorted({row.code for row in corpus.rows})
        rows = pc.index_in(pa.array(codes, pa.large_string()), value_set=self._terms.codes)
        concept_of = dict(zip(codes, rows.to_pylist(), strict=True))
        for row in corpus.rows:
            self.counts["corpus_mentions"] += 1
            concept = concept_of[row.code]
            name = tidy(" ".join(row.name.split()))
            groups = [] if concept is None else self._groups_of(row.group, concept)
            if not groups or concept is None:
                self.counts["corpus_unknown_codes"] += 1
            for group in groups if name else ():
                key = _Key(group, name, concept or 0)
                self._mentions[key] += 1
                self._documents[key].add((index, row.document))

    def _groups_of(self, word: str, concept: int) -> list[int]:
        if word not in self._groups:
            name = resolve_group(word, self._terms.groups)
            self._groups[word] = None if name is None else self._terms.groups.index(name)
        group = self._groups[word]
        return self._own_groups(concept) if group is None else [group]

    def _own_groups(self, concept: int) -> list[int]:
        if concept not in self._of_concept:
            terms = self._terms
            if terms.group is not None:
                groups = np.unique(terms.group[terms.concept == concept])
            else:
                assert terms.concept_groups is not None
                first, group = terms.concept_groups
                groups = group[first[concept] : first[concept + 1]]
            self._of_concept[concept] = groups.tolist()
        return self._of_concept[concept]

    def annotated(self, names: tuple[str, ...], min_documents: int) -> Annotated:
        """All of it in order."""
        kept = sorted(
            key for key, documents in self._documents.items() if len(documents) >= min_documents
        )
        strings = sorted({key.name for key in kept})
        rank = {name: index for index, name in enumerate(strings)}
        rows = [(key.group, rank[key.name], key.concept) for key in kept]
        group, name, concept = np.array(rows, dtype=np.int32).reshape(-1, 3).T
        used = {document for key in kept for document in self._documents[key]}
        return Annotated(
            corpora=names,
            strings=pa.array(strings, pa.large_string()),
            name_pairs=NamePairs(group, name, concept, np.full(len(kept), -1, dtype=np.int16)),
            mentions=np.array([self._mentions[key] for key in kept], dtype=np.int64),
            origin=tuple(
                tuple(sorted({corpus for corpus, _ in self._documents[key]})) for key in kept
            ),
            documents=tuple(
                tuple(sorted(document for corpus, document in used if corpus == index))
                for index in range(len(names))
            ),
            counts=dict(self.counts),
        )


class Settled(NamedTuple):
    """What corpora decide before rule 3."""

    owned: NamePairs  # the names that they give to concepts
    rest: NamePairs  # what the source claims beside these
    counts: dict[str, int]


def settle(
    name_pairs: NamePairs, annotated: NamePairs, mentions: np.ndarray, audit: AuditRows
) -> Settled:
    """Names that corpora use go to their concepts; whoever else claims one has lost it.

    Names are numbered as in `name_pairs`.
    """
    order = np.lexsort((annotated.concept, -mentions, pairs(annotated.group, annotated.name)))
    annotated = annotated.take(order)
    is_first = starts_of_runs(annotated.group, annotated.name)
    owned, others = annotated.take(is_first), annotated.take(~is_first)
    owner, is_own = _owners(name_pairs, owned)
    own = name_pairs.take(is_own)
    lost = _distinct(joined(name_pairs.take((owner >= 0) & ~is_own), others))
    audit.add(lost, "corpus", _owners(lost, owned)[0])
    language = np.full(owned.n, -1, dtype=np.int16)
    language[np.searchsorted(pairs(owned.group, owned.name), pairs(own.group, own.name))] = (
        own.language
    )
    counts = {"corpus_names": owned.n, "corpus_names_new": owned.n - own.n, "corpus_lost": lost.n}
    return Settled(owned._replace(language=language), name_pairs.take(owner < 0), counts)


def _owners(name_pairs: NamePairs, owned: NamePairs) -> tuple[np.ndarray, np.ndarray]:
    """Of each pair the concept that owns its name (-1: none), and whether that is its own."""
    if owned.n == 0:
        return np.full(name_pairs.n, -1, dtype=np.int32), np.zeros(name_pairs.n, dtype=bool)
    keys = pairs(owned.group, owned.name)
    wanted = pairs(name_pairs.group, name_pairs.name)
    at = np.minimum(np.searchsorted(keys, wanted), owned.n - 1)
    owner = np.where(keys[at] == wanted, owned.concept[at], -1).astype(np.int32)
    return owner, owner == name_pairs.concept


def _distinct(name_pairs: NamePairs) -> NamePairs:
    name_pairs = name_pairs.by_name()
    return name_pairs.take(starts_of_runs(name_pairs.group, name_pairs.name, name_pairs.concept))


def all_name_pairs(name_pairs: NamePairs, annotated: NamePairs) -> NamePairs:
    """What the source and corpora say, each pair once."""
    return _distinct(joined(name_pairs, annotated))
