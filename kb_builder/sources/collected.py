"""A terminology that is read concept by concept (OBO, MeSH), gathered as columns.

Concepts are numbered as they first appear and renumbered by their codes at the end.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np
import pyarrow as pa

from kb_builder.errors import LongbelError
from kb_builder.rules.columns import distinct, pairs, sorted_texts
from kb_builder.rules.normalise import tidy_column
from kb_builder.sources.cycles import cyclic_edges
from kb_builder.sources.history import Retirements
from kb_builder.sources.reading import Reading, chosen_languages
from kb_builder.sources.tables import wanted_group_names
from kb_builder.terms import ConceptGroups, Relations, SourceCodes, Terms, Titles

_FLUSH = 1 << 16


class _Texts:
    """A growing column of texts, held as Arrow."""

    def __init__(self) -> None:
        self._chunks: list[pa.LargeStringArray] = []
        self._waiting: list[str] = []

    def append(self, text: str) -> None:
        self._waiting.append(text)
        if len(self._waiting) >= _FLUSH:
            self._flush()

    def _flush(self) -> None:
        self._chunks.append(pa.array(self._waiting, pa.large_string()))
        self._waiting = []

    def column(self) -> pa.LargeStringArray:
        self._flush()
        return pa.concat_arrays(self._chunks)


class Collected:
    """Concepts, names, groups, codes and parents so far."""

    def __init__(self, reading: Reading) -> None:
        self.reading = reading
        self.retirements = Retirements(reading.bad)
        self.counts: Counter[str] = Counter(atoms=0)
        self.files: list[dict[str, object]] = []
        self._concepts: dict[str, int] = {}
        self._name_concept, self._name_language = array("i"), array("i")
        self._is_title = array("b")
        self._names = _Texts()
        self._languages: dict[str, int] = {}
        self._groups: list[tuple[int, str]] = []
        self._codes: list[tuple[int, str, str]] = []
        self._parents: list[tuple[int, str, int, str, int]] = []
        self._kinds: dict[str, int] = {}

    def concept(self, code: str) -> int:
        """The number of a concept, new or known."""
        return self._concepts.setdefault(code, len(self._concepts))

    def holds(self, code: str) -> bool:
        """Whether a concept of that code has come."""
        return code in self._concepts

    def add_name(self, concept: int, name: str, language: str, is_title: bool = False) -> None:
        """A name in a language of UMLS; of several titles the rules choose."""
        self.counts["atoms"] += 1
        self._name_concept.append(concept)
        self._name_language.append(self._languages.setdefault(language, len(self._languages)))
        self._is_title.append(is_title)
        self._names.append(name)

    def add_group(self, concept: int, group: str) -> None:
        self._groups.append((concept, group))

    def add_code(self, concept: int, source: str, code: str) -> None:
        """What another vocabulary calls the concept."""
        self._codes.append((concept, source, code))

    def add_parent(self, child: int, parent: str, kind: str, file: str, line: int) -> None:
        """A direct parent by its code, which may come later or never."""
        kind_index = self._kinds.setdefault(kind, len(self._kinds))
        self._parents.append((child, parent, kind_index, file, line))

    def parents(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Children, parents and kinds, by numbers of concepts.

        `is_a` that goes round is quarantined; of other kinds no concept is its own parent.
        """
        known = [row for row in self._parents if row[1] in self._concepts]
        child = np.array([row[0] for row in known], dtype=np.int32)
        parent = np.array([self._concepts[row[1]] for row in known], dtype=np.int32)
        kind = np.array([row[2] for row in known], dtype=np.int8)
        is_a = np.flatnonzero(kind == self._kinds.get("is_a", -1))
        cyclic = np.zeros(len(kind), dtype=bool)
        cyclic[is_a] = cyclic_edges(child[is_a], parent[is_a])
        codes = list(self._concepts)
        for index in np.flatnonzero(cyclic).tolist():
            below, above, _, file, line = known[index]
            self.reading.bad.add(file, line, f"{codes[below]} is below itself, by way of {above}")
        kept = ~cyclic & (child != parent)
        return child[kept], parent[kept], kind[kept]

    def terms(
        self,
        edges: tuple[np.ndarray, np.ndarray, np.ndarray],
        source_of: Callable[[str], str],
        release: str | None,
    ) -> Terms:
        """Everything as terms; `source_of` names the vocabulary of a code."""
        selection = self.reading.selection
        own = list(self._concepts)
        codes, rank = sorted_texts(pa.array(own, pa.large_string()))
        held = list(self._languages)
        chosen = chosen_languages(held, selection)
        languages = chosen + tuple(sorted(set(held) - set(chosen)))
        order = np.array([languages.index(code) for code in held], dtype=np.int16)
        language = order[_ints(self._name_language)]
        wanted = language < len(chosen)
        self.counts["other_language"] = int(np.count_nonzero(~wanted))
        raw = self._names.column().dictionary_encode()
        string = raw.indices.to_numpy().astype(np.int32)
        concept = rank[_ints(self._name_concept)]
        title = np.frombuffer(self._is_title, np.int8) > 0 if len(self._is_title) else wanted
        groups, concept_groups = self._concept_groups(rank)
        child, parent, kind = edges
        return Terms(
            codes=codes,
            groups=groups,
            languages=languages,
            concept=concept[wanted],
            name=string[wanted],
            group=None,
            language=language[wanted],
            strings=pa.chunked_array([tidy_column(raw.dictionary)]),
            titles=Titles(
                concept[title],
                raw.dictionary.take(pa.array(string[title])),
                np.zeros(int(title.sum()), np.uint8),
                language[title],
            ),
            concept_groups=concept_groups,
            source_codes=self._source_codes(own, rank, concept[wanted], source_of),
            relations=Relations(tuple(self._kinds), rank[child], rank[parent], kind),
            replaced=self.retirements.table(self.holds),
            counts=dict(self.counts),
            release=release,
            files=self.files,
        )

    def _concept_groups(self, rank: np.ndarray) -> tuple[tuple[str, ...], ConceptGroups]:
        """The wanted groups, sorted, and those of each concept."""
        held = sorted({group for _, group in self._groups})
        chosen = wanted_group_names(held, self.reading.selection)
        groups = [group for group, wanted in zip(held, chosen, strict=True) if wanted]
        index = {group: position for position, group in enumerate(groups)}
        of_concept = [(c, index[group]) for c, group in self._groups if group in index]
        rows = np.array(of_concept, dtype=np.int64).reshape(-1, 2)
        pair = distinct(pairs(rank[rows[:, 0]], rows[:, 1]))
        return tuple(groups), ConceptGroups.from_pairs(pair >> 32, pair & 0xFFFFFFFF, len(rank))

    def _source_codes(
        self,
        own: Sequence[str],
        rank: np.ndarray,
        concept: np.ndarray,
        source_of: Callable[[str], str],
    ) -> SourceCodes:
        """Of every name the concept's own code; then what other vocabularies call concepts."""
        of_concept = [source_of(code) for code in own]
        sources = sorted({*of_concept, *(source for _, source, _ in self._codes)})
        index = {source: concept_index for concept_index, source in enumerate(sources)}
        own_source = np.zeros(len(own), dtype=np.int32)
        own_source[rank] = [index[source] for source in of_concept]
        own_code = np.zeros(len(own), dtype=np.int32)
        own_code[rank] = np.arange(len(own))
        others = [code for _, _, code in self._codes]
        texts = pa.chunked_array([pa.array(own, pa.large_string()),
                                  pa.array(others, pa.large_string())])  # fmt: skip
        other_source = np.array([index[source] for _, source, _ in self._codes], dtype=np.int32)
        other_concept = np.array(
            [concept_index for concept_index, _, _ in self._codes], dtype=np.int64
        )
        return SourceCodes(
            tuple(sources),
            texts,
            np.concatenate([own_source[concept], other_source]),
            np.concatenate([own_code[concept], len(own) + np.arange(len(others))]).astype(np.int32),
            rank[other_concept].astype(np.int32),
        )


def _ints(values: array) -> np.ndarray:
    return np.frombuffer(values, np.int32) if len(values) else np.zeros(0, np.int32)


def require_vocabularies(wanted: frozenset[str] | None, held: set[str]) -> None:
    """A vocabulary that the source does not hold is a slip of the pen."""
    lacking = sorted((wanted or frozenset()) - held)
    if lacking:
        raise LongbelError(
            f"the source has no concept of vocabulary {lacking[0]}",
            hint=f"It has {', '.join(sorted(held)) or 'none'}.",
        )
