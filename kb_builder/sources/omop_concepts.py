"""CONCEPT of an OMOP vocabulary folder: which concepts are wanted, with their groups and codes."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from kb_builder.errors import LongbelError
from kb_builder.semantics import GROUP_NAMES
from kb_builder.sources.omop_domains import ADMINISTRATIVE, GROUP_OF_DOMAIN, group_code_of_concept
from kb_builder.sources.omop_tables import Batch
from kb_builder.sources.reading import Reading
from kb_builder.sources.tables import wanted_group_names

_LISTED = 20


@dataclass
class Concepts:
    """CONCEPT: every row's id and codes, and of those that are wanted their names and groups."""

    id: np.ndarray  # int64[n], ascending
    code: pa.LargeStringArray  # [n] concept_code
    vocabulary: np.ndarray  # int32[n], index into vocabularies
    vocabularies: tuple[str, ...]
    is_retired: np.ndarray  # bool[n]: would be wanted but for its invalid_reason
    wanted: np.ndarray  # positions among the n
    name: pa.LargeStringArray  # of the wanted
    group: np.ndarray  # int8, of the wanted, index into groups
    groups: tuple[str, ...]

    def positions(self, ids: np.ndarray) -> np.ndarray:
        """Where ids stand among all, -1 for those that are not there."""
        if len(self.id) == 0:
            return np.full(len(ids), -1)
        at = np.minimum(np.searchsorted(self.id, ids), len(self.id) - 1)
        return np.where(self.id[at] == ids, at, -1)


class GatheredConcepts:
    """The batches of CONCEPT so far."""

    def __init__(self, reading: Reading, file: str) -> None:
        self._reading, self._file = reading, file
        self._selection = reading.selection
        self.counts: Counter[str] = Counter(terms=0, obsolete=0, other_domain=0)
        self._domains: set[str] = set()
        self._vocabularies: dict[str, int] = {}
        self._groups: dict[str, int] = {}
        self._parts: list[tuple[np.ndarray, ...]] = []  # id, line, vocabulary, group, retired
        self._codes: list[pa.LargeStringArray] = []
        self._names: list[pa.LargeStringArray] = []
        asked = self._selection.domains
        self._asked = None if asked is None else {name.casefold() for name in asked}

    def add(self, batch: Batch) -> None:
        """Some rows of CONCEPT."""
        texts = batch.texts
        vocabulary = self._indices(texts["vocabulary_id"], self._vocabularies)
        in_vocabulary = np.ones(len(vocabulary), dtype=bool)
        if self._selection.vocabularies is not None:
            held = [name in self._selection.vocabularies for name in self._vocabularies]
            in_vocabulary = np.array([*held, False], dtype=bool)[vocabulary]
        group = self._groups_of(batch, in_vocabulary)
        valid = _equals(texts["invalid_reason"], "")
        self.counts["terms"] += len(vocabulary)
        self.counts["other_vocabulary"] += int(np.count_nonzero(~in_vocabulary))
        chosen = in_vocabulary & (group >= 0)
        self.counts["obsolete"] += int(np.count_nonzero(chosen & ~valid))
        retired = chosen & ~valid
        if self._selection.standard_only:
            standard = _equals(texts["standard_concept"], "S")
            self.counts["not_standard"] += int(np.count_nonzero(chosen & valid & ~standard))
            chosen &= standard
        group = np.where(chosen & valid, group, -1).astype(np.int8)
        self._parts.append((batch.numbers["concept_id"], batch.lines, vocabulary, group, retired))
        self._codes.append(texts["concept_code"])
        self._names.append(pc.if_else(pa.array(group >= 0), texts["concept_name"], ""))

    def _groups_of(self, batch: Batch, chosen: np.ndarray) -> np.ndarray:
        """int16[n]: each row's group, -1 where its domain is not wanted."""
        classes = {"domain": batch.texts["domain_id"], "class": batch.texts["concept_class_id"]}
        domain, kind = (column.dictionary_encode() for column in classes.values())
        domains, kinds = domain.dictionary.to_pylist(), kind.dictionary.to_pylist()
        at = domain.indices.to_numpy().astype(np.int64) * len(kinds) + kind.indices.to_numpy()
        table = np.full(len(domains) * len(kinds), -1, dtype=np.int16)
        for pair in np.unique(at).tolist():
            name, of_class = domains[pair // len(kinds)], kinds[pair % len(kinds)]
            table[pair] = self._group_index(name, of_class)
        self._domains.update(domains)
        if self._selection.group is None:
            self._quarantine_unknown(batch, domain, chosen)
        group = table[at]
        self.counts["other_domain"] += int(np.count_nonzero(chosen & (group < 0)))
        return group

    def _quarantine_unknown(
        self, batch: Batch, domain: pa.DictionaryArray, chosen: np.ndarray
    ) -> None:
        names = domain.dictionary.to_pylist()
        unknown = [name not in GROUP_OF_DOMAIN and self._is_asked(name) for name in names]
        index = domain.indices.to_numpy()
        for row in np.flatnonzero(np.array([*unknown, False], dtype=bool)[index] & chosen).tolist():
            reason = f"unknown domain {names[index[row]]}"
            self._reading.bad.add(self._file, int(batch.lines[row]), reason)

    def _group_index(self, domain: str, concept_class: str) -> int:
        if not self._is_asked(domain):
            return -1
        name = self._selection.group
        if name is None:
            if domain not in GROUP_OF_DOMAIN:
                return -1
            code = group_code_of_concept(domain, concept_class)
            name = GROUP_NAMES[code or ADMINISTRATIVE]
        return self._groups.setdefault(name, len(self._groups))

    def _is_asked(self, domain: str) -> bool:
        """By name; without `--domains` all but the administrative ones."""
        if self._asked is not None:
            return domain.casefold() in self._asked
        return GROUP_OF_DOMAIN.get(domain, ADMINISTRATIVE) is not None

    @staticmethod
    def _indices(column: pa.LargeStringArray, words: dict[str, int]) -> np.ndarray:
        encoded = column.dictionary_encode()
        held = [words.setdefault(word, len(words)) for word in encoded.dictionary.to_pylist()]
        return np.array([*held, -1], dtype=np.int32)[encoded.indices.to_numpy()]

    def concepts(self) -> Concepts:
        """All rows, by id; of an id that stands twice the first."""
        self._check_selection()
        empty = (np.int64, np.int64, np.int32, np.int8, bool)
        columns = list(zip(*self._parts, strict=True)) or [()] * 5
        ids, lines, vocabulary, group, retired = (
            np.concatenate([np.zeros(0, kind), *part])
            for kind, part in zip(empty, columns, strict=True)
        )
        order = np.argsort(ids, kind="stable")
        repeated = np.zeros(len(ids), dtype=bool)
        repeated[1:] = ids[order][1:] == ids[order][:-1]
        for line in np.sort(lines[order[repeated]]).tolist():
            self._reading.bad.add(self._file, line, "a concept_id that stands twice")
        order = order[~repeated]
        codes = pa.chunked_array(self._codes, pa.large_string()).take(pa.array(order))
        group = group[order]
        wanted = np.flatnonzero(group >= 0)
        names = pa.chunked_array(self._names, pa.large_string()).take(pa.array(order[wanted]))
        return self._with_wanted_groups(
            Concepts(
                ids[order], _one(codes), vocabulary[order], tuple(self._vocabularies),
                retired[order], wanted, _one(names), group[wanted], tuple(self._groups),
            )
        )  # fmt: skip

    def _with_wanted_groups(self, concepts: Concepts) -> Concepts:
        """Groups sorted, and without those that `--semantic-groups` leaves out."""
        chosen = wanted_group_names(list(concepts.groups), self._selection)
        names = sorted(
            name for name, is_wanted in zip(concepts.groups, chosen, strict=True) if is_wanted
        )
        index = [names.index(name) if name in names else -1 for name in concepts.groups]
        group = np.array([*index, -1], dtype=np.int8)[concepts.group]
        kept = group >= 0
        concepts.wanted, concepts.group = concepts.wanted[kept], group[kept]
        concepts.name, concepts.groups = concepts.name.filter(pa.array(kept)), tuple(names)
        return concepts

    def _check_selection(self) -> None:
        held = {
            "domain": (self._asked, {name.casefold(): name for name in self._domains}),
            "vocabulary": (
                self._selection.vocabularies,
                {name: name for name in self._vocabularies},
            ),
        }
        for what, (asked, known) in held.items():
            lacking = sorted(set(asked or ()) - set(known))
            if lacking:
                listed = sorted(known.values())
                more = "" if len(listed) <= _LISTED else ", …"
                raise LongbelError(
                    f"{self._file} has no {what} {lacking[0]}",
                    hint=f"It has {', '.join(listed[:_LISTED])}{more}.",
                    exit_code=2,
                )


def code_texts(concepts: Concepts, rows: np.ndarray, code: str) -> pa.LargeStringArray:
    """The codes of rows; with concept_code and several vocabularies each after its own's name."""
    if code == "concept_id":
        return pa.array(concepts.id[rows]).cast(pa.large_string())
    texts = concepts.code.take(pa.array(rows))
    if len(np.unique(concepts.vocabulary[concepts.wanted])) < 2:
        return texts
    words = pa.array(concepts.vocabularies, pa.large_string())
    vocabulary = words.take(pa.array(concepts.vocabulary[rows]))
    return pc.binary_join_element_wise(vocabulary, texts, pa.scalar(":", pa.large_string()))


def _one(column: pa.ChunkedArray) -> pa.LargeStringArray:
    return pa.concat_arrays([pa.array([], pa.large_string()), *column.chunks])


def _equals(column: pa.LargeStringArray, text: str) -> np.ndarray:
    return pc.equal(column, text).to_numpy(zero_copy_only=False)
