"""Files as bytes: gzip, standard input, lines and JSON values with their byte offsets, encoding.

Lines end at `\n` and nowhere else: text readers also split at U+0085 or U+2028, and universal
newlines would shift every offset after a CRLF. Knows nothing of documents.
"""

from __future__ import annotations

import codecs
import gzip
import io
import json
import re
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, cast

from longbel_cli.corpora.records import STDIN, UnreadableError

BOM = codecs.BOM_UTF8
# One document may be large; this bounds what a gzip bomb without a line end can take.
LONGEST_LINE = 256 * 1024 * 1024
_CHUNK = 1 << 16


@contextmanager
def opened(path: str) -> Iterator[io.BufferedReader]:
    """The unpacked bytes of a file; gzip is recognised by its first bytes, not by its name.

    Failures to open or unpack leave as UnreadableError.
    """
    try:
        if path == STDIN:
            yield cast(io.BufferedReader, _unpacked(sys.stdin.buffer))
            return
        with Path(path).open("rb") as handle:
            yield cast(io.BufferedReader, _unpacked(handle))
    except (OSError, EOFError, zlib.error) as error:
        raise UnreadableError(_why(error)) from error


def _unpacked(handle: Any) -> Any:
    if not hasattr(handle, "peek"):
        handle = io.BufferedReader(handle)
    if handle.peek(2)[:2] == b"\x1f\x8b":
        return gzip.GzipFile(fileobj=handle)
    return handle


def _why(error: Exception) -> str:
    if isinstance(error, gzip.BadGzipFile | EOFError | zlib.error):
        return "the gzip data is damaged or cut short"
    return f"the file cannot be read ({getattr(error, 'strerror', None) or type(error).__name__})"


def decoded(data: bytes, what: str = "the file", offset: int = 0) -> str:
    """UTF-8 text; UnreadableError names the first byte that is none, `offset` added to its place.

    A byte order mark stays in: whoever knows the format decides about it.
    """
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        if data[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
            guess = "UTF-16"
        else:
            guess = "Latin-1 or Windows-1252"
        raise UnreadableError(
            f"{what} is not UTF-8: byte 0x{data[error.start]:02x} at byte offset "
            f"{offset + error.start} (perhaps {guess}; convert it, for instance with iconv)"
        ) from None


class Line(NamedTuple):
    """A line without its `\n`, where it starts, and its number from 1."""

    offset: int
    number: int
    data: bytes


def lines(path: str, offset: int = 0, number: int = 1) -> Iterator[Line]:
    """The lines of a file from a byte offset, which must be the start of line `number`.

    A byte order mark at the start of the file is left out of the first line.
    """
    with opened(path) as handle:
        if offset:
            handle.seek(offset)
        while data := handle.readline(LONGEST_LINE):
            if len(data) == LONGEST_LINE and not data.endswith(b"\n"):
                raise UnreadableError(
                    f"line {number} is longer than {LONGEST_LINE} bytes; "
                    "the rest of the file is left out",
                    number,
                )
            line = data.removesuffix(b"\n")
            yield Line(offset, number, line.removeprefix(BOM) if offset == 0 else line)
            offset += len(data)
            number += 1


def json_value(text: str, line: int | None) -> Any:
    """The JSON value of a text; UnreadableError says what is wrong without quoting it."""
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        at = f"line {error.lineno} column" if line is None else "column"
        reason = f"broken JSON: {error.msg} ({at} {error.colno})"
        raise UnreadableError(reason, line) from None
    except RecursionError:
        raise UnreadableError("broken JSON: nested too deeply", line) from None
    except ValueError:
        raise UnreadableError("broken JSON: a number is too long", line) from None


class JsonValue(NamedTuple):
    """A value of a JSON file, its byte offset, and the line it starts on."""

    offset: int
    line: int
    value: Any


def json_documents(
    path: str, arrays: tuple[str, ...], offset: int = 0, line: int = 1
) -> Iterator[JsonValue]:
    """The documents of a JSON file, one at a time.

    The file may be one object, an array of objects, objects one after another, or an object one
    of whose keys (one of `arrays`) holds the array. `offset` and `line` are those of an earlier
    value to read on from. Memory is bounded by the largest document.
    """
    with opened(path) as handle:
        yield from _JsonStream(handle, offset, line or 1).documents(arrays, inside=offset > 0)


_SPACE = re.compile(r"[ \t\n\r]*")
_BETWEEN = re.compile(r"[ \t\n\r,]*")


class _JsonStream:
    """A window of text over a file, and where it stands."""

    def __init__(self, handle: io.BufferedReader, offset: int, line: int) -> None:
        self._handle = handle
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._bytes_read = offset
        self._offset = offset
        self._line = line
        self._text = ""
        self._at = 0
        self._ended = False
        self._json = json.JSONDecoder()
        if offset:
            handle.seek(offset)
        else:
            self._fill(_CHUNK)
            if self._text.startswith("\ufeff"):
                self._at = 1

    def documents(self, arrays: tuple[str, ...], inside: bool) -> Iterator[JsonValue]:
        while self._peek(_BETWEEN if inside else _SPACE):
            if self._next_char() in "]}" and inside:
                return
            if inside:
                yield self._value()
            elif self._next_char() == "[":
                self._at += 1
                inside = True
            else:
                yield from self._object(arrays)

    def _object(self, arrays: tuple[str, ...]) -> Iterator[JsonValue]:
        """A top-level value: itself, or the array that one of its keys holds."""
        if self._next_char() != "{":
            yield self._value()
            return
        # The keys before the array are small: look for it at the head before taking the whole.
        self._fill_to(_CHUNK)
        key = re.compile(rf'"(?:{"|".join(arrays)})"\s*:\s*\[')
        for found in key.finditer(self._text, self._at, self._at + _CHUNK):
            if self._is_top_level(self._at, found.start()):
                self._at = found.end()
                yield from self.documents(arrays, inside=True)
                self._skip_rest()
                return
        yield self._value()

    def _skip_rest(self) -> None:
        """Keys after the array hold no documents."""
        self._at = len(self._text)
        while self._fill(_CHUNK):
            self._text, self._at = "", 0

    def _is_top_level(self, start: int, end: int) -> bool:
        """Whether the head `{...,` before a key closes as an object of its own."""
        head = self._text[start:end].rstrip(" \t\n\r").removesuffix(",")
        try:
            self._json.decode(head + "}")
        except (ValueError, RecursionError):
            return False
        return True

    def _next_char(self) -> str:
        return self._text[self._at]

    def _peek(self, skipped: re.Pattern[str]) -> bool:
        """Move past what is skipped; False at the end of the file."""
        while True:
            match = skipped.match(self._text, self._at)
            assert match is not None
            self._at = match.end()
            if self._at < len(self._text):
                return True
            if not self._fill(_CHUNK):
                return False

    def _value(self) -> JsonValue:
        self._forget()
        while True:
            try:
                value, end = self._json.raw_decode(self._text, self._at)
            except json.JSONDecodeError as error:
                if not self._cut_short(error) or not self._grow():
                    raise UnreadableError(
                        f"broken JSON: {error.msg} (line {self._line + error.lineno - 1}); "
                        "the rest of the file is left out",
                        self._line,
                    ) from None
                continue
            except RecursionError:
                raise UnreadableError("broken JSON: nested too deeply", self._line) from None
            except ValueError:
                raise UnreadableError("broken JSON: a number is too long", self._line) from None
            # A number at the very end may go on in the next chunk.
            if end == len(self._text) and not isinstance(value, dict | list) and self._grow():
                continue
            found = JsonValue(self._offset, self._line, value)
            self._at = end
            return found

    def _cut_short(self, error: json.JSONDecodeError) -> bool:
        """Whether more text might mend the error: it lies at the end, or a string is open."""
        return error.msg.startswith("Unterminated string") or error.pos >= len(self._text) - 16

    def _forget(self) -> None:
        """Drop the text before the current place, keeping count of bytes and lines."""
        gone = self._text[: self._at]
        self._offset += len(gone.encode("utf-8"))
        self._line += gone.count("\n")
        self._text = self._text[self._at :]
        self._at = 0

    def _grow(self) -> bool:
        # Doubling keeps the total work linear in the size of the document.
        if len(self._text) > LONGEST_LINE:
            return False
        return self._fill(max(_CHUNK, len(self._text)))

    def _fill_to(self, size: int) -> None:
        while len(self._text) - self._at < size and self._fill(_CHUNK):
            pass

    def _fill(self, size: int) -> bool:
        if self._ended:
            return False
        # read1 gives what was unpacked before the place where a gzip file is damaged.
        data = self._handle.read1(size)
        try:
            self._text += self._decoder.decode(data, final=not data)
        except UnicodeDecodeError as error:
            # The decoder may hold back up to three bytes of the chunk before.
            place = self._bytes_read - (len(error.object) - len(data)) + error.start
            raise UnreadableError(
                f"the file is not UTF-8: byte 0x{error.object[error.start]:02x} at byte offset "
                f"{place} (perhaps Latin-1 or UTF-16); the rest of the file is left out"
            ) from None
        self._bytes_read += len(data)
        self._ended = not data
        return not self._ended


def head(path: str, size: int = _CHUNK) -> bytes:
    """The first unpacked bytes of a file, empty where it cannot be read."""
    try:
        with opened(path) as handle:
            return handle.read1(size)
    except UnreadableError:
        return b""
