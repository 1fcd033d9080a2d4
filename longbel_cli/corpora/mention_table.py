"""Tables of mentions beside texts: a mention a row, its document a `.txt` below the table's folder.

Columns are known by name: `document_id,start,end,label[,text][,code]`, and those of DisTEMIST,
SympTEMIST, MedProcNER and BioNNE-L.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import NamedTuple

from kb_builder.codes import gold_codes
from kb_builder.errors import LongbelError
from kb_builder.headers import delimiter_of
from longbel_cli.corpora import stored
from longbel_cli.corpora.records import (
    CorpusFile,
    Draft,
    Item,
    OnProblem,
    Position,
    Problem,
    Remark,
    UnreadableError,
    unreadable,
)
from longbel_cli.corpora.units import as_stated, in_characters
from longbel_cli.types import Mention, Passage, Span

SUFFIXES = (".tsv", ".csv")
# What a column holds, and the names that it goes by, in lower case and in order of preference.
_COLUMNS = {
    "document": ("document_id", "filename", "doc_id"),
    "start": ("start", "start_span", "off0"),
    "end": ("end", "end_span", "off1"),
    "spans": ("spans",),
    "label": ("label", "entity_type", "semantic_group", "type"),
    "text": ("text", "span", "mention"),
    "code": ("code", "umls_cui", "concept_id", "cui"),
    "id": ("mention_id", "mark"),
}
_FRAGMENT = re.compile(r"\s*([0-9]{1,12})\s*-\s*([0-9]{1,12})\s*\Z")
_NUMBER = re.compile(r"\s*[0-9]{1,12}\s*\Z")


class Row(NamedTuple):
    """A row by what its columns hold, with its line; `fault` where it cannot be taken apart."""

    line: int
    values: Mapping[str, str]
    fault: str | None = None


def sniff(head: bytes) -> bool:
    """Whether a file begins with the header of such a table."""
    header = head.removeprefix(stored.BOM).split(b"\n", 1)[0].decode("utf-8", "replace")
    return _is_table(_columns(_names(header)))


def _is_table(columns: Mapping[str, int]) -> bool:
    at_offsets = {"start", "end"} <= columns.keys() or "spans" in columns
    # Predictions have ranks beside these columns.
    return {"document", "label"} <= columns.keys() and at_offsets


def _names(header: str) -> list[str]:
    fields = next(csv.reader([header.rstrip("\r\n")], delimiter=delimiter_of(header, "\t")), [])
    return [name.strip().lower() for name in fields]


def _columns(names: Sequence[str]) -> dict[str, int]:
    """What is held by which column."""
    known = {
        what: next((names.index(name) for name in spellings if name in names), None)
        for what, spellings in _COLUMNS.items()
    }
    return {what: index for what, index in known.items() if index is not None}


def rows_of(path: str) -> dict[str, list[Row]]:
    """The rows of a table by document, in the table's order."""
    status = Path(path).stat()
    return _rows(path, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=4)
def _rows(path: str, changed: int, size: int) -> dict[str, list[Row]]:
    csv.field_size_limit(stored.LARGEST_DOCUMENT)
    by_document: dict[str, list[Row]] = {}
    with stored.opened(path) as handle:
        text = stored.decoded(stored.whole(handle, "the table")).removeprefix("\ufeff")
    header, _, body = text.partition("\n")
    columns, delimiter = _columns(_names(header)), delimiter_of(header, "\t")
    if not _is_table(columns):
        raise UnreadableError("its header has no columns of documents, offsets and labels", 1)
    # Fields between tabs are as they stand: a quotation mark is text there.
    stream = io.StringIO(body, newline="")
    if delimiter == "\t":
        reader = csv.reader(stream, delimiter=delimiter, quoting=csv.QUOTE_NONE)
    else:
        reader = csv.reader(stream, delimiter=delimiter)
    line = 2
    try:
        for fields in reader:
            row = _row(fields, columns, len(_names(header)), line)
            if row is not None:
                by_document.setdefault(row.values["document"], []).append(row)
            line = reader.line_num + 2
    except csv.Error as error:
        raise UnreadableError(f"the table cannot be read ({error})", line) from None
    return by_document


def _row(fields: Sequence[str], columns: Mapping[str, int], width: int, line: int) -> Row | None:
    """A row; None for an empty line. One without its document is of the document ``."""
    if not any(field.strip() for field in fields):
        return None
    values = {what: fields[index] for what, index in columns.items() if index < len(fields)}
    fault = None
    if len(fields) != width:
        fault = f"the row has {len(fields)} fields where the header has {width}"
    document = values.get("document", "").strip()
    return Row(line, {**values, "document": document.removesuffix(".txt")}, fault)


def files_of(table: Path, folder: Path) -> tuple[list[CorpusFile], list[str]]:
    """The documents of a table whose texts lie below a folder, by path; and those without a text.

    Texts that no row names are documents without mentions.
    """
    named = rows_of(str(table))
    files: list[CorpusFile] = []
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() != ".txt" or not path.is_file() or path.name.startswith("."):
            continue
        below = path.relative_to(folder).with_suffix("").as_posix()
        document_id = below if below in named else path.stem
        files.append(CorpusFile(str(table), "table", document_id, text=str(path)))
    there = {file.document_id for file in files}
    return files, [document for document in named if document not in there]


def beside(table: Path, folder: Path, on_remark: OnProblem) -> list[CorpusFile]:
    """As `files_of`, with a remark on the documents without a text; LongbelError where all are."""
    try:
        files, without = files_of(table, folder)
    except UnreadableError as error:
        raise LongbelError(f"{table}: {error.reason}") from None
    if not without:
        return files
    first = f"{len(without)} document(s) of its rows have no text, the first: {without[0]}"
    if len(without) == len(rows_of(str(table))):
        raise LongbelError(
            f"{table}: {first}", "Put the texts beside the table, as DOCUMENT.txt in its folder."
        )
    on_remark(Problem.of_file(str(table), first))
    return files


def each_once(files: Sequence[CorpusFile]) -> list[CorpusFile]:
    """The files without those plain texts, and those documents without a row, that are in a table
    as well."""
    of_tables = {file.text for file in files if file.text is not None}
    taken = {file.text for file in files if _has_rows(file)}
    kept = []
    for file in files:
        if file.text is not None and not _has_rows(file):
            if file.text in taken:
                continue
            taken.add(file.text)
        if file.format != "text" or file.path not in of_tables:
            kept.append(file)
    return kept


def _has_rows(file: CorpusFile) -> bool:
    return file.text is not None and file.document_id in rows_of(file.path)


def read(file: CorpusFile, start: Position) -> Iterator[Item]:
    """The one document of a text."""
    if file.document_id is None or file.text is None:
        yield unreadable(0, None, "a table of mentions needs its texts beside it")
        return
    yield Item(0, None, file.document_id, partial(_build, file.path, file.text, file.document_id))


def _build(table: str, path: str, document_id: str) -> Draft:
    with stored.opened(path) as handle:
        text = stored.decoded(stored.whole(handle, "its text"), Path(path).name)
    draft = Draft([Passage(text)])
    for ordinal, row in enumerate(rows_of(table).get(document_id, ()), start=1):
        mention_id = row.values.get("id", "").strip() or f"T{ordinal}"
        mention = None if row.fault is not None else _mention(row, mention_id)
        if mention is None:
            reason = row.fault or "its offsets are no numbers, or it has no label"
            draft.faults.append(Remark(reason, mention_id, row.line))
        else:
            draft.mentions.append(mention)
    draft.mentions, unit = in_characters(draft.mentions, text)
    draft.mentions = [as_stated(mention, text) for mention in draft.mentions]
    if unit is not None:
        draft.warnings.append(Remark(f"its offsets count {unit}; they are converted"))
    return draft


def _mention(row: Row, mention_id: str) -> Mention | None:
    spans = _spans(row.values)
    label = row.values["label"].strip() if "label" in row.values else ""
    if not spans or not label:
        return None
    code = row.values.get("code")
    gold = None if code is None else gold_codes(code)
    stated = row.values.get("text", "")
    return Mention(mention_id, spans, stated, label, label, gold, row.line)


def _spans(values: Mapping[str, str]) -> tuple[Span, ...]:
    """The fragments of a row; none where they are no numbers."""
    if "spans" in values:
        parts = [_FRAGMENT.match(part) for part in values["spans"].split(",")]
        return (
            tuple(Span(int(part[1]), int(part[2])) for part in parts if part) if all(parts) else ()
        )
    start, end = values.get("start", ""), values.get("end", "")
    if not (_NUMBER.match(start) and _NUMBER.match(end)):
        return ()
    return (Span(int(start), int(end)),)
