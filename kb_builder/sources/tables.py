"""Tables of names: a gazetteer, ICD-10, or any TSV, CSV or Parquet with code, name and group.

Columns are found by their header, or as `--columns` says. Codes are text. Knows rule 2;
ambiguity is not its business.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from kb_builder.errors import LongbelError
from kb_builder.headers import shown_columns
from kb_builder.rules.columns import sorted_texts
from kb_builder.rules.normalise import tidy_column
from kb_builder.semantics import group_code_of
from kb_builder.sources.delimited import Batch, Table, suffix_of
from kb_builder.sources.reading import Reading
from kb_builder.sources.selection import Selection
from kb_builder.sources.table_codes import DAMAGED, spelled, without_databases
from kb_builder.terms import SourceCodes, Terms, Titles

# What a column may be called; the first is what this page calls it.
COLUMNS: dict[str, tuple[str, ...]] = {
    "code": (
        "code", "concept_code", "concept_id", "cui", "snomed_code", "sctid", "icd_code",
        "icd10_code", "icd10", "icd10cm", "id",
    ),
    "name": (
        "name", "term", "synonym", "label", "str", "concept_name", "description",
        "long_description", "long_name", "long_common_name", "display", "title",
    ),
    "group": ("group", "semantic_group", "semantic_tag", "category", "domain_id", "domain"),
    "preferred": ("preferred", "mainterm", "is_main", "is_preferred"),
    "language": ("language", "lang", "lat"),
    "source": ("source", "vocabulary_id", "vocabulary", "sab", "code_system", "coding_system"),
    "source_code": ("source_code",),
}  # fmt: skip
_NEEDED = ("code", "name", "group")
_TRUE = ("1", "true", "yes", "1.0")


class _Rows(NamedTuple):
    """Rows that are wanted, in columns, of all files in turn."""

    columns: dict[str, pa.LargeStringArray]
    counts: dict[str, int]
    files: list[dict[str, object]]


def read(reading: Reading) -> Terms:
    """The terms of tables; the suffix of a name says how the file is written."""
    rows = _read(reading)
    languages, in_language = _languages(rows, reading.selection)
    wanted = wanted_groups(rows.columns["group"], reading.selection)
    rows.counts["other_language"] = int((wanted & ~in_language).sum())
    keep = pa.array(wanted & in_language)
    return terms_of({name: column.filter(keep) for name, column in rows.columns.items()},
                    languages, rows.counts, rows.files)  # fmt: skip


def _read(reading: Reading) -> _Rows:
    batches: list[Batch] = []
    counts = {"atoms": 0, "without_code": 0}
    files = []
    for path in reading.paths:
        table = Table(path, partial(_places, path, reading.selection), reading.bad)
        for batch in table.batches():
            batches.append(_usable(batch, path, reading, counts))
            reading.progress("rows", counts["atoms"] + table.n_rows, None)
        counts["atoms"] += table.n_rows
        reading.bad.check(path.name, table.n_rows)
        files.append(table.about)
    columns = {}
    for name in COLUMNS:
        held = [batch.columns.get(name) for batch in batches]
        if any(column is not None for column in held):
            empty = [pa.array([""] * len(batch.lines), pa.large_string()) for batch in batches]
            parts = [e if column is None else column for column, e in zip(held, empty, strict=True)]
            columns[name] = pa.concat_arrays(parts)
    columns["code"] = without_databases(columns["code"])
    return _Rows(columns, counts, files)


def _usable(batch: Batch, path: Path, reading: Reading, counts: dict[str, int]) -> Batch:
    """The batch without rows that have no code or no group."""
    columns = dict(batch.columns)
    for column in columns.keys() - {"name"}:  # `DISO ` is no other group than `DISO`
        columns[column] = pc.utf8_trim_whitespace(columns[column])
    if reading.selection.group is not None:
        columns["group"] = pa.array([reading.selection.group] * len(batch.lines), pa.large_string())
    columns["code"], damaged = spelled(columns["code"])
    no_code = _flags(pc.equal(columns["code"], "")) & ~damaged
    no_group = _flags(pc.equal(columns["group"], "")) & ~no_code & ~damaged
    for rows, reason in ((no_group, "no group"), (damaged, DAMAGED)):
        for line in batch.lines[rows].tolist():
            reading.bad.add(path.name, line, reason)
    counts["without_code"] += int(no_code.sum())
    keep = ~no_code & ~no_group & ~damaged
    mask = pa.array(keep)
    return Batch(batch.lines[keep], {name: column.filter(mask) for name, column in columns.items()})


def _flags(column: pa.Array) -> np.ndarray:
    return column.to_numpy(zero_copy_only=False)


def terms_of(
    columns: Mapping[str, pa.LargeStringArray],
    languages: tuple[str, ...],
    counts: dict[str, int],
    files: list[dict[str, object]],
) -> Terms:
    """Columns of text as terms."""
    code, group, raw = (columns[name].dictionary_encode() for name in ("code", "group", "name"))
    codes, concept = sorted_words(code)
    groups, group_index = sorted_words(group)
    language = _index_in(columns.get("language"), languages, len(concept))
    is_title = _is_true(columns.get("preferred"), len(concept))
    return Terms(
        codes=codes,
        groups=tuple(groups.to_pylist()),
        languages=languages,
        concept=concept,
        name=raw.indices.to_numpy().astype(np.int32),
        group=group_index,
        language=language,
        strings=pa.chunked_array([tidy_column(raw.dictionary)]),
        titles=Titles(
            concept[is_title],
            columns["name"].filter(pa.array(is_title)),
            np.zeros(int(is_title.sum()), np.uint8),
            language[is_title],
        ),
        source_codes=_source_codes(columns),
        counts=counts,
        files=files,
    )


def _source_codes(columns: Mapping[str, pa.LargeStringArray]) -> SourceCodes | None:
    """Of a table that says from which vocabulary a name is."""
    if "source" not in columns:
        return None
    sources, source = sorted_words(columns["source"].dictionary_encode())
    own = columns.get("source_code")
    texts = columns["code"] if own is None else pc.if_else(pc.equal(own, ""), columns["code"], own)
    code = texts.dictionary_encode()
    has_source = np.array([word != "" for word in sources.to_pylist()], dtype=bool)[source]
    return SourceCodes(
        tuple(sources.to_pylist()),
        pa.chunked_array([code.dictionary]),
        np.where(has_source, source, -1),
        code.indices.to_numpy().astype(np.int32),
        np.zeros(0, np.int32),
    )


def sorted_words(encoded: pa.DictionaryArray) -> tuple[pa.LargeStringArray, np.ndarray]:
    """Distinct values in code-point order, and each row's place among them."""
    words, rank = sorted_texts(encoded.dictionary)
    return words, rank[encoded.indices.to_numpy()]


def wanted_groups(group: pa.LargeStringArray, selection: Selection) -> np.ndarray:
    """bool[n]: which rows are of a group that is wanted."""
    if selection.group_words is None:
        return np.ones(len(group), dtype=bool)
    encoded = group.dictionary_encode()
    wanted = wanted_group_names(encoded.dictionary.to_pylist(), selection)
    return np.array(wanted, dtype=bool)[encoded.indices.to_numpy()]


def wanted_group_names(held: list[str], selection: Selection) -> list[bool]:
    """Which of the source's groups are wanted; one that it does not have is an error."""
    words = selection.group_words
    if words is None:
        return [True] * len(held)
    wanted = {word.casefold() for word in words}
    codes = {group_code_of(word) for word in words} - {None}
    folded, known = {name.casefold() for name in held}, {group_code_of(name) for name in held}
    lacking = [
        word
        for word in sorted(words)
        if word.casefold() not in folded and group_code_of(word) not in known - {None}
    ]
    if lacking:
        raise LongbelError(
            f"the source has no group {', '.join(lacking)}",
            hint=f"It has {', '.join(sorted(held))}.",
            exit_code=2,
        )
    return [name.casefold() in wanted or group_code_of(name) in codes for name in held]


def _languages(rows: _Rows, selection: Selection) -> tuple[tuple[str, ...], np.ndarray]:
    """The languages in order of preference, and which rows are in a chosen one."""
    column = rows.columns.get("language")
    n = len(rows.columns["code"])
    if column is None:
        if selection.languages is not None:
            raise LongbelError("--languages: the table has no language column", exit_code=2)
        return (), np.ones(n, dtype=bool)
    held = sorted(value for value in column.unique().to_pylist() if value)
    if selection.languages is None:
        return tuple(held), np.ones(n, dtype=bool)
    by_fold = {value.casefold(): value for value in held}
    missing = [code for code in selection.languages if code.casefold() not in by_fold]
    if missing:
        raise LongbelError(
            f"the table has no row in language {missing[0]}", hint=f"It has {', '.join(held)}."
        )
    languages = tuple(by_fold[code.casefold()] for code in selection.languages)
    return languages, _flags(pc.is_in(column, pa.array(languages, pa.large_string())))


def _index_in(column: pa.LargeStringArray | None, words: tuple[str, ...], n: int) -> np.ndarray:
    if column is None or not words:
        return np.full(n, -1, dtype=np.int16)
    indices = pc.index_in(column, value_set=pa.array(words, pa.large_string()))
    return indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int16)


def _is_true(column: pa.LargeStringArray | None, n: int) -> np.ndarray:
    if column is None:
        return np.zeros(n, dtype=bool)
    return _flags(pc.is_in(pc.utf8_lower(column), pa.array(_TRUE, pa.large_string())))


def columns_of(text: str | None) -> dict[str, str]:
    """`code=ICD,name=Text` as what the columns are called."""
    columns = {}
    for pair in text.split(",") if text else ():
        column, equals, header = (part.strip() for part in pair.partition("="))
        if column not in COLUMNS or not equals or not header:
            raise LongbelError(
                f"--columns: {pair.strip()!r} is not a pair such as code=ICD10",
                hint=f"To the left of = is one of {', '.join(COLUMNS)}.",
                exit_code=2,
            )
        columns[column] = header
    return columns


def _places(path: Path, selection: Selection, header: list[str]) -> dict[str, int]:
    """Where the columns are; those that must be there and are not are an error."""
    lower = [name.strip().casefold() for name in header]
    fields = {}
    for column, aliases in COLUMNS.items():
        asked = selection.columns.get(column)
        names = aliases if asked is None else (asked.casefold(),)
        field = next((lower.index(name) for name in names if name in lower), None)
        needed = column in _NEEDED and not (column == "group" and selection.group is not None)
        if field is not None:
            fields[column] = field
        elif asked is not None or needed:
            raise _no_column(path, column, (asked,) if asked is not None else names, header)
    return fields


def _no_column(path: Path, column: str, names: tuple[str, ...], header: list[str]) -> LongbelError:
    group = " or --group DISO" if column == "group" else ""
    return LongbelError(
        f"{path}:1: no column for the {column} ({' or '.join(names)}) among its columns: "
        f"{shown_columns(header)}",
        hint="The first line names the columns; code, name and group are needed. "
        f"Say what they are called: --columns {column}=…{group}.",
    )


def matches(path: Path) -> bool:
    """Whether the name says that this is a table that can be read."""
    return path.is_file() and suffix_of(path) is not None
