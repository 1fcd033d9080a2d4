"""What prompts are made of: plain text and the format's own marks, and how memory is written.

A mark is a segment of its own, so that a tokenizer never takes text for one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import NamedTuple

from kb_builder.text import clean


class Mark(str):
    """A segment that is one of the format's own tokens."""

    __slots__ = ()


OPEN, CLOSE = Mark("["), Mark("]")
GROUP_OPEN, GROUP_CLOSE = Mark("{"), Mark("}")
COMPOSITE = Mark("<+>")
SEPARATOR = Mark("<SEP>")
Segment = str | Mark
# Every prompt of a document repeats the lines of the one before.
_REMEMBERED_LINES = 8192


class MemoryLine(NamedTuple):
    """An earlier mention of the same document and the name (composite: names) predicted for it.

    `echo` is what the format repeats of the text before it; `DocumentPrompts.line` fills it in.
    """

    mention: str
    semantic_group: str
    names: tuple[str, ...]
    echo: tuple[Segment, ...] = ()


def _no_memory(memory: Sequence[MemoryLine]) -> list[Segment]:
    return ["\n\n### Prediction\n"]


def _memory_section(memory: Sequence[MemoryLine]) -> list[Segment]:
    segments: list[Segment] = ["\n\n### Previous Normalizations\n"]
    for index, line in enumerate(memory):
        if index:
            segments.append("\n")
        segments.extend(_memory_entry(line))
    if not memory:
        segments.append("None")
    segments.append("\n\n### Prediction\n")
    return segments


def _inline_memory(memory: Sequence[MemoryLine]) -> list[Segment]:
    segments: list[Segment] = ["\n\n### Predictions\n"]
    for line in memory:
        segments.extend((*_memory_entry(line), SEPARATOR))
    return segments


@lru_cache(_REMEMBERED_LINES)
def _memory_entry(line: MemoryLine) -> tuple[Segment, ...]:
    answer: tuple[Segment, ...] = tuple(answer_segments(line.names))
    mention = clean(line.mention)
    group = line.semantic_group
    return (*line.echo, OPEN, mention, CLOSE, GROUP_OPEN, group, GROUP_CLOSE, *answer)


MEMORY_SECTIONS: dict[str, Callable[[Sequence[MemoryLine]], list[Segment]]] = {
    "none": _no_memory,
    "section": _memory_section,
    "inline": _inline_memory,
}


def answer_segments(names: Sequence[str]) -> list[Segment]:
    """The segments of an answer without its end; several names are joined by the composite mark."""
    segments: list[Segment] = []
    for index, name in enumerate(names):
        if index:
            segments.append(COMPOSITE)
        segments.append(f" {name}")
    return segments


def merge(segments: Sequence[Segment]) -> list[Segment]:
    """Neighbouring pieces of text joined, empty ones left out."""
    merged: list[Segment] = []
    after_text = False
    for segment in segments:
        is_text = type(segment) is not Mark
        if is_text and after_text:
            merged[-1] += segment
        elif segment:
            merged.append(segment)
            after_text = is_text
    return merged


def rstrip(segments: Sequence[Segment]) -> list[Segment]:
    """Trailing white space of a context removed."""
    stripped = list(segments)
    while stripped and not isinstance(stripped[-1], Mark):
        stripped[-1] = stripped[-1].rstrip()
        if stripped[-1]:
            break
        stripped.pop()
    return stripped
