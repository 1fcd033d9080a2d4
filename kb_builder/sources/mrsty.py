"""MRSTY: the semantic types of concepts, and which concepts a selection takes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from kb_builder.errors import LongbelError
from kb_builder.files import new_sha256
from kb_builder.rules.columns import distinct, pairs, used
from kb_builder.semantics import GROUP_NAMES, SEMANTIC_TYPES
from kb_builder.sources.archives import StoredFile
from kb_builder.sources.progress import Progress
from kb_builder.sources.rrf import split_texts, whole_rows
from kb_builder.sources.selection import BadRows, Selection
from kb_builder.terms import ConceptGroups, ConceptTypes, tui_text

STY_FIELDS = 6
_CUI, _TUI, _STN = 0, 1, 2


@dataclass(frozen=True)
class Types:
    """MRSTY: every CUI it names, and of the selected ones groups and types."""

    all_cuis: pa.LargeStringArray
    concept_of_cui: np.ndarray  # int32, -1 where nothing of the CUI is selected
    codes: pa.LargeStringArray
    concept_groups: ConceptGroups
    concept_types: ConceptTypes
    groups: tuple[str, ...]
    file: dict[str, object]


def read_types(file: StoredFile, selection: Selection, bad: BadRows, progress: Progress) -> Types:
    digest = new_sha256()
    cuis, tuis, chosen, n_rows = [], [], [], 0
    table = np.zeros(1000, dtype=bool)
    table[[int(tui[1:]) for tui in SEMANTIC_TYPES]] = True
    for block in whole_rows(file.blocks(digest.update), file.location):
        rows, texts, unreadable = split_texts(block, STY_FIELDS, _CUI)
        n_rows += block.n_lines
        bad.add_all(file.location, unreadable)
        tui_of_row = _tui_numbers(rows.column(_TUI))
        known = (tui_of_row >= 0) & table[tui_of_row]
        for row in np.flatnonzero(~known):
            bad.add(file.location, int(rows.lines[row]), "unknown semantic type")
        where = np.flatnonzero(known)
        cuis.append(texts.take(pa.array(where)))
        tuis.append(tui_of_row[where])
        chosen.append(selection.wants_types(tui_of_row[where], rows.column(_STN, where)))
        progress("types", n_rows, None)
    bad.check(file.location, n_rows)
    if n_rows == 0 or not any(len(part) for part in cuis):
        raise LongbelError(f"{file.location}: no readable rows")
    encoded = pa.chunked_array(cuis).dictionary_encode().combine_chunks()
    cui = encoded.indices.to_numpy()
    tui, wanted = np.concatenate(tuis), np.concatenate(chosen)
    names = encoded.dictionary
    selected = np.zeros(len(names), dtype=bool)
    selected[cui[wanted]] = True
    concept_of_cui, codes = _number_by_code(names, selected)
    concept, tui = concept_of_cui[cui[wanted]], tui[wanted]
    pair = distinct(pairs(concept, tui))
    concept, tui = (pair >> 32).astype(np.int32), (pair & 0xFFFFFFFF).astype(np.int16)
    chosen_tuis = used(tui, 1000)
    groups = tuple(sorted({_group_of_number(tui_of_row) for tui_of_row in chosen_tuis}))
    group_of = np.zeros(1000, dtype=np.int16)
    for tui_of_row in chosen_tuis:
        group_of[tui_of_row] = groups.index(_group_of_number(tui_of_row))
    in_group = distinct(pairs(concept, group_of[tui]))
    return Types(
        all_cuis=names,
        concept_of_cui=concept_of_cui,
        codes=codes,
        concept_groups=ConceptGroups.from_pairs(in_group >> 32, in_group & 0xFFFFFFFF, len(codes)),
        concept_types=ConceptTypes(concept, tui),
        groups=groups,
        file={"name": file.name, "rows": n_rows, "sha256": digest.hexdigest()},
    )


def _group_of_number(tui: int) -> str:
    return GROUP_NAMES[SEMANTIC_TYPES[tui_text(tui)].group_code]


def _tui_numbers(column: pa.LargeBinaryArray) -> np.ndarray:
    """int16[n]: 47 for `T047`, -1 for what is no TUI."""
    encoded = column.dictionary_encode()
    tuis = [
        int(value[1:]) if len(value) == 4 and value[:1] == b"T" and value[1:].isdigit() else -1
        for value in encoded.dictionary.to_pylist()
    ]
    return np.array(tuis, dtype=np.int16)[encoded.indices.to_numpy()]


def _number_by_code(
    names: pa.LargeStringArray, selected: np.ndarray
) -> tuple[np.ndarray, pa.LargeStringArray]:
    """Concept numbers of the selected CUIs in code-point order, and these CUIs in it."""
    where = np.flatnonzero(selected)
    codes = names.take(pa.array(where))
    if len(codes) > 1 and not pc.all(pc.less(codes[:-1], codes[1:])).as_py():
        order = pc.sort_indices(codes).to_numpy()
        where, codes = where[order], codes.take(pa.array(order))
    concept_of_cui = np.full(len(names), -1, dtype=np.int32)
    concept_of_cui[where] = np.arange(len(where), dtype=np.int32)
    return concept_of_cui, codes
