"""Rows of TSV, CSV and Parquet files as batches of text columns with their line numbers.

The header says what parts fields. Tabs: rows are split on tabs and line feeds alone. Commas,
semicolons, bars: rows follow RFC 4180, so that a quoted value may hold line ends. Knows nothing of
what the columns mean.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from kb_builder.errors import LongbelError
from kb_builder.files import blocks_of, new_sha256
from kb_builder.headers import delimiter_of
from kb_builder.sources.archives import stored
from kb_builder.sources.rrf import NOT_UTF8, BadRow, Block, Rows, as_text, split_tabbed, whole_rows
from kb_builder.sources.selection import BadRows

_PARQUET = ".parquet"
# What parts the fields of a table of such a name, unless its header says otherwise.
_SUFFIXES = {".tsv": "\t", ".txt": "\t", ".tsv.gz": "\t", ".csv": ",", ".csv.gz": ","}
_BOM = b"\xef\xbb\xbf"
# What of a header is wanted: the places of columns by what they are called here.
Places = Callable[[list[str]], dict[str, int]]


class Batch(NamedTuple):
    """Some rows: their lines, and their columns as text."""

    lines: np.ndarray  # int64
    columns: dict[str, pa.LargeStringArray]


class Table:
    """A file of rows; `n_rows`, bad ones among them, and `sha256` once all batches were taken."""

    def __init__(self, path: Path, locate: Places, bad: BadRows) -> None:
        self.path = path
        self._places = locate
        self._bad = bad
        self._digest = new_sha256()
        self.n_rows = 0

    @property
    def about(self) -> dict[str, object]:
        """What is to be said of the file."""
        return {"name": self.path.name, "rows": self.n_rows, "sha256": self._digest.hexdigest()}

    def batches(self) -> Iterator[Batch]:
        """All readable rows in turn."""
        suffix = suffix_of(self.path) or ""
        if suffix == _PARQUET:
            yield from self._parquet()
            return
        stream = _Stream(self._blocks())
        delimiter = delimiter_of(stream.peek_line().decode("utf-8", "replace"), _SUFFIXES[suffix])
        yield from self._tsv(stream) if delimiter == "\t" else self._csv(stream, delimiter)

    def _blocks(self) -> Iterator[bytes]:
        """Unpacked, without a byte order mark."""
        for index, block in enumerate(stored(self.path).blocks(self._digest.update)):
            yield block.removeprefix(_BOM) if index == 0 else block

    def _tsv(self, stream: _Stream) -> Iterator[Batch]:
        columns = None
        for header, rows, bad, n_lines in tabbed_rows(stream.blocks(), self.path.name):
            columns = columns or self._places(header)
            self.n_rows += n_lines
            yield self._batch(columns, rows, bad)
        if columns is None:
            raise LongbelError(f"{self.path}: the file is empty")

    def _batch(self, fields: dict[str, int], rows: Rows, bad: list[BadRow]) -> Batch:
        columns = {name: rows.column(field) for name, field in fields.items()}
        lines, texts, unreadable = readable(rows.lines, columns)
        self._bad.add_all(self.path.name, sorted(bad + unreadable))
        return Batch(lines, texts)

    def _csv(self, stream: _Stream, delimiter: str) -> Iterator[Batch]:
        try:
            names = _header(stream.peek_line(), delimiter)
            skipped: list[pyarrow.csv.InvalidRow] = []
            reader = _open_csv(stream, names, delimiter, skipped)
            fields = self._places(names)
            counter = _Lines(names, skipped)
            for batch in reader:
                lines, bad = counter.lines_of(batch)
                columns = {name: batch.column(field) for name, field in fields.items()}
                kept, texts, unreadable = readable(lines, columns)
                self._bad.add_all(self.path.name, sorted(bad + unreadable))
                self.n_rows += len(lines) + len(bad)
                yield Batch(kept, texts)
            self._bad.add_all(self.path.name, counter.rest())
            self.n_rows += counter.n_rest
        except (pa.ArrowInvalid, UnicodeDecodeError) as error:
            raise LongbelError(
                f"{self.path}: not a CSV file in UTF-8 ({type(error).__name__})"
            ) from error

    def _parquet(self) -> Iterator[Batch]:
        try:
            for block in blocks_of(self.path):
                self._digest.update(block)
            file = pq.ParquetFile(self.path)
            names = file.schema_arrow.names
            fields = self._places(names)
            for batch in file.iter_batches(columns=[names[field] for field in fields.values()]):
                columns = {
                    name: text_of(batch.column(names[field]), self.path, name)
                    for name, field in fields.items()
                }
                lines = np.arange(self.n_rows + 1, self.n_rows + 1 + len(batch))
                self.n_rows += len(batch)
                yield Batch(lines, columns)
        except (pa.ArrowInvalid, OSError) as error:
            raise LongbelError(
                f"{self.path}: not a Parquet file ({type(error).__name__})"
            ) from error


def tabbed_rows(
    blocks: Iterable[bytes], location: str
) -> Iterator[tuple[list[str], Rows, list[BadRow], int]]:
    """Blocks of rows with tabs between fields: header, readable rows, others, how many in all."""
    header: list[str] | None = None
    for block in whole_rows(blocks, location):
        if header is None:
            first, _, rest = block.data.partition(b"\n")
            fields = first.removeprefix(_BOM).rstrip(b"\r").split(b"\t")
            header = [name.decode("utf-8", "replace") for name in fields]
            block = Block(rest, 2, block.n_lines - 1)
        yield header, *split_tabbed(block, len(header)), block.n_lines


def readable(
    lines: np.ndarray, columns: dict[str, pa.Array]
) -> tuple[np.ndarray, dict[str, pa.LargeStringArray], list[BadRow]]:
    """Columns of bytes as text, without the rows of which one is not UTF-8."""
    good = np.ones(len(lines), dtype=bool)
    texts = {}
    for name, column in columns.items():
        texts[name], mask = as_text(column)
        if mask is not None:
            good &= mask
    if good.all():
        return lines, texts, []
    kept = {name: as_text(column.filter(pa.array(good)))[0] for name, column in columns.items()}
    return lines[good], kept, [BadRow(line, NOT_UTF8) for line in lines[~good].tolist()]


def text_of(column: pa.Array, path: Path, name: str) -> pa.LargeStringArray:
    """A column of whatever type as text, nothing as the empty text."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    kind = column.type
    if name == "code" and (pa.types.is_floating(kind) or pa.types.is_decimal(kind)):
        raise LongbelError(
            f"{path}: the column for the code is of type {kind}: codes are text",
            hint="Write the column as string or integer.",
        )
    try:
        return pc.fill_null(column.cast(pa.large_string()), "")
    except (pa.ArrowNotImplementedError, pa.ArrowInvalid) as error:
        raise LongbelError(
            f"{path}: the column for the {name} is of type {kind}, not text",
            hint="Write the column as string.",
        ) from error


class _Stream(io.RawIOBase):
    """Blocks of bytes as a file, of which the first line was looked at."""

    def __init__(self, blocks: Iterable[bytes]) -> None:
        self._blocks = iter(blocks)
        self._waiting = b""

    def peek_line(self) -> bytes:
        """The first line."""
        while b"\n" not in self._waiting:
            block = next(self._blocks, None)
            if block is None:
                break
            self._waiting += block
        return self._waiting.split(b"\n", 1)[0]

    def blocks(self) -> Iterator[bytes]:
        """What was not read, in blocks."""
        waiting, self._waiting = self._waiting, b""
        if waiting:
            yield waiting
        yield from self._blocks

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # any writable buffer
        if not self._waiting:
            self._waiting = next(self._blocks, b"")
        data, self._waiting = self._waiting[: len(buffer)], self._waiting[len(buffer) :]
        buffer[: len(data)] = data
        return len(data)


def _header(line: bytes, delimiter: str) -> list[str]:
    text = line.decode("utf-8")
    table = pyarrow.csv.read_csv(
        pa.BufferReader(f"{text}\n".encode()),
        parse_options=pyarrow.csv.ParseOptions(delimiter=delimiter),
    )
    return list(table.column_names)


def _open_csv(
    stream: _Stream, names: list[str], delimiter: str, skipped: list[pyarrow.csv.InvalidRow]
) -> pyarrow.csv.CSVStreamingReader:
    def skip(row: pyarrow.csv.InvalidRow) -> str:
        skipped.append(row)
        return "skip"

    return pyarrow.csv.open_csv(
        pa.PythonFile(stream, mode="r"),
        read_options=pyarrow.csv.ReadOptions(use_threads=False, block_size=8 << 20),
        parse_options=pyarrow.csv.ParseOptions(
            delimiter=delimiter, newlines_in_values=True, invalid_row_handler=skip
        ),
        convert_options=pyarrow.csv.ConvertOptions(
            column_types={name: pa.large_binary() for name in names}, strings_can_be_null=False
        ),
    )


class _Lines:
    """Where rows of a CSV begin: a row may go over several lines."""

    def __init__(self, names: list[str], skipped: list[pyarrow.csv.InvalidRow]) -> None:
        self._skipped = skipped
        self._number = 2  # of the next row, as pyarrow counts them: the header is 1
        self._line = 2
        self.n_rest = 0

    def lines_of(self, batch: pa.RecordBatch) -> tuple[np.ndarray, list[BadRow]]:
        """The lines of the batch's rows, and the unreadable rows among them."""
        inside = _line_ends(batch)
        if not self._skipped and not inside.any():
            lines = self._line + np.arange(len(batch))
            self._line, self._number = self._line + len(batch), self._number + len(batch)
            return lines, []
        bad = []
        lines = np.zeros(len(batch), dtype=np.int64)
        skipped = {row.number: row for row in self._skipped}
        for index, extra in enumerate(inside.tolist()):
            while self._number in skipped:
                bad.append(self._skip(skipped[self._number]))
            lines[index] = self._line
            self._line += 1 + extra
            self._number += 1
        self._skipped[:] = [row for row in self._skipped if row.number >= self._number]
        return lines, bad

    def _skip(self, row: pyarrow.csv.InvalidRow) -> BadRow:
        bad = BadRow(self._line, f"{row.actual_columns} columns instead of {row.expected_columns}")
        self._line += 1 + row.text.count("\n")
        self._number += 1
        return bad

    def rest(self) -> list[BadRow]:
        """Unreadable rows after the last readable one."""
        rest = [self._skip(row) for row in self._skipped]
        self.n_rest = len(rest)
        return rest


def _line_ends(batch: pa.RecordBatch) -> np.ndarray:
    """int64[n]: how many line feeds stand inside the values of each row."""
    total = np.zeros(len(batch), dtype=np.int64)
    for column in batch.columns:
        total += pc.count_substring(column, "\n").to_numpy(zero_copy_only=False)
    return total


def suffix_of(path: Path) -> str | None:
    """The suffix by which a table's kind is known, None where it is none."""
    name = path.name.lower()
    return next((suffix for suffix in (*_SUFFIXES, _PARQUET) if name.endswith(suffix)), None)
