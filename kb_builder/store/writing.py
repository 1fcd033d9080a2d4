"""The tables of a knowledge base, written into the directory that is to become it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from kb_builder.rules.annotated import Annotated
from kb_builder.rules.columns import distinct, pairs
from kb_builder.rules.pairs import RULES, Names
from kb_builder.store.source_tables import concept_rows, write_beside
from kb_builder.store.tables import write_tables
from kb_builder.terms import Terms, tui_text


def write(
    folder: Path,
    terms: Terms,
    names: Names,
    info: dict[str, Any],
    annotated: Annotated | None = None,
) -> None:
    """Everything but the tries."""
    concepts = np.flatnonzero(names.has_pairs)
    kept = names.kept
    concept = concept_rows(names)[kept.concept]
    by_concept = np.argsort(concept, kind="stable").astype(np.int32)
    write_tables(
        pa.table(
            {
                "name": names.strings.take(pa.array(kept.name)),
                "code": terms.codes.take(pa.array(kept.concept)),
                "group": _words(terms.groups, kept.group),
                "language": _words(terms.languages, kept.language),
                "preferred": pa.array(names.preferred),
                "concept": pa.array(concept),
                "by_concept": pa.array(by_concept),
            }
        ),
        folder,
        "names",
    )
    write_tables(_concepts_table(terms, names, concepts, concept), folder, "concepts")
    info["tables"] = write_beside(folder, terms, names, annotated)
    _write_audit(folder, terms, names)
    text = json.dumps(info, indent=1, ensure_ascii=False) + "\n"
    (folder / "kb.json").write_text(text, encoding="utf-8")
    (folder / "tries").mkdir()


def _words(words: tuple[str, ...], index: np.ndarray) -> pa.Array:
    """A column of few words by their numbers, -1 for none; stored as a dictionary."""
    indices = pa.array(index.astype(np.int32), mask=index < 0)
    return pa.DictionaryArray.from_arrays(indices, pa.array(words, pa.string()))


def _concepts_table(
    terms: Terms, names: Names, concepts: np.ndarray, row_concept: np.ndarray
) -> pa.Table:
    counts = np.bincount(row_concept, minlength=len(concepts))
    title = names.title[concepts]
    preferred = names.strings.take(pa.array(title, mask=title < 0))
    pair = distinct(pairs(row_concept, names.kept.group))
    group_words = pa.array(terms.groups, pa.string()).take(pa.array(pair & 0xFFFFFFFF))
    return pa.table(
        {
            "code": terms.codes.take(pa.array(concepts)),
            "preferred_name": preferred,
            "semantic_types": _types_column(terms, concepts),
            "groups": _lists(pair >> 32, group_words, len(concepts)),
            "n_names": pa.array(counts.astype(np.int32)),
            "names_first": pa.array((np.cumsum(counts) - counts).astype(np.int64)),
        }
    )


def _types_column(terms: Terms, concepts: np.ndarray) -> pa.Array:
    words = pa.array([tui_text(tui) for tui in range(1000)])
    if terms.concept_types is None:
        return _lists(np.zeros(0, np.int64), words[:0], len(concepts))
    row_of = np.full(len(terms.codes), -1, dtype=np.int64)
    row_of[concepts] = np.arange(len(concepts))
    rows = row_of[terms.concept_types.concept]
    tuis = words.take(pa.array(terms.concept_types.tui[rows >= 0]))
    return _lists(rows[rows >= 0], tuis, len(concepts))


def _lists(row: np.ndarray, values: pa.Array, n_rows: int) -> pa.ListArray:
    """Lists of the values by their sorted rows."""
    first = np.concatenate(([0], np.cumsum(np.bincount(row, minlength=n_rows))))
    return pa.ListArray.from_arrays(pa.array(first, pa.int32()), values)


def _write_audit(folder: Path, terms: Terms, names: Names) -> None:
    audit = names.audit
    rules = RULES if names.annotated is not None else RULES[:-1]  # the last is that of corpora
    table = pa.table(
        {
            "rule": _words(rules, audit.rule),
            "group": _words(terms.groups, audit.group),
            "name": names.strings.take(pa.array(audit.name)),
            "code": terms.codes.take(pa.array(audit.concept)),
            "given_to": terms.codes.take(pa.array(audit.given_to, mask=audit.given_to < 0)),
        }
    )
    pq.write_table(table, folder / "audit.parquet", compression="zstd",
                   use_dictionary=["rule", "group"], write_statistics=False)  # fmt: skip
