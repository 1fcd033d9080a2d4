"""What all views of an explanation share: its text cut into pieces, and weights as shades.

Knows neither HTML nor terminals.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from kb_builder.text import visible_line
from longbel_cli.explaining.explanation import Attribution, Explanation, Weight


def score_text(score: float) -> str:
    """A candidate's score; a dash where it has none."""
    return "–" if math.isnan(score) else f"{score:.4f}"


class Shading:
    """Weights against the largest of them (by default of the words), from -1 to 1.

    Ablation and contrasts have directions by nature, below 0 is against; other maps show
    strength.
    """

    def __init__(self, attribution: Attribution, weights: Sequence[Weight] | None = None) -> None:
        self._directed = attribution.method == "ablation" or attribution.versus is not None
        values = map(self._value, attribution.words if weights is None else weights)
        self._largest = max(map(abs, values), default=0.0) or 1.0

    def _value(self, weight: Weight) -> float:
        return weight.signed if self._directed and weight.signed is not None else weight.score

    def of(self, weight: Weight | None) -> float:
        return 0.0 if weight is None else self._value(weight) / self._largest

    def value_text(self, weight: Weight) -> str:
        """The weight itself, with a sign where it has a direction."""
        directed = self._directed and weight.signed is not None
        return f"{self._value(weight):+.3f}" if directed else f"{weight.score:.3g}"


def heading(attribution: Attribution) -> str:
    subject = f"candidate {attribution.rank}"
    if attribution.versus is not None:
        subject += f" rather than {attribution.versus}"
    return f"{attribution.method}, {subject}"


class Piece(NamedTuple):
    """A stretch of document text: a word with its weight, or what stands between words."""

    offset: int | None  # None for the joint between passages
    text: str
    weight: Weight | None
    is_mention: bool


def pieces(explanation: Explanation, attribution: Attribution) -> Iterator[Piece]:
    """The document's text in order, cut at words and at the mention's fragments."""
    document = explanation.document
    inside = np.zeros(len(document.text) + 1, dtype=bool)
    for span in explanation.mention.spans:
        inside[span.start : span.end] = True

    def cut(start: int, end: int, weight: Weight | None) -> Iterator[Piece]:
        if start >= end:
            return
        edges = np.flatnonzero(inside[start + 1 : end] != inside[start : end - 1]) + start + 1
        for first, last in pairwise([start, *edges.tolist(), end]):
            yield Piece(first, document.text[first:last], weight, bool(inside[first]))

    words = iter(attribution.words)
    word = next(words, None)
    for index, passage in enumerate(document.passages):
        if index:
            yield Piece(None, "\n", None, False)
        position = passage.start
        while word is not None and word.span is not None and word.span.start < passage.end:
            yield from cut(position, word.span.start, None)
            yield from cut(*word.span, word)
            position = word.span.end
            word = next(words, None)
        yield from cut(position, passage.end, None)


def memory_rows(explanation: Explanation, attribution: Attribution) -> list[tuple[str, ...]]:
    """Of each memory line: mention, names, weight, and the weight against the largest."""
    shading = Shading(attribution, attribution.memory)
    return [
        (
            visible_line(entry.line.mention),
            visible_line(" <+> ".join(entry.line.names)),
            shading.value_text(weight),
            f"{shading.of(weight):.0%}",
        )
        for entry, weight in zip(explanation.memory, attribution.memory, strict=True)
    ]
