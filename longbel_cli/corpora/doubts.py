"""What is doubtful about a document that could be read: offsets that seem shifted, mentions that
seem to be several, gold that was not taken. Remarks only: nothing is left out. Knows no format.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from longbel_cli.corpora.records import Remark
from longbel_cli.types import Document, Mention, Span

# Fragments of one text that lie this far apart are hardly one mention.
_FAR = 100
_LISTED = 5


def gathered(remarks: Iterable[Remark]) -> Iterator[tuple[Remark, int]]:
    """One remark a reason, with its first lines or mentions, and how many it stands for."""
    by_reason: dict[str, list[Remark]] = {}
    for remark in remarks:
        by_reason.setdefault(remark.reason, []).append(remark)
    for reason, alike in by_reason.items():
        times = f" ({len(alike)} times{_where(alike)})" if len(alike) > 1 else ""
        first = alike[0]
        mention_id = first.mention_id if len(alike) == 1 else None
        yield Remark(f"{reason}{times}", mention_id, first.line), len(alike)


def _where(alike: Sequence[Remark]) -> str:
    lines = [str(remark.line) for remark in alike if remark.line is not None]
    mentions = [remark.mention_id for remark in alike if remark.mention_id is not None]
    for what, names in (("lines", lines), ("mentions", mentions)):
        if len(set(names)) > 1:
            more = ", …" if len(names) > _LISTED else ""
            return f", {what} {', '.join(names[:_LISTED])}{more}"
    return ""


def doubts(document: Document) -> Iterator[Remark]:
    """Remarks on a document's mentions."""
    yield from _inside_words(document)
    for mention in document.mentions:
        apart = _apart(mention, document.text) if len(mention.spans) > 1 else 0
        if apart:
            reason = f"its fragments have one text and lie {apart} characters apart: perhaps "
            yield Remark(reason + "several mentions are one entity", mention.id, mention.line)


def _inside_words(document: Document) -> Iterator[Remark]:
    """Where most spans begin or end inside words, and some do both: offsets count something else
    than the characters of the text."""
    text = document.text
    spans = cut = cut_twice = 0
    for mention in document.mentions:
        for start, end in mention.spans:
            ends = _inside(text, start) + _inside(text, end)
            spans += 1
            cut += ends > 0
            cut_twice += ends == 2
    if cut_twice and 2 * cut > spans:
        yield Remark(
            f"{cut} of its {spans} spans begin or end inside words: the offsets seem to be "
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
    first: dict[str, Span] = {}
    widest = 0
    for span in sorted(mention.spans):
        words = text[span.start : span.end].casefold()
        widest = max(widest, span.start - first.setdefault(words, span).end)
    return widest if widest > _FAR else 0
