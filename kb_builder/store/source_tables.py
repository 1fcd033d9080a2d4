"""The tables beside the names, as a source's terms and the kept names make them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from kb_builder.rules.annotated import Annotated
from kb_builder.rules.columns import indices_of, pairs, starts_of_runs
from kb_builder.rules.pairs import Names
from kb_builder.store.beside import CODES, DOCUMENTS, RELATIONS, REPLACED, document_hash
from kb_builder.terms import Terms

_WORDS = ("source", "kind", "reason", "corpus")  # columns in which few words recur
_ROWS_OF_GROUP = 1 << 18


def beside_tables(
    terms: Terms, names: Names, annotated: Annotated | None = None
) -> Iterator[tuple[str, pa.Table]]:
    """The tables that the source has, one at a time for their memory."""
    row_of = concept_rows(names)
    codes = codes_table(terms, names, row_of, annotated)
    if codes is not None:
        yield CODES, codes
    del codes
    relations = relations_table(terms, row_of)
    if relations is not None:
        yield RELATIONS, relations
    if terms.replaced is not None:
        yield REPLACED, terms.replaced
    if annotated is not None:
        yield DOCUMENTS, documents_table(annotated)


def concept_rows(names: Names) -> np.ndarray:
    """int32[n_concepts]: the row of each concept in the concepts table, -1 where it has none."""
    row_of = np.full(len(names.has_pairs), -1, dtype=np.int32)
    row_of[names.has_pairs] = np.arange(np.count_nonzero(names.has_pairs), dtype=np.int32)
    return row_of


def count_beside(terms: Terms, names: Names, annotated: Annotated | None) -> dict[str, int]:
    """How many rows each of the tables would have."""
    return {name: len(table) for name, table in beside_tables(terms, names, annotated)}


def write_beside(
    folder: Path, terms: Terms, names: Names, annotated: Annotated | None
) -> dict[str, int]:
    """Write the tables; how many rows each has."""
    rows = {}
    for name, table in beside_tables(terms, names, annotated):
        _write(table, folder / f"{name}.parquet")
        rows[name] = len(table)
    return rows


def _write(table: pa.Table, path: Path) -> None:
    words = [name for name in table.column_names if name in _WORDS]
    pq.write_table(
        table, path, compression="zstd", use_dictionary=words, row_group_size=_ROWS_OF_GROUP,
        write_statistics=table.column_names[:1],  # by which a look-up skips row groups
    )  # fmt: skip


def relations_table(terms: Terms, row_of: np.ndarray) -> pa.Table | None:
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


class _Coded(NamedTuple):
    """Codes of concepts (as rows of their table), with their names' rows, -1 for none."""

    concept: np.ndarray
    source: np.ndarray
    code: np.ndarray
    row: np.ndarray


def codes_table(
    terms: Terms, names: Names, row_of: np.ndarray, annotated: Annotated | None = None
) -> pa.Table | None:
    """Source and source code of every name, and of the concepts beside their names.

    `concept` is the row in the concepts table, `row` that in the names table: null where the
    concept has the code but no kept name with it. Sorted by concept and source, then as the
    source has them.
    """
    if terms.source_codes is None and annotated is None:
        return None
    sources, texts, coded = _of_source(terms, names, row_of)
    if annotated is not None:
        used = _of_corpora(names, annotated, row_of)
        used = used._replace(source=used.source + len(sources), code=used.code + len(texts))
        coded = _Coded(*(np.concatenate(both) for both in zip(coded, used, strict=True)))
        sources += tuple(f"corpus:{name}" for name in annotated.corpora)
        own = terms.codes.take(pa.array(np.flatnonzero(names.has_pairs)))
        texts = pa.concat_arrays([texts, own])
    kept = _distinct_codes(*coded)
    row = coded.row[kept]
    return pa.table(
        {
            "concept": pa.array(coded.concept[kept]),
            "source": pa.DictionaryArray.from_arrays(
                pa.array(coded.source[kept]), pa.array(sources, pa.string())
            ),
            "source_code": texts.take(pa.array(coded.code[kept])),
            "row": pa.array(row, mask=row < 0),
        }
    )


def _of_source(
    terms: Terms, names: Names, row_of: np.ndarray
) -> tuple[tuple[str, ...], pa.LargeStringArray, _Coded]:
    """Sources, distinct codes, and the codes of names and concepts."""
    codes = terms.source_codes
    none = np.zeros(0, np.int32)
    if codes is None:
        return (), pa.array([], pa.large_string()), _Coded(none, none, none, none)
    assert names.text is not None  # kept where there are source codes
    encoded = codes.codes.dictionary_encode()
    texts = encoded.chunk(0).dictionary if len(encoded) else pa.array([], pa.large_string())
    indices = indices_of(encoded)
    term, row = _rows_of_terms(terms, names.text, names)
    more = np.arange(len(terms.concept), len(codes.source))
    at = np.concatenate([term, more])
    row = np.concatenate([row, np.full(len(more), -1, dtype=np.int32)])
    concept = np.concatenate([terms.concept[term], codes.concept])
    has_code = (codes.source[at] >= 0) & (row_of[concept] >= 0)
    at, row, concept = at[has_code], row[has_code], row_of[concept[has_code]]
    source = codes.source[at].astype(np.int32)
    return codes.sources, texts, _Coded(concept, source, indices[codes.code[at]], row)


def _of_corpora(names: Names, annotated: Annotated, row_of: np.ndarray) -> _Coded:
    """The kept names that corpora use; a name of several has a row for each.

    `source` is the corpus, `code` the concept's row: a corpus calls a concept by its code.
    """
    name_pairs, kept = names.annotated, names.kept
    assert name_pairs is not None
    keys, wanted = pairs(kept.group, kept.name), pairs(name_pairs.group, name_pairs.name)
    at = np.minimum(np.searchsorted(keys, wanted), max(kept.n - 1, 0))
    is_kept = (keys[at] == wanted) & (kept.concept[at] == name_pairs.concept)
    size = np.array([len(corpora) for corpora in annotated.origin], dtype=np.int64)
    corpus = np.array([c for corpora in annotated.origin for c in corpora], dtype=np.int32)
    is_kept_of_each = np.repeat(is_kept, size)
    row = np.repeat(at, size)[is_kept_of_each].astype(np.int32)
    concept = np.repeat(row_of[name_pairs.concept], size)[is_kept_of_each]
    return _Coded(concept, corpus[is_kept_of_each], concept, row)


def documents_table(annotated: Annotated) -> pa.Table:
    """The documents that names came from: hashes of their ids, by corpus."""
    rows = [
        (corpus, document_hash(document))
        for corpus, documents in zip(annotated.corpora, annotated.documents, strict=True)
        for document in documents
    ]
    corpora, documents = ([row[column] for row in rows] for column in (0, 1))
    return pa.table(
        {"corpus": pa.array(corpora, pa.string()), "document": pa.array(documents, pa.string())}
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
