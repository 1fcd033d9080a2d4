"""Rows of text files as columns: bytes split on `\n` and `|` (or tabs), on nothing else.

No CSV parser: quotes, `NA`, lone carriage returns, U+0085 and U+2028 are text. Knows nothing of
what the columns mean.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from kb_builder.errors import LongbelError

_BAR, _NEWLINE, _RETURN, _TAB = ord("|"), ord("\n"), ord("\r"), ord("\t")
MAX_ROW_BYTES = 16 << 20
NOT_UTF8 = "not UTF-8"


class BadRow(NamedTuple):
    """A row that cannot be read: its line, from 1, and why."""

    line: int
    reason: str


class Rows:
    """The readable rows of a block: `starts[i, k]..ends[i, k]` are the bytes of field k."""

    def __init__(
        self, data: np.ndarray, starts: np.ndarray, ends: np.ndarray, lines: np.ndarray
    ) -> None:
        self.data, self.starts, self.ends, self.lines = data, starts, ends, lines

    def __len__(self) -> int:
        return len(self.lines)

    def where(self, chosen: np.ndarray) -> Rows:
        """The rows that are chosen (bool[n]) alone."""
        return Rows(self.data, self.starts[chosen], self.ends[chosen], self.lines[chosen])

    def key(self, field: int, width: int) -> np.ndarray:
        """int32[n]: a field of at most `width` (1 to 3) bytes as one number, -1 if longer."""
        start, length = self.starts[:, field], self.ends[:, field] - self.starts[:, field]
        packed = np.zeros(len(start), dtype=np.int32)
        for offset in range(width):
            inside = length > offset
            byte = self.data[np.minimum(start + offset, len(self.data) - 1)]
            packed = np.where(inside, packed << 8 | byte, packed)
        packed[length > width] = -1
        return packed

    def equals(self, field: int, text: bytes) -> np.ndarray:
        """bool[n]: whether the field is `text`, of 1 to 3 bytes."""
        return self.key(field, len(text)) == int.from_bytes(text, "big")

    def column(self, field: int, where: np.ndarray | None = None) -> pa.LargeBinaryArray:
        """The field's bytes, of the rows at the positions `where`."""
        chosen = slice(None) if where is None else where
        starts, ends = self.starts[chosen, field], self.ends[chosen, field]
        n = len(starts)
        if n == 0:
            return pa.array([], pa.large_binary())
        # Fields and the gaps between them are alternate values of one array over the block;
        # taking every second value copies the fields alone.
        edges = np.empty(2 * n, dtype=np.int64)
        edges[0::2], edges[1::2] = starts, ends
        both = pa.LargeBinaryArray.from_buffers(
            pa.large_binary(), 2 * n - 1, [None, pa.py_buffer(edges), pa.py_buffer(self.data)]
        )
        return both.take(pa.array(np.arange(0, 2 * n, 2, dtype=np.int64)))


class Block(NamedTuple):
    """Whole rows of a file: the bytes, and the number of the first row's line."""

    data: bytes
    first_line: int
    n_lines: int


def whole_rows(blocks: Iterable[bytes], location: str) -> Iterator[Block]:
    """The same bytes cut at line ends, without a byte order mark; a last line without a line end
    gets it."""
    rest, line = b"", 1
    for index, block in enumerate(blocks):
        block = block.removeprefix(codecs.BOM_UTF8) if index == 0 else block
        cut = block.rfind(b"\n") + 1
        if cut == 0:
            rest += block
            if len(rest) > MAX_ROW_BYTES:
                raise LongbelError(
                    f"{location}:{line}: a row of more than {MAX_ROW_BYTES >> 20} MiB",
                    hint="Rows end in a line feed: is this the file that you meant?",
                )
            continue
        data = rest + block[:cut]
        rest = block[cut:]
        count = data.count(b"\n")
        yield Block(data, line, count)
        line += count
    if rest:
        yield Block(rest + b"\n", line, 1)


def split_rows(block: Block, n_fields: int) -> tuple[Rows, list[BadRow]]:
    """Fields of every row of the block that has `n_fields`, each closed by a bar."""
    data = np.frombuffer(block.data, dtype=np.uint8)
    ends = np.flatnonzero(data == _NEWLINE)
    bars = np.flatnonzero(data == _BAR)
    lines = block.first_line + np.arange(len(ends))
    starts = np.concatenate(([0], ends[:-1] + 1))
    closing = np.where((ends > starts) & (data[ends - 1] == _RETURN), ends - 1, ends)
    bad: list[BadRow] = []
    regular = len(bars) == n_fields * len(ends) and np.array_equal(
        bars[n_fields - 1 :: n_fields] + 1, closing
    )
    if not regular:
        first_bar = np.searchsorted(bars, starts)
        counts = np.searchsorted(bars, ends) - first_bar
        closed = counts == n_fields
        closed[closed] = bars[first_bar[closed] + n_fields - 1] + 1 == closing[closed]
        unreadable = zip(lines[~closed].tolist(), counts[~closed].tolist(), strict=True)
        bad = [_bad_row(line, count, n_fields) for line, count in unreadable]
        bars = bars[(first_bar[closed][:, None] + np.arange(n_fields)).ravel()]
        starts, lines = starts[closed], lines[closed]
    field_ends = bars.reshape(len(lines), n_fields)
    field_starts = np.empty_like(field_ends)
    field_starts[:, 0] = starts
    field_starts[:, 1:] = field_ends[:, :-1] + 1
    return Rows(data, field_starts, field_ends, lines), bad


def split_tabbed(block: Block, n_fields: int) -> tuple[Rows, list[BadRow]]:
    """Fields of every row of the block that has `n_fields`, with tabs between them."""
    data = np.frombuffer(block.data, dtype=np.uint8)
    ends = np.flatnonzero(data == _NEWLINE)
    tabs = np.flatnonzero(data == _TAB)
    lines = block.first_line + np.arange(len(ends))
    starts = np.concatenate(([0], ends[:-1] + 1))[: len(ends)]
    closing = np.where((ends > starts) & (data[ends - 1] == _RETURN), ends - 1, ends)
    first_tab = np.searchsorted(tabs, starts)
    counts = np.searchsorted(tabs, ends) - first_tab + 1
    whole = counts == n_fields
    unreadable = zip(lines[~whole].tolist(), counts[~whole].tolist(), strict=True)
    bad = [BadRow(line, f"{count} columns instead of {n_fields}") for line, count in unreadable]
    inner = tabs[first_tab[whole][:, None] + np.arange(n_fields - 1)]
    field_ends = np.empty((int(whole.sum()), n_fields), dtype=np.int64)
    field_ends[:, :-1] = inner
    field_ends[:, -1] = closing[whole]
    field_starts = np.empty_like(field_ends)
    field_starts[:, 0] = starts[whole]
    field_starts[:, 1:] = field_ends[:, :-1] + 1
    return Rows(data, field_starts, field_ends, lines[whole]), bad


def split_texts(
    block: Block, n_fields: int, field: int
) -> tuple[Rows, pa.LargeStringArray, list[BadRow]]:
    """As `split_rows`, with `field` as text; a row in which it is not UTF-8 is a bad one."""
    rows, bad = split_rows(block, n_fields)
    texts, readable = as_text(rows.column(field))
    if readable is not None:
        bad += [BadRow(line, NOT_UTF8) for line in rows.lines[~readable].tolist()]
        rows = rows.where(readable)
    return rows, texts, bad


def _bad_row(line: int, n_bars: int, n_fields: int) -> BadRow:
    if n_bars == n_fields:
        return BadRow(line, f"text after the last of {n_fields} columns")
    return BadRow(line, f"{n_bars} columns instead of {n_fields}")


def as_text(column: pa.LargeBinaryArray) -> tuple[pa.LargeStringArray, np.ndarray | None]:
    """The column as text, and where it is not UTF-8 a mask of the rows that are (else None)."""
    try:
        return column.cast(pa.large_string()), None
    except pa.ArrowInvalid:
        good = np.fromiter((_is_utf8(value) for value in column.to_pylist()), bool, len(column))
        return column.filter(pa.array(good)).cast(pa.large_string()), good


def _is_utf8(value: bytes) -> bool:
    try:
        value.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
