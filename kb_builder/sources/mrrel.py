"""MRREL and MRCUI: direct parents of concepts, and what became of retired ones."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from kb_builder.files import new_sha256
from kb_builder.rules.columns import distinct, pairs, starts_of_runs
from kb_builder.sources.archives import StoredFile
from kb_builder.sources.history import Retirements
from kb_builder.sources.progress import Progress
from kb_builder.sources.rrf import BadRow, Block, Rows, split_rows, whole_rows
from kb_builder.sources.selection import BadRows
from kb_builder.terms import Relations
from kb_builder.trie.parallel import ordered_map

REL_FIELDS = 16
_CUI1, _REL, _CUI2, _RELA, _SUPPRESS = 0, 3, 4, 7, 14
KINDS = ("is_a", "parent")
_IS_A, _HAS_A = b"isa", b"inverse_isa"


@dataclass(frozen=True)
class RelationKinds:
    """Which rows name a parent: REL says PAR or CHD, and in RxNorm also RELA alone."""

    by_rela: bool = False
    keep_suppressed: bool = False


@dataclass(frozen=True)
class _Pairs:
    """Of one block: distinct codes, and pairs of them as (child, parent, kind)."""

    n_bytes: int
    n_rows: int
    bad: list[BadRow]
    codes: pa.LargeBinaryArray
    child: np.ndarray
    parent: np.ndarray
    kind: np.ndarray


def read_relations(
    file: StoredFile,
    codes: pa.LargeStringArray,
    kinds: RelationKinds,
    bad: BadRows,
    progress: Progress,
) -> tuple[Relations, dict[str, Any]]:
    """Direct parents among the concepts of `codes`, and what is to be said of the file.

    A concept may be its own ancestor where vocabularies disagree; none is its own parent here.
    """
    digest = new_sha256()
    blocks = whole_rows(file.blocks(digest.update), file.location)
    read, n_rows, n_bytes = [], 0, 0
    for of_block in ordered_map(partial(_read_block, kinds), blocks):
        n_rows, n_bytes = n_rows + of_block.n_rows, n_bytes + of_block.n_bytes
        bad.add_all(file.location, of_block.bad)
        read.append(of_block)
        progress("relations", n_bytes, file.size)
    bad.check(file.location, n_rows, required=False)
    about = {"name": file.name, "rows": n_rows, "sha256": digest.hexdigest()}
    return _joined(read, codes), about


def _read_block(kinds: RelationKinds, block: Block) -> _Pairs:
    rows, bad = split_rows(block, REL_FIELDS)
    rows = rows.where(_chosen(rows, kinds))
    rela = rows.column(_RELA).dictionary_encode()
    is_a = _among(rela, (_IS_A, _HAS_A))
    # REL and RELA say what the second concept is to the first.
    downward = rows.equals(_REL, b"CHD") | (_among(rela, (_IS_A,)) & ~rows.equals(_REL, b"PAR"))
    both = pa.concat_arrays([rows.column(_CUI1), rows.column(_CUI2)]).dictionary_encode()
    first, second = np.split(both.indices.to_numpy(), [len(rows)])
    child, parent = np.where(downward, second, first), np.where(downward, first, second)
    return _Pairs(
        len(block.data), block.n_lines, bad, both.dictionary,
        *_first_kind(child, parent, np.where(is_a, 0, 1)),
    )  # fmt: skip


def _chosen(rows: Rows, kinds: RelationKinds) -> np.ndarray:
    chosen = rows.equals(_REL, b"PAR") | rows.equals(_REL, b"CHD")
    if kinds.by_rela:
        chosen |= _among(rows.column(_RELA).dictionary_encode(), (_IS_A, _HAS_A))
    if not kinds.keep_suppressed:
        chosen &= rows.equals(_SUPPRESS, b"N")
    return chosen


def _among(encoded: pa.DictionaryArray, words: tuple[bytes, ...]) -> np.ndarray:
    if len(encoded) == 0:
        return np.zeros(0, dtype=bool)
    held = np.array([value in words for value in encoded.dictionary.to_pylist()], dtype=bool)
    return held[encoded.indices.to_numpy()]


def _first_kind(
    child: np.ndarray, parent: np.ndarray, kind: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Distinct pairs, each with the smallest of its kinds; no concept as its own parent."""
    other = child != parent
    key = distinct(pairs(child[other], parent[other]) << 1 | kind[other])
    key = key[starts_of_runs(key >> 1)] if len(key) else key
    pair = key >> 1
    return (
        (pair >> 32).astype(np.int32),
        (pair & 0xFFFFFFFF).astype(np.int32),
        (key & 1).astype(np.int8),
    )


def _joined(read: list[_Pairs], codes: pa.LargeStringArray) -> Relations:
    """All blocks as one, as numbers of concepts; pairs with an unknown concept are left out."""
    held = pa.chunked_array([part.codes for part in read], pa.large_binary())
    index = pc.index_in(held, value_set=codes.cast(pa.large_binary())).fill_null(-1)
    concept = index.to_numpy().astype(np.int32)
    children, parents = [np.zeros(0, np.int32)], [np.zeros(0, np.int32)]
    kinds = [np.zeros(0, np.int8)]
    start = 0
    for part in read:
        of_part = concept[start : start + len(part.codes)]
        start += len(part.codes)
        child, parent = of_part[part.child], of_part[part.parent]
        known = (child >= 0) & (parent >= 0)
        children.append(child[known])
        parents.append(parent[known])
        kinds.append(part.kind[known])
    child, parent, kind = (np.concatenate(column) for column in (children, parents, kinds))
    return Relations(KINDS, *_first_kind(child, parent, kind))


# MRCUI: what it says of a retired concept, and what that is called here.
_REASONS = {
    "SY": "merged", "RB": "broader", "RN": "narrower", "RO": "related", "DEL": "retired",
    "SUBX": "retired",
}  # fmt: skip


def read_retired_cuis(file: StoredFile, retirements: Retirements, bad: BadRows) -> dict[str, Any]:
    """MRCUI: CUI1, VER, REL, RELA, MAPREASON, CUI2, MAPIN."""
    return _read_retired(file, 7, (0, 5, 2), retirements, bad)


def read_retired_rxcuis(file: StoredFile, retirements: Retirements, bad: BadRows) -> dict[str, Any]:
    """RXNCUI: CUI1, VER_START, VER_END, CARDINALITY, CUI2; both are one where nothing followed."""
    return _read_retired(file, 5, (0, 4, None), retirements, bad)


def _read_retired(
    file: StoredFile,
    n_fields: int,
    columns: tuple[int, int, int | None],
    retirements: Retirements,
    bad: BadRows,
) -> dict[str, Any]:
    digest = new_sha256()
    n_rows = 0
    for block in whole_rows(file.blocks(digest.update), file.location):
        rows, unreadable = split_rows(block, n_fields)
        n_rows += block.n_lines
        bad.add_all(file.location, unreadable)
        chosen = list(_retired_rows(rows, *columns))
        lines, old, new, reason = (
            (list(column) for column in zip(*chosen, strict=True)) if chosen else ([], [], [], [])
        )
        retirements.extend(old, new, reason, file.location, lines)
    bad.check(file.location, n_rows, required=False)
    return {"name": file.name, "rows": n_rows, "sha256": digest.hexdigest()}


def _retired_rows(
    rows: Rows, old: int, new: int, reason: int | None
) -> Iterator[tuple[int, str, str | None, str]]:
    """Line, retired code, successor, why."""
    texts = [
        [value.decode("utf-8", "replace") for value in rows.column(field).to_pylist()]
        for field in (old, new)
    ]
    reasons = ["SY"] * len(rows)
    if reason is not None:
        reasons = [value.decode("ascii", "replace") for value in rows.column(reason).to_pylist()]
    for line, code, successor, why in zip(rows.lines.tolist(), *texts, reasons, strict=True):
        if code and why in _REASONS:
            gone = not successor or (reason is None and successor == code)
            yield line, code, None if gone else successor, "retired" if gone else _REASONS[why]
