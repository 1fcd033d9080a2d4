"""The names of a knowledge base that are looked for in text, those that rules dropped included.

`audit.parquet` keeps what the rules of building dropped or gave to another concept; in running
text such names are names. Filters by vocabulary take names away before any match; filters by
semantic type only mark them, so that a name of another type still has its text.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from kb_builder.errors import LongbelError
from kb_builder.semantics import tui_of
from kb_builder.store.beside import CODES, open_beside
from kb_builder.store.knowledge_base import KnowledgeBase
from kb_builder.store.tables import open_table
from longbel_cli.detecting.index import NameBlock

_BLOCK = 1 << 16


@dataclass(frozen=True)
class NameFilter:
    """Which names are looked for: of these vocabularies, but not of those, and of concepts of
    these semantic types. Empty is all. `audit`: those that rules dropped too."""

    vocabularies: tuple[str, ...] = ()
    without_vocabularies: tuple[str, ...] = ()
    semantic_types: tuple[str, ...] = ()
    audit: bool = True

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def names_of(base: KnowledgeBase, chosen: NameFilter) -> Iterator[NameBlock]:
    """The chosen names, block by block; LongbelError where a filter names what is not there."""
    has_row, has_concept = _of_vocabularies(base, chosen)
    is_wanted = _of_types(base, chosen.semantic_types)
    yield from _kept_names(base, has_row, is_wanted)
    if chosen.audit:
        yield from _dropped_names(base, has_concept, is_wanted)


def _kept_names(
    base: KnowledgeBase, has_row: np.ndarray | None, is_wanted: np.ndarray | None
) -> Iterator[NameBlock]:
    preferred = open_table(base.path, "names")["preferred"]
    votes = _votes(base)
    for group, name in enumerate(base.groups):
        of_group = base.rows_of_group(name)
        for start in range(of_group.start, of_group.stop, _BLOCK):
            rows = np.arange(start, min(start + _BLOCK, of_group.stop))
            rows = rows if has_row is None else rows[has_row[rows]]
            titles = preferred.take(pa.array(rows)).to_numpy(zero_copy_only=False)
            wanted = _those(is_wanted, base.row_concepts[rows])
            yield NameBlock(base.names_of(rows), group, votes[rows], titles.astype(bool), wanted)


def _those(chosen: np.ndarray | None, concepts: np.ndarray) -> np.ndarray:
    """bool[concepts]: which of these are chosen; all where nothing was chosen."""
    return np.ones(len(concepts), bool) if chosen is None else chosen[concepts]


def _votes(base: KnowledgeBase) -> np.ndarray:
    """int32[names]: how many vocabularies use each name; one where that is not kept."""
    table = open_beside(base.path, CODES)
    if table is None:
        return np.ones(base.n_names, np.int32)
    table = table.filter(pc.is_valid(table["row"]))
    source = table["source"].cast(pa.string()).combine_chunks().dictionary_encode()
    width = max(len(source.dictionary), 1)
    rows = table["row"].to_numpy().astype(np.int64)
    pairs = np.unique(rows * width + source.indices.to_numpy())
    return np.maximum(np.bincount(pairs // width, minlength=base.n_names), 1).astype(np.int32)


def _dropped_names(
    base: KnowledgeBase, has_concept: np.ndarray | None, is_wanted: np.ndarray | None
) -> Iterator[NameBlock]:
    audit = base.audit()
    of_group = pc.index_in(audit["group"].cast(pa.string()), pa.array(base.groups))
    codes = open_table(base.path, "concepts")["code"].combine_chunks()
    for group in range(len(base.groups)):
        table = audit.filter(pc.equal(of_group, group))
        concepts = pc.index_in(table["code"], codes).to_numpy()
        kept = np.flatnonzero(_those(has_concept, concepts))
        names = table["name"].take(pa.array(kept)).to_pylist()
        wanted = _those(is_wanted, concepts[kept])
        one_each, no_title = np.ones(len(names), np.int32), np.zeros(len(names), bool)
        yield NameBlock(names, group, one_each, no_title, wanted)


def _of_vocabularies(
    base: KnowledgeBase, chosen: NameFilter
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """bool[names] and bool[concepts]: what the chosen vocabularies have; None for all."""
    if not (chosen.vocabularies or chosen.without_vocabularies):
        return None, None
    table = open_beside(base.path, CODES)
    if table is None:
        raise LongbelError(
            f"{base.path}: it does not say which vocabulary a name is from",
            "Leave --vocabularies and --without-vocabularies out.",
            exit_code=2,
        )
    source = table["source"].cast(pa.string()).combine_chunks()
    known = sorted(pc.unique(source).to_pylist())
    named = (*chosen.vocabularies, *chosen.without_vocabularies)
    _refuse_unknown("vocabulary", [each for each in named if each not in known], known, base)
    names = [each for each in chosen.vocabularies or known
             if each not in chosen.without_vocabularies]  # fmt: skip
    table = table.filter(pc.is_in(source, pa.array(names, pa.string())))
    has_row, has_concept = np.zeros(base.n_names, bool), np.zeros(base.n_concepts, bool)
    has_row[table["row"].drop_null().to_numpy()] = True
    has_concept[table["concept"].to_numpy()] = True
    return has_row, has_concept


def _of_types(base: KnowledgeBase, types: Sequence[str]) -> np.ndarray | None:
    """bool[concepts]: which are of one of the semantic types; None for all."""
    if not types:
        return None
    wanted = [tui_of(each) or each for each in types]
    lists = open_table(base.path, "concepts")["semantic_types"].combine_chunks()
    values = lists.values.slice(lists.offsets[0].as_py(), len(lists.flatten()))
    known = sorted(each for each in pc.unique(values).to_pylist() if each)
    _refuse_unknown("semantic type", [each for each in wanted if each not in known], known, base)
    of_concept = np.zeros(base.n_concepts, bool)
    hits = pc.is_in(values, pa.array(wanted, pa.string()).cast(values.type))
    of_concept[pc.list_parent_indices(lists).filter(hits).to_numpy()] = True
    return of_concept


def _refuse_unknown(kind: str, lacking: list[str], known: list[str], base: KnowledgeBase) -> None:
    if lacking:
        has = ", ".join(known[:20]) + (", …" if len(known) > 20 else "")
        raise LongbelError(
            f"{base.path}: no {kind} {', '.join(lacking)}", f"It has {has or 'none'}.", exit_code=2
        )
