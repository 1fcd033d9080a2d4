"""Text as normalised tokens that know where they stand, and names as keys of such tokens.

A token is a run of letters, a run of digits, or another character by itself; hyphens and white
space only part tokens. Each token is normalised by itself, so that offsets stay those of the text.
One line end is white space; a blank line, a page end and a paragraph separator end a segment, and
no match reaches from one segment into the next.
"""

from __future__ import annotations

import re
import sys
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import accumulate

END = " "  # of each token in a key: tokens hold no white space
_MOST_FORMS = 1 << 17  # forms that are remembered: about 20 MB

_HYPHENS = "\\-\u2010-\u2015\u2212\ufe58\ufe63\uff0d"
# Zero-width characters join their token as combining marks do.
_ZERO_WIDTH = "\u00ad\u200b-\u200d\u2060\ufeff"
_LINE_END = "(?:\r\n|\r(?!\n)|[\n\x85\u2028])"
_SEGMENT_END = re.compile(f"{_LINE_END}[^\\S\n\r\x85\u2028]*{_LINE_END}|[\x0b\x0c\u2029]")
_STRAIGHT = str.maketrans("\u2018\u2019\u02bc\u201c\u201d\u2032", "'''\"\"'")
_POSSESSIVE = "(?:['\u2019\u02bc][sS](?![^\\W_]))?"
# The apostrophe of `parents' disease` is no token.
_NO_PLURAL_POSSESSIVE = "(?!(?<=[sS])['\u2019\u02bc]\\s)"
_POSSESSIVE_END = re.compile("['\u2019\u02bc][sS]$")


@dataclass(frozen=True)
class Folding:
    """What tokens are compared without, next to case. All of it, but to measure what each gains."""

    plural: bool = True
    accents: bool = True
    hyphens: bool = True
    digits: bool = True


ALL = Folding()


@dataclass(frozen=True)
class Segment:
    """The tokens of a stretch of text without a blank line: token `i` is `[starts[i], ends[i])`,
    and begins at `keys[i]` in `joined`, which is all forms, each with a blank behind it. `glued[i]`
    says that it follows the token before it inside a word, as the digits of `B12`."""

    starts: Sequence[int]
    ends: Sequence[int]
    forms: Sequence[str]
    glued: Sequence[bool]
    keys: Sequence[int]
    joined: str


class Tokenizer:
    """Cuts text into normalised tokens; remembers the form of each word that it has seen."""

    def __init__(self, folding: Folding = ALL) -> None:
        self._folding = folding
        self._token = _token_pattern(folding)
        self._forms: dict[str, str] = {}

    def key(self, name: str) -> str:
        """The forms of a name's tokens, each with a blank behind it; empty where it has none."""
        forms = [self.form(token) for token in self._token.findall(name)]
        return END.join(forms) + END if forms else ""

    def form(self, token: str) -> str:
        """A token as it is compared."""
        form = self._forms.get(token)
        if form is None:
            if len(self._forms) >= _MOST_FORMS:
                self._forms.clear()
            form = self._forms[token] = self._form(token)
        return form

    def _form(self, token: str) -> str:
        form = token.translate(_STRAIGHT)
        if self._folding.plural:
            form = _POSSESSIVE_END.sub("", form) or form
        if self._folding.accents:
            form = "".join(filter(_is_kept, unicodedata.normalize("NFKD", form)))
        else:
            form = "".join(unicodedata.normalize("NFC", form).split())
        form = form.casefold()
        if self._folding.plural:
            form = singular(form)
        return form or token

    def segments(self, text: str, borders: Sequence[int] = ()) -> Iterator[Segment]:
        """The segments of a text, which end at blank lines and at `borders` too."""
        ends = {match.end() for match in _SEGMENT_END.finditer(text)} | set(borders) | {len(text)}
        start = 0
        for end in sorted(ends):
            segment = self._segment(text, start, end)
            if segment.forms:
                yield segment
            start = end

    def _segment(self, text: str, start: int, end: int) -> Segment:
        known, make = self._forms, self.form
        spans = [match.span() for match in self._token.finditer(text, start, end)]
        tokens = [text[first:behind] for first, behind in spans]
        forms = [known.get(token) or make(token) for token in tokens]
        starts = [first for first, _ in spans]
        ends = [behind for _, behind in spans]
        glued = [
            first == last and tokens[i][0].isalnum() and tokens[i - 1][0].isalnum()
            for i, (first, last) in enumerate(zip(starts, (-1, *ends), strict=False))
        ]
        keys = list(accumulate((len(form) + 1 for form in forms[:-1]), initial=0))
        return Segment(starts, ends, forms, glued, keys, END.join(forms) + END)


def _is_kept(char: str) -> bool:
    """Not so combining marks, controls of format and white space."""
    return unicodedata.category(char)[0] != "M" and char not in _INVISIBLE and not char.isspace()


_INVISIBLE = frozenset("\u00ad\u200b\u200c\u200d\u2060\ufeff")


def singular(form: str) -> str:
    """A stem that the singular and the regular plural of a word share, in en, fr and es.

    `tumour(s)`, `disease(s)`, `biopsy`/`biopsies`, `enfermedad(es)`; it need be no word.
    """
    if len(form) < 4 or not form.isalpha():
        return form
    if form.endswith("s") and not form.endswith(("ss", "us", "is")):
        form = form[:-1]
    if len(form) > 4 and form.endswith("e"):
        form = form[:-1]
    if len(form) > 3 and form.endswith("y"):
        form = form[:-1] + "i"
    return form


@cache
def _token_pattern(folding: Folding) -> re.Pattern[str]:
    marks = f"[{_mark_ranges()}{_ZERO_WIDTH}]*"
    letters, digits = f"(?:[^\\W\\d_]{marks})+", f"(?:\\d{marks})+"
    if not folding.digits:
        letters = digits = f"(?:[^\\W_]{marks})+"
    possessive = _POSSESSIVE if folding.plural else ""
    other = f"[^\\s{_HYPHENS}]{marks}" if folding.hyphens else f"\\S{marks}"
    if folding.plural:
        other = _NO_PLURAL_POSSESSIVE + other
    return re.compile(f"{letters}{possessive}|{digits}|{other}")


@cache
def _mark_ranges() -> str:
    """The combining marks of Unicode as ranges of a character class."""
    ranges: list[list[int]] = []
    for point in (*range(0x300, 0x20000), *range(0xE0100, min(0xE01F0, sys.maxunicode))):
        if unicodedata.category(chr(point))[0] == "M":
            if ranges and ranges[-1][1] == point - 1:
                ranges[-1][1] = point
            else:
                ranges.append([point, point])
    return "".join(f"{chr(low)}-{chr(high)}" for low, high in ranges)
