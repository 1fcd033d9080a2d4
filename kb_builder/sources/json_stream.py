"""JSON read value by value: what is wanted is taken, what is not is passed over.

Only one value is held at a time, with what of the file has been read ahead.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from kb_builder.errors import LongbelError

_DECODER = json.JSONDecoder()
_BLANKS = re.compile(r"[ \t\n\r]*")
_NUMBER = re.compile(r"[-+.\w]*")  # or a literal
MAX_VALUE = 64 << 20  # characters of one value


class JsonStream:
    """A position in a JSON text; the caller goes through it in order."""

    def __init__(self, blocks: Iterable[bytes], path: Path) -> None:
        self._blocks = iter(blocks)
        self._path = path
        self._decode = codecs.getincrementaldecoder("utf-8-sig")()
        self._text, self._at = "", 0
        self._line, self._counted = 1, 0  # the line of the character at `_counted`
        self._ended = False

    @staticmethod
    def looks_like(start: bytes, key: str) -> bool:
        """Whether a text that begins so is an object with an array under `key`."""
        word = re.escape(json.dumps(key).encode())
        is_object = start.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"{")
        return is_object and re.search(word + rb"\s*:\s*\[", start) is not None

    @property
    def line(self) -> int:
        """The line of the position."""
        self._line += self._text.count("\n", self._counted, self._at)
        self._counted = self._at
        return self._line

    def members(self) -> Iterator[str]:
        """The keys of the object that begins here; the caller takes or skips the value of each."""
        self._take("{")
        if self._peek() == "}":
            self._at += 1
            return
        while True:
            key = self.value()
            if not isinstance(key, str):
                raise self._broken("a key that is no text")
            self._take(":")
            yield key
            if self._take(",", "}") == "}":
                return

    def elements(self) -> Iterator[int]:
        """The lines of the elements of the array that begins here, each taken by the caller."""
        self._take("[")
        if self._peek() == "]":
            self._at += 1
            return
        while True:
            self._peek()
            yield self.line
            if self._take(",", "]") == "]":
                return

    def value(self) -> Any:
        """The value that begins here."""
        self._peek()
        while True:
            try:
                value, end = _DECODER.raw_decode(self._text, self._at)
            except json.JSONDecodeError as error:
                if not self._is_cut(error) or not self._grow():
                    raise self._broken(error.msg, error.pos) from error
                continue
            except RecursionError as error:
                raise self._broken("too deep") from error
            if isinstance(value, int | float) and self._may_continue() and self._grow():
                continue
            self._at = end
            return value

    def _may_continue(self) -> bool:
        """Whether a number reaches to the end of what is held."""
        return _NUMBER.match(self._text, self._at).end() == len(self._text)  # type: ignore[union-attr]  # matches

    def skip(self) -> None:
        """Pass over the value that begins here, of an array one element at a time."""
        if self._peek() == "[":
            for _ in self.elements():
                self.skip()
        else:
            self.value()

    def rest(self) -> None:
        """Nothing but blanks may follow."""
        if self._peek() != "":
            raise self._broken("more than one value")

    def _take(self, *wanted: str) -> str:
        character = self._peek()
        if character not in wanted or not character:
            raise self._broken(f"{' or '.join(wanted)} is missing")
        self._at += 1
        return character

    def _peek(self) -> str:
        """The next character that is no blank, nothing at the end."""
        while True:
            self._at = _BLANKS.match(self._text, self._at).end()  # type: ignore[union-attr]  # matches
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._grow():
                return ""

    def _grow(self) -> bool:
        """Read on; what lies behind the position is given up."""
        if self._ended:
            return False
        if len(self._text) - self._at > MAX_VALUE:
            raise self._broken(f"a value of more than {MAX_VALUE >> 20} million characters")
        line = self.line
        block = next(self._blocks, None)
        self._ended = block is None
        try:
            more = self._decode.decode(block or b"", final=self._ended)
        except UnicodeDecodeError as error:
            raise self._broken("not UTF-8") from error
        self._text, self._at = self._text[self._at :] + more, 0
        self._line, self._counted = line, 0
        return True

    def _is_cut(self, error: json.JSONDecodeError) -> bool:
        """Whether more of the file may mend it: a literal has at most 9 characters."""
        return error.msg.startswith("Unterminated string") or error.pos >= len(self._text) - 12

    def _broken(self, reason: str, at: int | None = None) -> LongbelError:
        line = self.line + self._text.count("\n", self._at, self._at if at is None else at)
        return LongbelError(
            f"{self._path}:{line}: not readable JSON ({reason})",
            hint="The file is damaged or cut short: download it again.",
        )
