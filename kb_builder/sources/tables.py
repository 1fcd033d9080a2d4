"""Tables of names: a gazetteer, or any TSV, CSV or Parquet with code, name and group.

Columns are found by their header. TSV is split on tabs and line feeds alone; CSV follows RFC
4180. Codes are text. Knows rule 2; ambiguity is not its business.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from kb_builder.errors import LongbelError
from kb_builder.progress import Progress
from kb_builder.rules.columns import sorted_texts
from kb_builder.rules.normalise import tidy_column
from kb_builder.semantics import group_code_of
from kb_builder.sources.archives import Part, StoredFile
from kb_builder.sources.selection import BadRows, Selection
from kb_builder.terms import Terms, Titles

# What a column may be called; the first is what this page calls it.
COLUMNS: dict[str, tuple[str, ...]] = {
    "code": ("code", "concept_code", "concept_id", "cui", "snomed_code", "sctid"),
    "name": ("name", "term", "synonym", "label", "str"),
    "group": ("group", "semantic_group", "semantic_tag", "category"),
    "preferred": ("preferred", "mainterm", "is_main"),
    "language": ("language", "lang", "lat"),
}
_MAX_BYTES = 4 << 30  # a table is held in memory
_OPTIONAL = ("preferred", "language")
_NO_CODE = ("", "NO_CODE")
_TRUE = ("1", "true", "yes", "1.0")


class _Table(NamedTuple):
    columns: dict[str, pa.LargeStringArray]
    lines: np.ndarray  # int64, where each row stands
    sha256: str


def read_table(path: Path, selection: Selection, bad: BadRows, progress: Progress) -> Terms:
    """The terms of a table; the suffix of its name says how it is written."""
    selection.refuse_umls_options("a table of names")
    suffixes = [suffix.lower() for suffix in path.suffixes[-2:]]
    table = _READERS["".join(suffixes) if suffixes[-1] == ".gz" else suffixes[-1]](path, bad)
    progress("rows", len(table.lines), len(table.lines))
    bad.check(path.name, len(table.lines))
    return terms_of(path, table, selection, bad)


def terms_of(path: Path, table: _Table, selection: Selection, bad: BadRows) -> Terms:
    """Columns of text as terms: without rows that have no code or are not wanted."""
    columns, n_rows = dict(table.columns), len(table.lines)
    for column in columns.keys() - {"name"}:  # `DISO ` is no other group than `DISO`
        columns[column] = pc.utf8_trim_whitespace(columns[column])
    no_code = pc.is_in(columns["code"], pa.array(_NO_CODE, pa.large_string()))
    keep = ~no_code.to_numpy(zero_copy_only=False)
    no_group = pc.equal(columns["group"], "").to_numpy(zero_copy_only=False) & keep
    for line in table.lines[no_group].tolist():
        bad.add(path.name, line, "no group")
    bad.check(path.name, n_rows)
    keep &= ~no_group
    counts = {"atoms": n_rows, "without_code": int((~keep & ~no_group).sum())}
    keep &= wanted_groups(columns["group"], selection)
    languages, wanted = _languages(columns, selection)
    counts["other_language"] = int((keep & ~wanted).sum())
    keep &= wanted
    chosen = {name: column.filter(pa.array(keep)) for name, column in columns.items()}
    code, group, raw = (chosen[name].dictionary_encode() for name in ("code", "group", "name"))
    codes, concept = sorted_words(code)
    groups, group_index = sorted_words(group)
    language = _index_in(chosen.get("language"), languages, len(concept))
    is_title = _is_true(chosen.get("preferred"), len(concept))
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
            chosen["name"].filter(pa.array(is_title)),
            np.zeros(int(is_title.sum()), np.uint8),
            language[is_title],
        ),
        counts=counts,
        files=[{"name": path.name, "rows": n_rows, "sha256": table.sha256}],
    )


def sorted_words(encoded: pa.DictionaryArray) -> tuple[pa.LargeStringArray, np.ndarray]:
    """Distinct values in code-point order, and each row's place among them."""
    words, place = sorted_texts(encoded.dictionary)
    return words, place[encoded.indices.to_numpy()]


def wanted_groups(group: pa.LargeStringArray, selection: Selection) -> np.ndarray:
    if selection.group_words is None:
        return np.ones(len(group), dtype=bool)
    encoded = group.dictionary_encode()
    wanted = {word.casefold() for word in selection.group_words}
    codes = {group_code_of(word) for word in selection.group_words} - {None}
    held = encoded.dictionary.to_pylist()
    chosen = [name.casefold() in wanted or group_code_of(name) in codes for name in held]
    folded, known = {name.casefold() for name in held}, {group_code_of(name) for name in held}
    lacking = [
        word
        for word in sorted(selection.group_words)
        if word.casefold() not in folded and group_code_of(word) not in known - {None}
    ]
    if lacking:
        raise LongbelError(
            f"the table has no group {', '.join(lacking)}",
            hint=f"It has {', '.join(sorted(held))}.",
            exit_code=2,
        )
    return np.array(chosen, dtype=bool)[encoded.indices.to_numpy()]


def _languages(
    columns: dict[str, pa.LargeStringArray], selection: Selection
) -> tuple[tuple[str, ...], np.ndarray]:
    """The languages in order of preference, and which rows are in a chosen one."""
    column = columns.get("language")
    n = len(columns["code"])
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
    chosen = pc.is_in(column, pa.array(languages, pa.large_string()))
    return languages, chosen.to_numpy(zero_copy_only=False)


def _index_in(column: pa.LargeStringArray | None, words: tuple[str, ...], n: int) -> np.ndarray:
    if column is None or not words:
        return np.full(n, -1, dtype=np.int16)
    found = pc.index_in(column, value_set=pa.array(words, pa.large_string()))
    return found.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int16)


def _is_true(column: pa.LargeStringArray | None, n: int) -> np.ndarray:
    if column is None:
        return np.zeros(n, dtype=bool)
    truth = pc.is_in(pc.utf8_lower(column), pa.array(_TRUE, pa.large_string()))
    return truth.to_numpy(zero_copy_only=False)


def _places(header: list[str], path: Path) -> dict[str, int]:
    """Where the columns are; those that must be there and are not are an error."""
    lower = [name.strip().casefold() for name in header]
    places = {}
    for column, names in COLUMNS.items():
        found = next((lower.index(name) for name in names if name in lower), None)
        if found is not None:
            places[column] = found
        elif column not in _OPTIONAL:
            raise LongbelError(
                f"{path}:1: no column for the {column} ({' or '.join(names)})",
                hint="The first line names the columns; code, name and group are needed.",
            )
    return places


def _bytes_of(path: Path) -> tuple[bytes, str]:
    """The whole file, unpacked where it is compressed, and the hash of that."""
    part = Part(path.name, path.name, None, lambda: path.open("rb"))
    data = b"".join(StoredFile(path.name, (part,), _MAX_BYTES).blocks())
    return data, hashlib.sha256(data).hexdigest()


def _read_tsv(path: Path, bad: BadRows) -> _Table:
    data, digest = _bytes_of(path)
    lines = data.removeprefix(b"\xef\xbb\xbf").split(b"\n")
    if lines[-1] == b"":
        lines.pop()
    if not lines:
        raise LongbelError(f"{path}: empty")
    header = [field.decode("utf-8", "replace") for field in lines[0].rstrip(b"\r").split(b"\t")]
    places = _places(header, path)
    kept: list[int] = []
    values: dict[str, list[str]] = {column: [] for column in places}
    for number, line in enumerate(lines[1:], 2):
        fields = line.removesuffix(b"\r").split(b"\t")
        if len(fields) != len(header):
            bad.add(path.name, number, f"{len(fields)} columns instead of {len(header)}")
            continue
        try:
            texts = [fields[place].decode("utf-8") for place in places.values()]
        except UnicodeDecodeError:
            bad.add(path.name, number, "not UTF-8")
            continue
        kept.append(number)
        for column, text in zip(places, texts, strict=True):
            values[column].append(text)
    columns = {name: pa.array(column, pa.large_string()) for name, column in values.items()}
    return _Table(columns, np.array(kept, dtype=np.int64), digest)


def _read_csv(path: Path, bad: BadRows) -> _Table:
    data, digest = _bytes_of(path)
    skipped: list[int] = []

    def note(row: pyarrow.csv.InvalidRow) -> str:
        skipped.append(row.number)
        bad.add(
            path.name, row.number, f"{row.actual_columns} columns instead of {row.expected_columns}"
        )
        return "skip"

    try:
        first = data.split(b"\n", 1)[0].decode("utf-8-sig")
        names = pyarrow.csv.read_csv(pa.BufferReader(f"{first}\n".encode())).column_names
        table = pyarrow.csv.read_csv(
            pa.BufferReader(data),
            read_options=pyarrow.csv.ReadOptions(use_threads=False),
            parse_options=pyarrow.csv.ParseOptions(
                newlines_in_values=True, invalid_row_handler=note
            ),
            convert_options=pyarrow.csv.ConvertOptions(
                column_types={name: pa.large_string() for name in names}, strings_can_be_null=False
            ),
        )
    except (pa.ArrowInvalid, UnicodeDecodeError) as error:
        raise LongbelError(f"{path}: not a CSV file in UTF-8 ({type(error).__name__})") from error
    places = _places(table.column_names, path)
    columns = {name: _text(table.column(place), path, name) for name, place in places.items()}
    lines = np.setdiff1d(np.arange(2, 2 + len(table) + len(skipped)), skipped)
    return _Table(columns, lines, digest)


def _read_parquet(path: Path, bad: BadRows) -> _Table:
    try:
        file = pq.ParquetFile(path)
        names = file.schema_arrow.names
        places = _places(names, path)
        table = file.read(columns=[names[place] for place in places.values()])
    except (pa.ArrowInvalid, OSError) as error:
        raise LongbelError(f"{path}: not a Parquet file ({type(error).__name__})") from error
    columns = {
        name: _text(table.column(names[place]), path, name) for name, place in places.items()
    }
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return _Table(columns, np.arange(1, len(table) + 1), digest)


def _text(column: pa.ChunkedArray, path: Path, name: str) -> pa.LargeStringArray:
    """A column of whatever type as text, nothing as the empty text."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    kind = column.type
    if name == "code" and (pa.types.is_floating(kind) or pa.types.is_decimal(kind)):
        raise LongbelError(
            f"{path}: the column for the code is of type {kind}: codes are text",
            hint="Write the column as string or integer.",
        )
    try:
        text = pc.fill_null(column.cast(pa.large_string()), "")
    except (pa.ArrowNotImplementedError, pa.ArrowInvalid) as error:
        raise LongbelError(
            f"{path}: the column for the {name}, of type {kind}, is no text",
            hint="Write the column as string.",
        ) from error
    return pa.concat_arrays(text.chunks) if text.num_chunks else pa.array([], pa.large_string())


_READERS: dict[str, Callable[[Path, BadRows], _Table]] = {
    ".tsv": _read_tsv,
    ".txt": _read_tsv,
    ".tsv.gz": _read_tsv,
    ".csv": _read_csv,
    ".csv.gz": _read_csv,
    ".parquet": _read_parquet,
}


def is_table(path: Path) -> bool:
    """Whether the name says that this is a table that can be read."""
    return path.is_file() and path.name.lower().endswith(tuple(_READERS))
