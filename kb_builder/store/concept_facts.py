"""What a knowledge base says of concepts beside their names: source codes and semantic types."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from kb_builder.errors import LongbelError, listed
from kb_builder.semantics import SEMANTIC_TYPES
from kb_builder.store.beside import CODES, open_beside
from kb_builder.store.knowledge_base import KnowledgeBase


class ConceptFacts:
    """Source codes in some vocabularies, and semantic types, by concept code.

    LongbelError where the knowledge base has no source codes, or not of one of the vocabularies.
    """

    def __init__(self, base: KnowledgeBase, vocabularies: Sequence[str] = ()) -> None:
        self._base, self.vocabularies = base, tuple(vocabularies)
        self._types: dict[str, tuple[str, ...]] = {}
        if self.vocabularies:
            self._check()

    def _check(self) -> None:
        table = open_beside(self._base.path, CODES)
        if table is None:
            raise LongbelError(
                f"{self._base.path}: keeps no codes of vocabularies",
                "Build it again with this version, from a source that has them.",
            )
        known = pc.unique(table["source"]).cast(pa.string()).to_pylist()
        unknown = [name for name in self.vocabularies if name not in known]
        if unknown:
            raise LongbelError(
                f"--vocabularies {unknown[0]}: not in {self._base.path}",
                f"It has {listed(sorted(known))}.",
                exit_code=2,
            )

    @cached_property
    def _by_vocabulary(self) -> dict[str, tuple[np.ndarray, pa.Array]]:
        """Of each vocabulary the rows of concepts, ascending, and its codes beside them."""
        table = open_beside(self._base.path, CODES)
        assert table is not None
        source = table["source"].cast(pa.string())
        by_vocabulary = {}
        for name in self.vocabularies:
            rows = table.filter(pc.equal(source, name))
            concepts = rows["concept"].to_numpy().astype(np.int64)
            order = np.argsort(concepts, kind="stable")
            codes = rows["source_code"].combine_chunks().take(pa.array(order))
            by_vocabulary[name] = (concepts[order], codes)
        return by_vocabulary

    def source_codes(self, code: str, vocabulary: str) -> tuple[str, ...]:
        """What a vocabulary calls a concept, each code once, in the order of the source."""
        if not self._base.has_code(code):
            return ()
        concepts, codes = self._by_vocabulary[vocabulary]
        row = self._base.concept_row(code)
        low, high = np.searchsorted(concepts, [row, row + 1]).tolist()
        return tuple(dict.fromkeys(codes.slice(low, high - low).to_pylist()))

    def all_source_codes(self, codes: Iterable[str]) -> dict[str, list[tuple[str, str]]]:
        """Vocabulary and code, of each of these concepts, in the order of the table."""
        rows = {self._base.concept_row(code): code for code in codes if self._base.has_code(code)}
        table = open_beside(self._base.path, CODES)
        sources: dict[str, list[tuple[str, str]]] = {code: [] for code in rows.values()}
        if table is None:
            return sources
        wanted = pa.array(sorted(rows), table["concept"].type)
        kept = table.filter(pc.is_in(table["concept"], value_set=wanted))
        columns = (kept["concept"], kept["source"].cast(pa.string()), kept["source_code"])
        for row, source, code in zip(*(each.to_pylist() for each in columns), strict=True):
            sources[rows[row]].append((source, code))
        return sources

    @property
    def has_omop_ids(self) -> bool:
        """Whether concept codes are concept ids of an OMOP vocabulary."""
        files = self._base.info["source"].get("files", ())
        is_omop = any(str(file.get("name", "")).upper().endswith("CONCEPT.CSV") for file in files)
        return is_omop and self._base.info["options"].get("code") in (None, "concept_id")

    @property
    def are_all_standard(self) -> bool:
        """Whether an OMOP vocabulary was built of its standard concepts alone."""
        return bool(self._base.info["options"].get("standard_only"))

    def semantic_types(self, code: str) -> tuple[str, ...]:
        """The names of a concept's semantic types; what UMLS does not know stays as it is."""
        if code not in self._types:
            concept = self._base.concept(code)
            kept = () if concept is None else concept["semantic_types"] or ()
            kinds = ((tui, SEMANTIC_TYPES.get(tui)) for tui in kept)
            self._types[code] = tuple(tui if kind is None else kind.name for tui, kind in kinds)
        return self._types[code]
