"""Tables beside the names, which linking never opens: source codes, parents, retired codes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from kb_builder.errors import LongbelError
from kb_builder.rules.columns import indices_of, pairs, starts_of_runs
from kb_builder.rules.pairs import Names
from kb_builder.store.tables import BUILD_AGAIN, read_stored
from kb_builder.terms import Terms

CODES, RELATIONS, REPLACED = "codes", "relations", "replaced"
TABLES = (CODES, RELATIONS, REPLACED)
_WORDS = ("source", "kind", "reason")  # columns in which few words recur
_ROWS_OF_GROUP = 1 << 18


def beside_tables(terms: Terms, names: Names) -> Iterator[tuple[str, pa.Table]]:
    """The tables that the source has, one at a time for their memory."""
    row_of = concept_rows(names)
    tables = {CODES: codes_table, RELATIONS: relations_table}
    for name, make in tables.items():
        table = make(terms, names, row_of)
        if table is not None:
            yield name, table
    if terms.replaced is not None:
        yield REPLACED, terms.replaced


def concept_rows(names: Names) -> np.ndarray:
    """int32[n_concepts]: the row of each concept in the concepts table, -1 where it has none."""
    row_of = np.full(len(names.claimants), -1, dtype=np.int32)
    row_of[names.claimants] = np.arange(np.count_nonzero(names.claimants), dtype=np.int32)
    return row_of


def count_beside(terms: Terms, names: Names) -> dict[str, int]:
    """How many rows each of the tables would have."""
    return {name: len(table) for name, table in beside_tables(terms, names)}


def write_beside(folder: Path, terms: Terms, names: Names) -> dict[str, int]:
    """Write the tables; how many rows each has."""
    rows = {}
    for name, table in beside_tables(terms, names):
        _write(table, folder / f"{name}.parquet")
        rows[name] = len(table)
    return rows


def _write(table: pa.Table, path: Path) -> None:
    words = [name for name in table.column_names if name in _WORDS]
    pq.write_table(
        table, path, compression="zstd", use_dictionary=words, row_group_size=_ROWS_OF_GROUP,
        write_statistics=table.column_names[:1],  # by which a look-up skips row groups
    )  # fmt: skip


def open_beside(folder: Path, name: str) -> pa.Table | None:
    """A whole table; None where there is no such table."""
    path = folder / f"{name}.parquet"
    return read_stored(path) if path.is_file() else None


def read_beside(folder: Path, name: str, column: str, value: int | str) -> pa.Table | None:
    """The rows of a table in which `column` is `value`; None where there is no such table."""
    path = folder / f"{name}.parquet"
    if not path.is_file():
        return None
    try:
        return pq.read_table(path, filters=[(column, "=", value)])
    except (pa.ArrowException, OSError) as error:
        raise LongbelError(f"{path}: damaged ({type(error).__name__})", BUILD_AGAIN) from error


def relations_table(terms: Terms, names: Names, row_of: np.ndarray) -> pa.Table | None:
    """Codes of children and their parents, both in the concepts table, by child and parent."""
    relations = terms.relations
    if relations is None:
        return None
    known = (row_of[relations.child] >= 0) & (row_of[relations.parent] >= 0)
    order = np.lexsort((relations.kind, relations.parent, relations.child))
    order = order[known[order]]
    kind = pa.array(relations.kind[order].astype(np.int32))
    return pa.table(
        {
            "child": terms.codes.take(pa.array(relations.child[order])),
            "parent": terms.codes.take(pa.array(relations.parent[order])),
            "kind": pa.DictionaryArray.from_arrays(kind, pa.array(relations.kinds, pa.string())),
        }
    )


def codes_table(terms: Terms, names: Names, row_of: np.ndarray) -> pa.Table | None:
    """Source and source code of every name, and of the concepts beside their names.

    `concept` is the row in the concepts table, `row` that in the names table: null where the
    concept has the code but no kept name with it. Sorted by concept and source, then as the
    source has them.
    """
    codes = terms.source_codes
    if codes is None:
        return None
    assert names.text is not None  # kept where there are source codes
    encoded = codes.codes.dictionary_encode()
    texts = encoded.chunk(0).dictionary if len(encoded) else pa.array([], pa.large_string())
    place = indices_of(encoded)
    term, row = _rows_of_terms(terms, names.text, names)
    n_terms = len(terms.concept)
    more = np.arange(n_terms, len(codes.source))
    at = np.concatenate([term, more])
    row = np.concatenate([row, np.full(len(more), -1, dtype=np.int32)])
    concept = np.concatenate([terms.concept[term], codes.concept])
    has_code = (codes.source[at] >= 0) & (row_of[concept] >= 0)
    at, row, concept = at[has_code], row[has_code], row_of[concept[has_code]]
    source, code = codes.source[at].astype(np.int32), place[codes.code[at]]
    kept = _distinct_codes(concept, source, code, row)
    row = row[kept]
    return pa.table(
        {
            "concept": pa.array(concept[kept]),
            "source": pa.DictionaryArray.from_arrays(
                pa.array(source[kept]), pa.array(codes.sources, pa.string())
            ),
            "source_code": texts.take(pa.array(code[kept])),
            "row": pa.array(row, mask=row < 0),
        }
    )


def _rows_of_terms(terms: Terms, text: np.ndarray, names: Names) -> tuple[np.ndarray, np.ndarray]:
    """Terms and their rows in the names table, one for each group; -1 where none was kept."""
    held = pairs(names.kept.concept, names.kept.name)
    rows = np.arange(names.kept.n, dtype=np.int32)
    if names.qualified is not None and names.qualified_name is not None:
        by_name = pairs(names.kept.group, names.kept.name)  # in order
        forms = pairs(names.qualified.group, names.qualified_name)
        rows = np.concatenate([rows, np.searchsorted(by_name, forms).astype(np.int32)])
        held = np.concatenate([held, pairs(names.qualified.concept, names.qualified.name)])
    by_held = np.argsort(held, kind="stable")
    held, order = held[by_held], rows[by_held]
    wanted = pairs(terms.concept, text)
    first = np.searchsorted(held, wanted)
    count = np.searchsorted(held, wanted, side="right") - first
    size = np.maximum(count, 1)
    term = np.repeat(np.arange(len(wanted)), size)
    at = first[term] + np.arange(len(term)) - np.repeat(np.cumsum(size) - size, size)
    row = np.full(len(term), -1, dtype=np.int32)
    has_row = count[term] > 0
    row[has_row] = order[at[has_row]]
    return term, row


def _distinct_codes(
    concept: np.ndarray, source: np.ndarray, code: np.ndarray, row: np.ndarray
) -> np.ndarray:
    """Positions of the distinct codes, sorted; without a row only where there is none with one."""
    order = np.lexsort((row, pairs(source, code), concept))
    order = order[starts_of_runs(concept[order], source[order], code[order], row[order])]
    starts = starts_of_runs(concept[order], source[order], code[order])
    is_last = np.append(starts[1:], True)[: len(order)]
    return order[(row[order] >= 0) | is_last]
