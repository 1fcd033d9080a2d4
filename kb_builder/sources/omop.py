"""An OMOP vocabulary folder, as Athena writes it, as terms, codes, parents and retired concepts.

Its `.csv` files have tabs between fields and no quoting at all. CONCEPT is needed; synonyms and
relationships are missed, and said to be, where their files are not there.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from kb_builder.errors import LongbelError
from kb_builder.rules.columns import distinct, indices_of, pairs, sorted_texts
from kb_builder.rules.normalise import tidy_column
from kb_builder.sources.archives import Release, holds
from kb_builder.sources.cycles import cyclic_edges
from kb_builder.sources.history import Retirements
from kb_builder.sources.omop_concepts import Concepts, GatheredConcepts, code_texts
from kb_builder.sources.omop_tables import COLUMNS, CONCEPT, RELATIONSHIP, SYNONYM, OmopTable
from kb_builder.sources.reading import Reading, chosen_languages
from kb_builder.sources.rrf import Rows
from kb_builder.terms import ConceptGroups, Relations, SourceCodes, Terms, Titles

_IS_A, _REPLACED_BY = b"Is a", b"Concept replaced by"
# Concepts of languages, as OHDSI's own scripts number them.
_LANGUAGES = {
    4180186: "ENG", 4180190: "FRE", 4182511: "SPA", 4182504: "GER", 4182507: "ITA",
    4182503: "DUT", 4181536: "POR", 4182948: "CHI", 4181730: "FIN", 4175777: "SWE",
}  # fmt: skip


def matches(path: Path) -> bool:
    """Whether this is a vocabulary folder, or its table of concepts."""
    return holds(path, CONCEPT)


def read(reading: Reading) -> Terms:
    """The terms of an OMOP vocabulary folder."""
    path = reading.path
    with Release(
        path.parent if path.is_file() and path.suffix.lower() == ".csv" else path
    ) as files:
        return _Omop(files, reading).terms()


class _Omop:
    """The folder on its way to terms."""

    def __init__(self, release: Release, reading: Reading) -> None:
        self._release, self._reading = release, reading
        self._counts: Counter[str] = Counter()
        self._files: list[dict[str, object]] = []

    def terms(self) -> Terms:
        """Everything as terms."""
        table = self._table(CONCEPT)
        if table is None:
            raise LongbelError(
                f"{self._release.source}: no {CONCEPT} in it",
                hint="Give the folder that Athena's archive was unpacked into.",
            )
        concepts = self._concepts(table)
        codes, rank = _sorted_texts_of(code_texts(concepts, concepts.wanted, self._code))
        concept_of_row = np.full(len(concepts.id), -1, dtype=np.int32)  # of a row's concept
        concept_of_row[concepts.wanted] = rank
        names = _Names(concepts, concept_of_row)
        synonyms = self._table(SYNONYM)
        if synonyms is not None:
            self._add_synonyms(synonyms, names)
        relations, replaced = self._relationships(concepts, codes, concept_of_row)
        return self._joined(concepts, codes, names, relations, replaced)

    @property
    def _code(self) -> str:
        return self._reading.selection.code or "concept_id"

    def _table(self, name: str) -> OmopTable | None:
        file = self._release.find(name)
        if file is None:
            if name != CONCEPT:
                self._reading.bad.add(name, 0, "the file is missing")
            return None
        return OmopTable(file, self._reading)

    def _concepts(self, table: OmopTable) -> Concepts:
        gathered = GatheredConcepts(self._reading, table.name)
        for batch in table.rows(("concept_id",), COLUMNS[CONCEPT][1:]):
            gathered.add(batch)
        self._files.append(table.about)
        self._counts.update(gathered.counts)
        return gathered.concepts()

    def _add_synonyms(self, table: OmopTable, names: _Names) -> None:
        ids = ("concept_id", "language_concept_id")
        for batch in table.rows(ids, ("concept_synonym_name",)):
            names.add(batch.numbers, batch.texts["concept_synonym_name"])
        self._files.append(table.about)

    def _relationships(
        self, concepts: Concepts, codes: pa.LargeStringArray, concept_of_row: np.ndarray
    ) -> tuple[Relations | None, pa.Table]:
        retirements = Retirements(self._reading.bad)
        relations = None
        table = self._table(RELATIONSHIP)
        if table is not None:
            relations = self._read_relationships(table, concepts, concept_of_row, retirements)
            self._files.append(table.about)
        old = code_texts(concepts, np.flatnonzero(concepts.is_retired), self._code)
        old = old.filter(pc.invert(pc.is_in(old, value_set=codes)))  # a code may be taken again
        n = len(old)
        retirements.extend(old.to_pylist(), [None] * n, ["retired"] * n, CONCEPT, [0] * n)
        return relations, retirements.table(lambda code: _holds(codes, code))

    def _read_relationships(
        self,
        table: OmopTable,
        concepts: Concepts,
        concept_of_row: np.ndarray,
        retirements: Retirements,
    ) -> Relations:
        child, parent, lines = [], [], []
        ids = ("concept_id_1", "concept_id_2")
        for batch in table.rows(ids, ("relationship_id",), _valid_relationships):
            first, second = (concepts.positions(batch.numbers[name]) for name in ids)
            is_a = pc.equal(batch.texts["relationship_id"], _IS_A.decode())
            is_a = is_a.to_numpy(zero_copy_only=False)
            known = (first >= 0) & (second >= 0)
            below = known & is_a & (concept_of_row[first] >= 0) & (concept_of_row[second] >= 0)
            child.append(concept_of_row[first[below]])
            parent.append(concept_of_row[second[below]])
            lines.append(batch.lines[below])
            gone = known & ~is_a
            old, new = (
                code_texts(concepts, at[gone], self._code).to_pylist() for at in (first, second)
            )
            reasons = ["replaced"] * len(old)
            retirements.extend(old, new, reasons, table.name, batch.lines[gone].tolist())
        none = np.zeros(0, np.int32)
        columns = [np.concatenate([none, *part]) for part in (child, parent, lines)]
        return self._acyclic(*columns)

    def _acyclic(self, child: np.ndarray, parent: np.ndarray, lines: np.ndarray) -> Relations:
        cyclic = cyclic_edges(child, parent)
        for line in lines[cyclic].tolist():
            self._reading.bad.add(RELATIONSHIP, line, "a concept below itself")
        kept = ~cyclic
        kind = np.zeros(int(kept.sum()), np.int8)
        return Relations(("is_a",), child[kept], parent[kept], kind)

    def _joined(
        self,
        concepts: Concepts,
        codes: pa.LargeStringArray,
        names: _Names,
        relations: Relations | None,
        replaced: pa.Table,
    ) -> Terms:
        languages, language = names.languages(self._reading)
        wanted = language >= 0
        row, concept = names.rows()
        raw = pa.chunked_array(names.texts).dictionary_encode()
        string = indices_of(raw)
        dictionary = raw.chunk(0).dictionary
        n_titles = len(concepts.wanted)
        self._counts["atoms"] = len(string)
        self._counts["other_language"] = int(np.count_nonzero(~wanted))
        return Terms(
            codes=codes,
            groups=concepts.groups,
            languages=languages,
            concept=concept[wanted],
            name=string[wanted],
            group=None,
            language=language[wanted],
            strings=pa.chunked_array([tidy_column(dictionary)]),
            titles=Titles(
                concept[:n_titles],
                dictionary.take(pa.array(string[:n_titles])),
                np.zeros(n_titles, np.uint8),
                np.full(n_titles, languages.index("ENG") if "ENG" in languages else -1, np.int16),
            ),
            concept_groups=_concept_groups(concepts, concept[:n_titles], len(codes)),
            source_codes=SourceCodes(
                concepts.vocabularies,
                pa.chunked_array([concepts.code]),
                concepts.vocabulary[row[wanted]],
                row[wanted].astype(np.int32),
                np.zeros(0, np.int32),
            ),
            relations=relations,
            replaced=replaced,
            counts=dict(self._counts),
            release=_release_name(self._release),
            files=self._files,
        )


class _Names:
    """Names of wanted concepts: first each one's own, then synonyms."""

    def __init__(self, concepts: Concepts, concept_of_row: np.ndarray) -> None:
        self._concepts, self._number = concepts, concept_of_row
        self.texts = [concepts.name]
        self._rows = [concepts.wanted]
        english = next(key for key, code in _LANGUAGES.items() if code == "ENG")
        self._languages = [np.full(len(concepts.wanted), english, dtype=np.int64)]

    def add(self, ids: dict[str, np.ndarray], texts: pa.LargeStringArray) -> None:
        """Synonyms by their concepts' ids and their languages."""
        row = self._concepts.positions(ids["concept_id"])
        known = (row >= 0) & (self._number[row] >= 0)
        self._rows.append(row[known])
        self._languages.append(ids["language_concept_id"][known])
        self.texts.append(texts.filter(pa.array(known)))

    def rows(self) -> tuple[np.ndarray, np.ndarray]:
        """Each name's row of CONCEPT, and its concept."""
        row = np.concatenate(self._rows)
        return row, self._number[row]

    def languages(self, reading: Reading) -> tuple[tuple[str, ...], np.ndarray]:
        """The languages that are chosen, and int16[n]: each name's, -1 for another."""
        language = np.concatenate(self._languages)
        keys, inverse = np.unique(language, return_inverse=True)
        codes = [_LANGUAGES.get(key) for key in keys.tolist()]
        chosen = chosen_languages([code for code in codes if code is not None], reading.selection)
        index = [chosen.index(code) if code in chosen else -1 for code in codes]
        return chosen, np.array(index, dtype=np.int16)[inverse]


def _valid_relationships(rows: Rows, columns: dict[str, int]) -> np.ndarray:
    """Is a, and Concept replaced by, as far as they are not invalid."""
    kind = rows.column(columns["relationship_id"]).dictionary_encode()
    if len(rows) == 0:
        return np.zeros(0, dtype=bool)
    wanted = [value in (_IS_A, _REPLACED_BY) for value in kind.dictionary.to_pylist()]
    chosen = np.array(wanted, dtype=bool)[kind.indices.to_numpy()]
    reason = columns["invalid_reason"]
    return chosen & (rows.starts[:, reason] == rows.ends[:, reason])


def _sorted_texts_of(texts: pa.LargeStringArray) -> tuple[pa.LargeStringArray, np.ndarray]:
    """Distinct texts in code-point order, and each one's place among them."""
    encoded = texts.dictionary_encode()
    words, rank = sorted_texts(encoded.dictionary)
    return words, rank[encoded.indices.to_numpy()]


def _concept_groups(concepts: Concepts, concept: np.ndarray, n: int) -> ConceptGroups:
    pair = distinct(pairs(concept, concepts.group))
    return ConceptGroups.from_pairs(pair >> 32, pair & 0xFFFFFFFF, n)


def _holds(codes: pa.LargeStringArray, code: str) -> bool:
    """Whether a code is among sorted ones."""
    at = bisect_left(codes, code, key=lambda value: value.as_py())
    return at < len(codes) and codes[at].as_py() == code


def _release_name(release: Release) -> str | None:
    """What VOCABULARY.csv, where there is one, calls the release: the version of `None`."""
    file = release.find("VOCABULARY.csv")
    if file is None:
        return None
    lines = b"".join(file.blocks()).decode("utf-8", "replace").split("\n")
    header = [name.strip().casefold() for name in lines[0].split("\t")]
    for line in lines[1:]:
        row = dict(zip(header, line.rstrip("\r").split("\t"), strict=False))
        if row.get("vocabulary_id") == "None":
            return row.get("vocabulary_version") or None
    return None
