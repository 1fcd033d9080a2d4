"""What offsets of another tool count: characters, UTF-16 units or bytes, with CRLF as two or one.

Told by comparing the stated texts with the document's; converted to code points.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from dataclasses import replace

from longbel_cli.corpora.stated_text import fits, slices
from longbel_cli.types import Mention, Span

Width = Callable[[str], int]


def _one(character: str) -> int:
    return 1


def _utf_16(character: str) -> int:
    return 1 + (character > "\uffff")


def _utf_8(character: str) -> int:
    return len(character.encode("utf-8", "surrogatepass"))


# The first that fits most mentions is meant, so plain characters where they fit as well.
_UNITS: tuple[tuple[str, Width, bool], ...] = (
    ("characters", _one, False),
    ("UTF-16 code units", _utf_16, False),
    ("UTF-8 bytes", _utf_8, False),
    ("characters, CRLF as one", _one, True),
    ("UTF-16 code units, CRLF as one", _utf_16, True),
    ("UTF-8 bytes, CRLF as one", _utf_8, True),
)


def in_characters(mentions: Sequence[Mention], text: str) -> tuple[list[Mention], str | None]:
    """The mentions with offsets in code points, and what their offsets counted; None where that
    is what they are, or where nothing fits better."""
    most, meant, unit = sum(fits(mention, text) for mention in mentions), list(mentions), None
    if most == len(mentions):
        return meant, unit
    wanted = {offset for mention in mentions for span in mention.spans for offset in span}
    for name, width, crlf_as_one in _UNITS[1:]:
        if _counts_as_characters(text, width, crlf_as_one):
            continue
        points = _code_points(text, width, crlf_as_one, wanted)
        converted = [_converted(mention, points) for mention in mentions]
        fitting = sum(fits(mention, text) for mention in converted)
        if fitting > most:
            most, meant, unit = fitting, converted, name
    return meant, unit


def _counts_as_characters(text: str, width: Width, crlf_as_one: bool) -> bool:
    """Whether the unit counts this text as characters do."""
    return not (crlf_as_one and "\r\n" in text) and (width is _one or text.isascii())


def _code_points(
    text: str, width: Width, crlf_as_one: bool, wanted: Container[int]
) -> dict[int, int]:
    """From the wanted offsets in a unit to those in code points."""
    points: dict[int, int] = {}
    offset = 0
    for index, character in enumerate(text):
        if offset in wanted:
            points.setdefault(offset, index)
        if not (crlf_as_one and text.startswith("\r\n", index)):
            offset += width(character)
    points[offset] = len(text)
    return points


def _converted(mention: Mention, points: dict[int, int]) -> Mention:
    """As it is where an offset lies inside a character."""
    if not all(start in points and end in points for start, end in mention.spans):
        return mention
    spans = tuple(Span(points[start], points[end]) for start, end in mention.spans)
    return replace(mention, spans=spans)


def as_stated(mention: Mention, text: str) -> Mention:
    """The mention with what its source can mean: fragments in the text's order, quotation marks of
    a spreadsheet taken off; its slice where no text is stated."""
    if not mention.text:
        within = all(0 <= start < end <= len(text) for start, end in mention.spans)
        return replace(mention, text=slices(mention.spans, text) if within else "?")
    if fits(mention, text):
        return mention
    in_order = replace(mention, spans=tuple(sorted(mention.spans)))
    stated = mention.text
    if len(stated) > 1 and stated[0] == stated[-1] == '"':
        stated = stated[1:-1].replace('""', '"')
    bare = replace(mention, text=stated)
    return next((made for made in (in_order, bare) if fits(made, text)), mention)
