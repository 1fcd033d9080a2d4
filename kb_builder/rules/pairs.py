"""Name pairs: "this concept has this name in this group", in columns of indices.

Concepts and names are numbered in code-point order of their texts, so the smallest number is
the smallest code, and sorted numbers are sorted names.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from kb_builder.rules.columns import pairs, starts_of_runs
from kb_builder.terms import Terms

# What the audit table says of a name pair, by the rule that decided.
RULES = (
    "empty",  # rule 2 left nothing of the string
    "ambiguous",  # rule 3: the name has several concepts, each with names of its own
    "only-nameless",  # rule 3: it goes to the one concept among them without any name
    "smallest-code",  # rule 3: several are without any name; it goes to the smallest code
    "title-exists",  # rule 4: a kept name already equals the preferred title
    "title-smallest-code",  # rule 4: several concepts claim the title; the smallest code has it
    "all-caps",  # rule 5: the concept has the same letters in another case
    "qualified",  # the name came back with its title, type or code in brackets
    "corpus",  # the annotators of a corpus use the name for another concept
)
RULE_NUMBER = {rule: index for index, rule in enumerate(RULES)}
NOBODY = -1


class NamePairs(NamedTuple):
    """Claims in columns, sorted by group, name, concept where not said otherwise."""

    group: np.ndarray  # int32
    name: np.ndarray  # int32
    concept: np.ndarray  # int32
    language: np.ndarray  # int16, -1 for none

    @property
    def n(self) -> int:
        """How many pairs these are."""
        return len(self.group)

    def take(self, where: np.ndarray) -> NamePairs:
        """The pairs at `where`, a mask or positions."""
        return NamePairs(*(column[where] for column in self))

    def by_name(self) -> NamePairs:
        """The pairs by group and name, then by concept."""
        if self.n < 2:
            return self
        order = np.lexsort((self.concept, pairs(self.group, self.name)))
        return self.take(order)


def joined(*name_pairs: NamePairs) -> NamePairs:
    """All of these pairs, one after the other."""
    return NamePairs(*(np.concatenate(columns) for columns in zip(*name_pairs, strict=True)))


class Audit(NamedTuple):
    """Decisions in columns: `concept` claimed `name` in `group`; `given_to` has it now."""

    group: np.ndarray
    name: np.ndarray
    concept: np.ndarray
    given_to: np.ndarray  # NOBODY: nobody
    rule: np.ndarray  # index into RULES


class AuditRows:
    """Gathers decisions; within a rule they stand by group, name and concept."""

    def __init__(self) -> None:
        self._parts: list[Audit] = []

    def add(self, name_pairs: NamePairs, rule: str, given_to: np.ndarray | int = NOBODY) -> None:
        """One rule's decisions on these pairs."""
        self.add_each(name_pairs, np.full(name_pairs.n, RULE_NUMBER[rule], np.int8), given_to)

    def add_each(self, name_pairs: NamePairs, rule: np.ndarray, given_to: np.ndarray | int) -> None:
        """Decisions on these pairs, each by its own rule."""
        to = np.broadcast_to(np.asarray(given_to, dtype=np.int32), (name_pairs.n,))
        self._parts.append(Audit(name_pairs.group, name_pairs.name, name_pairs.concept, to, rule))

    def rows(self) -> Audit:
        """All decisions in order."""
        whole = Audit(*(np.concatenate(columns) for columns in zip(*self._parts, strict=True)))
        order = np.lexsort((whole.concept, pairs(whole.group, whole.name), whole.rule))
        return Audit(*(column[order] for column in whole))


@dataclass(frozen=True)
class _Packing:
    """Pairs as one int64 each, so that sorting pairs is sorting integers.

    No language is the last of all, so that it gives way to any language of the same pair.
    """

    n_languages: int
    name_bits: int
    concept_bits: int
    language_bits: int

    @classmethod
    def of(cls, n_groups: int, n_names: int, n_concepts: int, n_languages: int) -> _Packing:
        bits = [max(n, 1).bit_length() for n in (n_names, n_concepts, n_languages)]
        if sum(bits) + max(n_groups, 1).bit_length() > 63:
            raise OverflowError("more names, concepts and groups than 63 bits can tell apart")
        return cls(n_languages, *bits)

    def pack(self, name_pairs: NamePairs) -> np.ndarray:
        key = name_pairs.group.astype(np.int64)
        key <<= self.name_bits
        key |= name_pairs.name
        key <<= self.concept_bits
        key |= name_pairs.concept
        key <<= self.language_bits
        key |= np.where(name_pairs.language < 0, self.n_languages, name_pairs.language)
        return key

    def unpack(self, key: np.ndarray) -> NamePairs:
        language = (key & ((1 << self.language_bits) - 1)).astype(np.int16)
        language[language == self.n_languages] = -1
        key = key >> self.language_bits
        concept = (key & ((1 << self.concept_bits) - 1)).astype(np.int32)
        key >>= self.concept_bits
        name = (key & ((1 << self.name_bits) - 1)).astype(np.int32)
        return NamePairs((key >> self.name_bits).astype(np.int32), name, concept, language)


def name_pairs_of(terms: Terms, name: np.ndarray, n_names: int) -> NamePairs:
    """The distinct pairs of all terms, each in its first language; `name` numbers the texts."""
    name_pairs = _in_every_group(terms, name)
    packing = _Packing.of(len(terms.groups), n_names, len(terms.codes), len(terms.languages))
    key = packing.pack(name_pairs)
    del name_pairs
    key.sort()
    return packing.unpack(key[starts_of_runs(key >> packing.language_bits)])


def _in_every_group(terms: Terms, name: np.ndarray) -> NamePairs:
    """Each term in its group, or in every group of its concept."""
    if terms.group is not None:
        return NamePairs(terms.group, name, terms.concept, terms.language)
    assert terms.concept_groups is not None
    first, groups = terms.concept_groups
    size = (first[1:] - first[:-1])[terms.concept]
    row = np.repeat(np.arange(len(size)), size)
    within = np.arange(len(row)) - np.repeat(np.cumsum(size) - size, size)
    group = groups[first[terms.concept[row]] + within].astype(np.int32)
    return NamePairs(group, name[row], terms.concept[row], terms.language[row])


@dataclass
class Names:
    """The names of a knowledge base, sorted by group and name, and how they came about."""

    strings: pa.LargeStringArray  # distinct texts in code-point order
    kept: NamePairs
    preferred: np.ndarray  # bool[n]
    title: np.ndarray  # int32[n_concepts], index into strings, -1 without
    has_pairs: np.ndarray  # bool[n_concepts]: had at least one name pair
    audit: Audit
    counts: dict[str, int]
    text: np.ndarray | None = None  # int32[n_terms], of each term; only if it has source codes
    annotated: NamePairs | None = None  # of corpora, as Annotated has them, with numbers of strings
    qualified: NamePairs | None = None  # that were kept under another name
    qualified_name: np.ndarray | None = None  # int32, that name

    def nameless(self) -> np.ndarray:
        """Concepts that claimed names and are left without any."""
        has_name = np.zeros(len(self.title), dtype=bool)
        has_name[self.kept.concept] = True
        return np.flatnonzero(self.has_pairs & ~has_name)
