"""Abbreviations that a document defines itself: `myocardial infarction (MI)`.

By the algorithm of Schwartz and Hearst (Pacific Symposium on Biocomputing, 2003): a short form
stands in brackets behind its long form, or the other way round, and each of its letters is found in
the long form, from the last one to the first, which begins a word. Letters are compared without
case and accents. Knows no format, no group and no knowledge base.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping

# Long forms in brackets are sentences' parts; a bracket that is longer holds something else.
_BRACKETS = re.compile(r"\(([^()]{2,200})\)|\[([^\[\]]{2,200})\]")
_WORD = re.compile(r"\S+")
# What follows a short form inside its brackets: `(MI; 12 %)`, `(MI, n = 3)`.
_REST = re.compile(r"\s*[,;:=/].*", re.DOTALL)
# A long form does not reach over the end of a sentence or paragraph, or another bracket.
_BREAK = re.compile(r"[.;:!?]\s|\n\s*\n|[()\[\]]")
_SHORTEST, _LONGEST, _MOST_WORDS = 2, 10, 2


def abbreviations(text: str) -> dict[str, str]:
    """Short form -> long form of each abbreviation that `text` defines, by its first definition.

    White space inside a long form is one blank each.
    """
    long_forms: dict[str, str] = {}
    for short, long in _definitions(text):
        long_forms.setdefault(short, " ".join(long.split()))
    return long_forms


def expanded(mention: str, known: Mapping[str, str]) -> str | None:
    """The long form of a mention that is one of the `known` short forms, or its plural."""
    short = mention.strip()
    if short in known:
        return known[short]
    if short.endswith("s") and short[:-1] in known:
        return known[short[:-1]]
    return None


def _definitions(text: str) -> Iterator[tuple[str, str]]:
    for bracket in _BRACKETS.finditer(text):
        inside = (bracket[1] or bracket[2]).strip()
        before = _clause(text[max(0, bracket.start() - 400) : bracket.start()])
        short = _REST.sub("", inside)
        if is_short_form(short):
            long = long_form(short, _last_words(before, short))
            if long is not None:
                yield short, long
                continue
        words = _WORD.findall(before)
        if words and is_short_form(words[-1]) and len(inside) > len(words[-1]):
            long = long_form(words[-1], inside)
            if long is not None and _WORD.match(inside) and inside.startswith(long):
                yield words[-1], long


def _clause(text: str) -> str:
    """What follows the last end of a sentence, paragraph or bracket."""
    breaks = list(_BREAK.finditer(text))
    return text[breaks[-1].end() :] if breaks else text


def _last_words(text: str, short: str) -> str:
    """The words that a long form of `short` may have: twice its letters, or five more."""
    words = list(_WORD.finditer(text))
    most = min(len(short) + 5, 2 * len(short))
    return text[words[-most].start() :].rstrip() if len(words) > most else text.strip()


def is_short_form(text: str) -> bool:
    """Whether a text may be a short form: up to ten characters and two words, with a capital."""
    return (
        _SHORTEST <= len(text) <= _LONGEST
        and len(text.split()) <= _MOST_WORDS
        and text[0].isalnum()
        and any(char.isupper() for char in text)
    )


def long_form(short: str, text: str) -> str | None:
    """The end of `text` that `short` abbreviates, from the word that its first letter begins."""
    letters = [_folded(char) for char in short if char.isalnum()]
    position = len(text)
    for index in range(len(letters) - 1, -1, -1):
        position -= 1
        while position >= 0 and not _matches(text, position, letters[index], index == 0):
            position -= 1
        if position < 0:
            return None
    long = text[position:]
    if len(long) <= len(short) or short in _WORD.findall(long):
        return None
    return long


def _matches(text: str, position: int, letter: str, begins_word: bool) -> bool:
    if _folded(text[position]) != letter:
        return False
    return not (begins_word and position > 0 and text[position - 1].isalnum())


def _folded(char: str) -> str:
    """A character without case and accents."""
    return unicodedata.normalize("NFD", char)[0].casefold()
