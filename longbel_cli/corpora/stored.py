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
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple, cast

from longbel_cli.corpora.records import STDIN, UnreadableError
from longbel_cli.progress import ignore

BOM = codecs.BOM_UTF8
# One document may be large; this bounds what a gzip bomb can take, whatever the format.
LARGEST_DOCUMENT = 256 * 1024 * 1024
_CHUNK = 1 << 16
_PART = 1 << 20


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


def whole(handle: IO[bytes], what: str) -> bytes:
    """All bytes of a file that is read at once; UnreadableError where they are too many."""
    parts: list[bytes] = []
    size = 0
    while data := handle.read(_PART):
        parts.append(data)
        size += len(data)
        if size > LARGEST_DOCUMENT:
            raise too_large(what)
    return b"".join(parts)


def too_large(what: str, line: int | None = None) -> UnreadableError:
    """What is said of more bytes than one document may have."""
    return UnreadableError(f"{what} has more than {LARGEST_DOCUMENT >> 20} MiB; divide it", line)


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
    line_number: int
    data: bytes


def lines(
    path: str,
    offset: int = 0,
    line_number: int = 1,
    on_bytes: Callable[[bytes], object] = ignore,
) -> Iterator[Line]:
    """The lines of a file from a byte offset, which must be the start of that line.

    A byte order mark at the start of the file is left out of the first line. `on_bytes` is given
    every byte as it was read.
    """
    with opened(path) as handle:
        if offset:
            handle.seek(offset)
        while data := handle.readline(LARGEST_DOCUMENT):
            if len(data) == LARGEST_DOCUMENT and not data.endswith(b"\n"):
                raise UnreadableError(
                    f"line {line_number} is longer than {LARGEST_DOCUMENT} bytes; "
                    "the rest of the file is left out",
                    line_number,
                )
            on_bytes(data)
            line = data.removesuffix(b"\n")
            yield Line(offset, line_number, line.removeprefix(BOM) if offset == 0 else line)
            offset += len(data)
            line_number += 1


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

    The file may be one object, an array of objects, objects one after another, or an object (or
    an array of such) one of whose keys (one of `arrays`) holds the array. `offset` and `line` are
    those of an earlier value to read on from. Memory is bounded by the largest document.
    """
    with opened(path) as handle:
        yield from _JsonStream(handle, offset, line or 1).documents(arrays, resumed=offset > 0)


_SPACE = re.compile(r"[ \t\n\r]*")


class _JsonStream:
    """A window of text over a file, and where it stands.

    `_at` is the next character; `_mark` the one whose byte offset and line are known. Every
    character is decoded, counted and copied a bounded number of times.
    """

    def __init__(self, handle: io.BufferedReader, offset: int, line: int) -> None:
        self._handle = handle
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._json = json.JSONDecoder()
        self._bytes_read = offset
        self._offset = offset
        self._line = line
        self._text = ""
        self._at = self._mark = 0
        self._ended = False
        self._failure: Exception | None = None
        # A file that begins as an array is read on as one; otherwise what follows must tell.
        self._is_array = handle.peek(_CHUNK).removeprefix(BOM).lstrip()[:1] == b"["
        if offset:
            handle.seek(offset)
        elif self._fill(_CHUNK) and self._text.startswith("\ufeff"):
            self._at = 1

    def documents(self, arrays: tuple[str, ...], resumed: bool) -> Iterator[JsonValue]:
        """All documents from here on; `resumed` if this is the start of one, inside or outside
        an array."""
        if resumed and self._peek():
            yield self._value()
            if self._is_array or (self._peek() and self._next() in ",]"):
                yield from self._array(arrays, first=False)
                if self._peek() and self._next() in ",}":
                    yield from self._object(arrays, resumed=True)
                    if self._is_array and self._peek():  # a collection among others
                        yield from self._array(arrays, first=False)
        while self._peek():
            if self._next() == "[":
                self._at += 1
                yield from self._array(arrays)
            elif self._next() == "{":
                yield from self._object(arrays)
            else:
                yield self._value()

    def _array(self, arrays: tuple[str, ...], first: bool = True) -> Iterator[JsonValue]:
        """Documents, or collections of them, up to the end of an array."""
        while self._more("]", first):
            first = False
            if self._peek() and self._next() == "{":
                yield from self._object(arrays)
            else:
                yield self._value()

    def _object(self, arrays: tuple[str, ...], resumed: bool = False) -> Iterator[JsonValue]:
        """An object: the document itself, unless one of its keys holds the array of documents."""
        location = self._place()
        members: dict[str, Any] = {}
        streamed = resumed
        first = not resumed
        if not resumed:
            self._at += 1
        while self._more("}", first):
            first = False
            key = self._decode()
            if not isinstance(key, str) or not self._peek() or self._next() != ":":
                raise self._broken("Expecting a key and ':'")
            self._at += 1
            if key in arrays and self._peek() and self._next() == "[":
                self._at += 1
                streamed = True
                yield from self._array(())
            else:
                members[key] = self._decode()
        if not streamed:
            yield JsonValue(*location, members)

    def _value(self) -> JsonValue:
        location = self._place()
        return JsonValue(*location, self._decode())

    def _more(self, closing: str, first: bool) -> bool:
        """Whether another element follows, its comma being passed; else what closes is passed."""
        if not self._peek():
            raise self._broken(f"Expecting ',' or '{closing}', not the end of the file")
        if self._next() == closing:
            self._at += 1
            return False
        if not first:
            if self._next() != ",":
                raise self._broken("Expecting ',' delimiter")
            self._at += 1
        return True

    def _next(self) -> str:
        return self._text[self._at]

    def _peek(self) -> bool:
        """Move past white space; False at the end of the file."""
        while True:
            match = _SPACE.match(self._text, self._at)
            assert match is not None
            self._at = match.end()
            if self._at < len(self._text):
                return True
            if not self._fill(_CHUNK):
                return False

    def _decode(self) -> Any:
        """The value that begins here (after white space)."""
        self._peek()
        while True:
            try:
                value, end = self._json.raw_decode(self._text, self._at)
            except json.JSONDecodeError as error:
                if self._cut_short(error) and self._grow():
                    continue
                raise self._broken(error.msg, error.pos) from None
            except RecursionError:
                raise self._broken("nested too deeply") from None
            except ValueError:
                raise self._broken("a number is too long") from None
            # A number at the very end may go on in the next chunk.
            if end == len(self._text) and not isinstance(value, dict | list) and self._grow():
                continue
            self._at = end
            return value

    def _cut_short(self, error: json.JSONDecodeError) -> bool:
        """Whether more text might mend the error: it lies at the end, or a string is open."""
        return error.msg.startswith("Unterminated string") or error.pos >= len(self._text) - 16

    def _broken(self, reason: str, at: int | None = None) -> UnreadableError:
        line = self._line + self._text.count("\n", self._mark, self._at if at is None else at)
        return UnreadableError(f"broken JSON: {reason}; the rest of the file is left out", line)

    def _place(self) -> tuple[int, int]:
        """Byte offset and line of the next value."""
        self._peek()
        passed = self._text[self._mark : self._at]
        self._offset += len(passed.encode("utf-8"))
        self._line += passed.count("\n")
        self._mark = self._at
        return self._offset, self._line

    def _grow(self) -> bool:
        # Doubling keeps the total work linear in the size of the document.
        if len(self._text) - self._mark > LARGEST_DOCUMENT:
            return False
        return self._fill(max(_CHUNK, len(self._text) - self._mark))

    def _fill(self, size: int) -> bool:
        """Take `size` bytes more, the text before the mark being dropped; False at the end."""
        if self._ended:
            return False
        data = self._read(size)
        try:
            text = self._decoder.decode(data, final=not data)
        except UnicodeDecodeError as error:
            # The decoder may hold back up to three bytes of the chunk before.
            offset = self._bytes_read - (len(error.object) - len(data)) + error.start
            raise UnreadableError(
                f"the file is not UTF-8: byte 0x{error.object[error.start]:02x} at byte offset "
                f"{offset} (perhaps Latin-1 or UTF-16); the rest of the file is left out"
            ) from None
        self._text = self._text[self._mark :] + text
        self._at -= self._mark
        self._mark = 0
        self._bytes_read += len(data)
        self._ended = not data
        return not self._ended

    def _read(self, size: int) -> bytes:
        """Up to `size` bytes; what was unpacked before a damaged place comes before the error."""
        if self._failure is not None:
            raise self._failure
        parts: list[bytes] = []
        while size > 0:
            try:
                # read1, since read would throw away what it has when it meets the damage.
                part = self._handle.read1(size)
            except (OSError, EOFError, zlib.error) as error:
                self._failure = error
                break
            if not part:
                break
            parts.append(part)
            size -= len(part)
        if not parts and self._failure is not None:
            raise self._failure
        return b"".join(parts)


def head(path: str, size: int = _CHUNK) -> bytes:
    """The first unpacked bytes of a file; of a damaged one what comes before the damage."""
    data = b""
    try:
        with opened(path) as handle:
            # read1 gives what is buffered and may be far less; read would lose all at the damage.
            while len(data) < size and (part := handle.read1(size - len(data))):
                data += part
    except UnreadableError:
        pass  # told by whoever reads the file
    return data
