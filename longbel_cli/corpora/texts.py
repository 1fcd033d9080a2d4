"""Plain texts: files that are one document each, and tables with a text and an id in each row.

Texts are never changed: offsets count the characters as they are stored, line ends, byte order
marks and NUL characters included. Columns are guessed from a few names, and that is logged.
"""

from __future__ import annotations

import csv
import io
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

from kb_builder.headers import delimiter_of, shown_columns
from longbel_cli.corpora import stored
from longbel_cli.corpora.json_items import identifier, json_items
from longbel_cli.corpora.records import (
    CorpusFile,
    Draft,
    Item,
    Position,
    UnreadableError,
    unreadable,
)
from longbel_cli.corpora.row_files import is_row_file, rows
from longbel_cli.types import Passage

log = logging.getLogger(__name__)

# In order of preference. Ids reach logs and output: what names a person is never guessed.
TEXT_COLUMNS = ("note_text", "text")
ID_COLUMNS = ("note_id", "document_id", "id")
TABLE_SUFFIXES = (".csv", ".tsv")
ROW_SUFFIXES = (".jsonl", ".ndjson", ".parquet", ".pq", ".arrow")
_ARRAYS = ("documents", "notes", "texts")
# Keys of other formats in JSON.
_OTHERS = re.compile(rb'"(?:passages|entities|documents|annotations|ents|spans|ner)"\s*:')
_TEXT_KEY = re.compile(rb'"(?:note_text|text)"\s*:\s*"')


def read_text(file: CorpusFile, start: Position) -> Iterator[Item]:
    """The one document of a file."""
    name = Path(file.path).stem if file.document_id is None else file.document_id
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        yield unreadable(0, None, "the file's name is not UTF-8, so it cannot be an id")
        return
    yield Item(0, None, name, partial(_text_of_file, file.path))


def _text_of_file(path: str) -> Draft:
    with stored.opened(path) as handle:
        data = stored.whole(handle, "the text")
    return _draft(stored.decoded(data))


def _draft(text: str) -> Draft:
    return Draft([Passage(text)])


def read_table(file: CorpusFile, start: Position) -> Iterator[Item]:
    """The documents of a table from a row on: CSV, TSV, JSON Lines, JSON or Parquet."""
    if is_row_file(file.path):
        for index, value in rows(file.path, start.offset):
            yield _item(file, value, index, index + 1)
    elif file.path.lower().removesuffix(".gz").endswith(TABLE_SUFFIXES):
        yield from _delimited(file, start)
    else:
        yield from json_items(file.path, start, _ARRAYS, partial(_item, file))


def _delimited(file: CorpusFile, start: Position) -> Iterator[Item]:
    """Rows by Python's csv module, which leaves what stands between quotes as it is."""
    csv.field_size_limit(stored.LARGEST_DOCUMENT)
    with stored.opened(file.path) as handle:
        stream = io.TextIOWrapper(handle, encoding="utf-8-sig", newline="")
        try:
            header = stream.readline()
            usual = "\t" if ".tsv" in file.path.lower() else ","
            reader = csv.reader(stream, delimiter=delimiter_of(header, usual))
            names = next(csv.reader([header], delimiter=delimiter_of(header, usual)), [])
            columns(file, names)
            line = 2
            for index, fields in enumerate(reader):
                if fields and index >= start.offset:
                    yield _row(file, names, fields, index, line)
                line = reader.line_num + 2
        except UnicodeDecodeError:
            raise UnreadableError(
                "the table is not UTF-8 (convert it: iconv -f LATIN1 -t UTF-8)"
            ) from None
        except csv.Error as error:
            raise UnreadableError(f"the table cannot be read ({error})") from None


def _row(
    file: CorpusFile, names: Sequence[str], fields: Sequence[str], index: int, line: int
) -> Item:
    if len(fields) != len(names):
        return unreadable(index, line, f"{len(fields)} fields where the header has {len(names)}")
    return _item(file, dict(zip(names, fields, strict=True)), index, line)


def _item(file: CorpusFile, value: Any, index: int, line: int | None) -> Item:
    if not isinstance(value, dict):
        return unreadable(index, line, "a row must be a JSON object")
    try:
        text_column, id_column = columns(file, list(value))
    except UnreadableError as error:
        return unreadable(index, line, error.reason)
    document_id = identifier(value.get(id_column))
    if document_id is None:
        return unreadable(index, line, f"its {id_column} is no id")
    return Item(index, line, document_id, partial(_text_of_row, value, text_column))


def _text_of_row(value: Mapping[str, Any], column: str) -> Draft:
    text = value.get(column)
    if not isinstance(text, str):
        raise UnreadableError(f"its {column} is no text")
    return _draft(text)


def columns(file: CorpusFile, names: Sequence[str]) -> tuple[str, str]:
    """The columns of texts and of ids: as asked for, else those that are guessed, which is logged;
    UnreadableError where there are none."""
    asked = file.columns
    chosen = []
    for flag, wanted, known in zip(
        ("--text-column", "--id-column"), asked, (TEXT_COLUMNS, ID_COLUMNS), strict=True
    ):
        candidates = known if wanted is None else (wanted,)
        column = next((name for name in candidates if name in names), None)
        if column is None:
            raise UnreadableError(
                f"no column {' or '.join(candidates)}; there are {shown_columns(names)} "
                f"({flag} names another)",
                line=1,
            )
        chosen.append(column)
    if None in asked:
        _log_columns(file.path, *chosen)
    return chosen[0], chosen[1]


@cache
def _log_columns(path: str, text_column: str, id_column: str) -> None:
    log.info("%s: texts from the column %s, ids from %s", path, text_column, id_column)


def sniff(head: bytes) -> bool:
    """Whether JSON that begins like this holds texts alone."""
    first = head.removeprefix(stored.BOM).lstrip()
    if not first.startswith((b"{", b"[")):
        return False
    return _TEXT_KEY.search(first) is not None and _OTHERS.search(first) is None


def is_table(path: Path) -> bool:
    """Whether a Parquet file has a column of texts and none of passages."""
    if not is_row_file(str(path)) or path.suffix.lower() == ".arrow":
        return False
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        names = pq.read_schema(path).names
    except (OSError, pa.ArrowException):
        return False
    return "passages" not in names and any(name in names for name in TEXT_COLUMNS)
