"""Whether a mention states the text at its offsets and, where it does not, what its offsets seem to
count or where its text stands. Knows no format.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from functools import cached_property

from longbel_cli.types import Mention, Span

# How far from its offsets a mention's text is looked for, to say how far off they are.
_NEARBY = 100
# White space that a mention may hold beyond what it states. Without a bound each of a million
# mentions could ask for a comparison with the whole text.
_WHITE_SPACE = 10_000
_UNITS = (("UTF-16 code units", "utf-16-le", 2), ("UTF-8 bytes", "utf-8", 1))
_LONGEST_CHARACTER = 4  # in a unit


def slices(spans: Sequence[Span], text: str) -> str:
    """The fragments' texts, joined by one blank."""
    if len(spans) == 1:
        return text[spans[0].start : spans[0].end]
    return " ".join(text[start:end] for start, end in spans)


def fitting(mention: Mention, text: str) -> str | None:
    """The text at a mention's offsets, None where it is not what the mention states, white space
    folded."""
    if not _may_fit(mention):
        return None
    there = slices(mention.spans, text)
    return there if there == mention.text or there.split() == mention.text.split() else None


def fits(mention: Mention, text: str) -> bool:
    """Whether a mention states the text at its offsets, white space folded."""
    return fitting(mention, text) is not None


def _may_fit(mention: Mention, longest: int = 1) -> bool:
    length = sum(end - start for start, end in mention.spans)
    return length <= longest * len(mention.text) + _WHITE_SPACE


class Mismatches:
    """Explains mentions of one text that do not fit; the text is encoded once for all of them."""

    def __init__(self, text: str) -> None:
        self._text = text

    def hint(self, mention: Mention) -> str:
        """What explains a mismatch, as the rest of a sentence; empty where nothing does."""
        return self._unit(mention) or self._nearby(mention)

    def _unit(self, mention: Mention) -> str:
        if not _may_fit(mention, _LONGEST_CHARACTER):
            return ""
        stated = mention.text.split()
        for (name, encoding, width), data in zip(_UNITS, self._encoded, strict=True):
            parts = [data[start * width : end * width] for start, end in mention.spans]
            if b" ".join(parts) and _words(parts, encoding) == stated:
                return f"; they fit if they count {name}, not characters"
        one_ended = self._one_ended
        if one_ended is not None and slices(mention.spans, one_ended).split() == stated:
            return "; they fit if a CRLF line end counts as one character"
        there = slices(mention.spans, self._text)
        if unicodedata.normalize("NFC", there) == unicodedata.normalize("NFC", mention.text):
            return "; they differ in Unicode normalization (NFC, NFD) alone"
        return ""

    @cached_property
    def _encoded(self) -> list[bytes]:
        return [self._text.encode(encoding) for _, encoding, _ in _UNITS]

    @cached_property
    def _one_ended(self) -> str | None:
        return self._text.replace("\r\n", "\n") if "\r\n" in self._text else None

    def _nearby(self, mention: Mention) -> str:
        """Where the stated text of one fragment stands within a hundred characters."""
        stated, start = mention.text, mention.spans[0].start
        if len(mention.spans) > 1 or not stated:
            return ""
        first = max(start - _NEARBY, 0)
        after = self._text.find(stated, start, start + _NEARBY + len(stated))
        before = self._text.rfind(stated, first, start + len(stated))
        starts = [nearest for nearest in (before, after) if nearest >= 0]
        if not starts:
            return ""
        nearest = min(starts, key=lambda offset: abs(offset - start))
        return f"; that text stands at {nearest}-{nearest + len(stated)}"


def _words(parts: list[bytes], encoding: str) -> list[str]:
    try:
        return " ".join(part.decode(encoding) for part in parts).split()
    except UnicodeDecodeError:
        return []
