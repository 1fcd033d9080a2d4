"""Names of concepts: one as a record, and a whole terminology in columns as a source hands it over.

Concepts are numbered by their codes in code-point order, so that the smallest number is the
smallest code. Knows no file format.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from kb_builder.files import new_sha256
from kb_builder.semantics import SEMANTIC_TYPES, group_of_tui

NOT_A_TITLE = 127


class Term(NamedTuple):
    """One name of one concept within one semantic group.

    What its source vocabularies call it is no part of it, since a name may have several such codes
    and linking opens none of them: see `SourceCodes` and `codes.parquet`.
    """

    concept_id: str
    name: str
    semantic_group: str
    language: str | None
    preferred: bool


class Titles(NamedTuple):
    """Candidates for preferred titles as the source spells them, in no order."""

    concept: np.ndarray  # int32
    string: pa.LargeStringArray
    rank: np.ndarray  # uint8, the smaller the better
    language: np.ndarray  # int16, index into Terms.languages


@dataclass
class Terms:
    """Tidied names of concepts in groups; `group` -1 stands for every group of the concept."""

    codes: pa.LargeStringArray  # [n_concepts], sorted
    groups: tuple[str, ...]  # sorted
    languages: tuple[str, ...]  # in order of preference where a name has several
    concept: np.ndarray  # int32[n]
    name: np.ndarray  # int32[n], index into strings
    group: np.ndarray | None  # int32[n], or None: `concept_groups` alone decides
    language: np.ndarray  # int16[n]
    strings: pa.ChunkedArray  # tidied names, each perhaps several times
    titles: Titles
    concept_groups: ConceptGroups | None = None
    concept_types: ConceptTypes | None = None
    source_codes: SourceCodes | None = None
    relations: Relations | None = None
    replaced: pa.Table | None = None  # old, new, reason: see sources/history.py
    as_they_stand: bool = False  # the rules were applied already
    counts: dict[str, int] = field(default_factory=dict)
    atoms_by_language: dict[str, int] = field(default_factory=dict)
    release: str | None = None  # as the source calls itself
    files: list[dict[str, object]] = field(default_factory=list)


class CorpusRow(NamedTuple):
    """One annotated mention: its concept, its text, its type and its document."""

    code: str
    name: str
    group: str
    document: str


@dataclass(frozen=True)
class CorpusNames:
    """What a corpus calls concepts, mention by mention."""

    name: str
    rows: tuple[CorpusRow, ...]

    @property
    def sha256(self) -> str:
        """A hash of all rows in their order."""
        text = json.dumps(self.rows, ensure_ascii=False)
        return new_sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


class SourceCodes(NamedTuple):
    """What a source's own vocabularies call its names and concepts.

    `source` and `code` are first those of every term of `Terms` in turn (-1 where it has none),
    then those of `concept`, which belong to no name.
    """

    sources: tuple[str, ...]  # sorted
    codes: pa.ChunkedArray  # texts, each perhaps several times
    source: np.ndarray  # index into sources
    code: np.ndarray  # int32, index into codes
    concept: np.ndarray  # int32, of the last ones


class Relations(NamedTuple):
    """Direct parents of concepts."""

    kinds: tuple[str, ...]
    child: np.ndarray  # int32
    parent: np.ndarray  # int32
    kind: np.ndarray  # int8, index into kinds


class ConceptGroups(NamedTuple):
    """The groups of each concept: `group[first[c]:first[c + 1]]`, ascending."""

    first: np.ndarray  # int64[n_concepts + 1]
    group: np.ndarray  # int16

    @classmethod
    def from_pairs(cls, concept: np.ndarray, group: np.ndarray, n_concepts: int) -> ConceptGroups:
        """From distinct pairs sorted by concept and then by group."""
        counts = np.bincount(concept, minlength=n_concepts)
        return cls(np.concatenate(([0], np.cumsum(counts))), group.astype(np.int16))


class ConceptTypes(NamedTuple):
    """Semantic types of concepts as pairs, sorted by concept and then by TUI."""

    concept: np.ndarray  # int32
    tui: np.ndarray  # int16, the number of the TUI

    def names_in_group(self, concept: int, group: str) -> list[str]:
        """The names of a concept's types that belong to `group`, by TUI."""
        low, high = np.searchsorted(self.concept, [concept, concept + 1])
        tuis = [tui_text(tui) for tui in self.tui[low:high]]
        return [SEMANTIC_TYPES[tui].name for tui in tuis if group_of_tui(tui) == group]


def tui_text(tui: int) -> str:
    """`T047` for 47."""
    return f"T{int(tui):03d}"
