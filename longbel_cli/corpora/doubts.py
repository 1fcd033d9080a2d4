"""What is doubtful about a document that could be read: offsets that seem shifted, mentions that
seem to be several, gold that was not taken. Remarks only: nothing is left out. Knows no format.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from longbel_cli.corpora.records import Remark
from longbel_cli.types import Document, Mention, Span

# Fragments of one text that lie this far apart are hardly one mention.
_FAR = 100
_LISTED_LINES = 5


def gathered(unread: Iterable[Remark]) -> Iterator[tuple[Remark, int]]:
    """Gold that was not taken: one remark a reason, with its lines, and how many it stands for."""
    by_reason: dict[str, list[Remark]] = {}
    for remark in unread:
        by_reason.setdefault(remark.reason, []).append(remark)
    for reason, alike in by_reason.items():
        times = f" ({len(alike)} times{_lines(alike)})" if len(alike) > 1 else ""
        first = alike[0]
        mention_id = first.mention_id if len(alike) == 1 else None
        yield Remark(f"not read as gold: {reason}{times}", mention_id, first.line), len(alike)


def _lines(alike: Sequence[Remark]) -> str:
    lines = [remark.line for remark in alike if remark.line is not None]
    if len(set(lines)) < 2:
        return ""
    more = ", …" if len(lines) > _LISTED_LINES else ""
    return f", lines {', '.join(map(str, lines[:_LISTED_LINES]))}{more}"


def doubts(document: Document) -> Iterator[Remark]:
    """Remarks on a document's mentions."""
    yield from _inside_words(document)
    for mention in document.mentions:
        apart = _apart(mention, document.text)
        if apart:
            reason = f"its fragments have one text and lie {apart} characters apart: perhaps "
            yield Remark(reason + "several mentions are one entity", mention.id, mention.line)


def _inside_words(document: Document) -> Iterator[Remark]:
    """Where most spans begin or end inside words, and some do both: offsets count something else
    than the characters of the text."""
    text = document.text
    ends = [
        (_inside(text, span.start), _inside(text, span.end))
        for mention in document.mentions
        for span in mention.spans
    ]
    cut = sum(map(any, ends))
    if any(map(all, ends)) and 2 * cut > len(ends):
        yield Remark(
            f"{cut} of its {len(ends)} spans begin or end inside words: the offsets seem to be "
            "shifted, as where a line end was counted as two characters or one"
        )


def _inside(text: str, offset: int) -> bool:
    """Whether an offset lies inside a word, of scripts that have capitals: others may write words
    without blanks."""
    return 0 < offset < len(text) and _is_letter(text[offset - 1]) and _is_letter(text[offset])


def _is_letter(character: str) -> bool:
    return character.islower() or character.isupper()


def _apart(mention: Mention, text: str) -> int:
    """How far apart two fragments of one text lie, 0 where they are near or differ."""
    if len(mention.spans) < 2:
        return 0
    first: dict[str, Span] = {}
    widest = 0
    for span in sorted(mention.spans):
        words = text[span.start : span.end].casefold()
        widest = max(widest, span.start - first.setdefault(words, span).end)
    return widest if widest > _FAR else 0
