"""Explanations as HTML: one self-contained page, or a notebook's fragment.

Knows no model.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from kb_builder.files import sha256_of
from kb_builder.text import visible
from longbel_cli.explaining.explanation import Attribution, Explanation, Weight
from longbel_cli.explaining.shading import (
    Shading,
    heading,
    memory_rows,
    pieces,
    score_text,
)
from longbel_cli.pages import rendered, rendered_page
from longbel_cli.types import Document, Span

_LEVELS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
_TOP = len(_LEVELS) - 1
_MIDDLE = len(_LEVELS) // 2
_FRAGMENT_FOR, _FRAGMENT_AGAINST = "217,95,2", "33,113,181"


def html_page(explanations: Sequence[Explanation], title: str = "Why this concept") -> str:
    """One self-contained page for explanations of any documents and mentions."""
    return rendered_page("explain", title=title, data=page_data(explanations))


def page_name(document_id: str) -> str:
    """A file name for a document's page: readable, and safe and distinct whatever the id holds."""
    readable = re.sub(r"[^A-Za-z0-9]+", "-", document_id).strip("-")[:60] or "document"
    digest = sha256_of(document_id.encode("utf-8", "surrogatepass"))[:10]
    return f"{readable}-{digest}.html"


def page_data(explanations: Sequence[Explanation]) -> dict[str, Any]:
    """What the page's script reads. Offsets are UTF-16 units within a passage, as scripts count."""
    documents: dict[int, _DocumentWords] = {}
    for explanation in explanations:
        known = documents.setdefault(
            id(explanation.document), _DocumentWords(len(documents), explanation.document)
        )
        for attribution in explanation.attributions:
            known.spans.update(word.span for word in attribution.words if word.span is not None)
    return {
        "documents": [document.data() for document in documents.values()],
        "mentions": [
            _mention_data(explanation, documents[id(explanation.document)])
            for explanation in explanations
            if explanation.attributions
        ],
    }


class _DocumentWords:
    """A document of the page, and all words that any of its maps shades."""

    def __init__(self, index: int, document: Document) -> None:
        self.index, self.document = index, document
        self.spans: set[Span] = set()

    @cached_property
    def table(self) -> dict[Span, int]:
        """Each word's index, in document order."""
        return {span: index for index, span in enumerate(sorted(self.spans))}

    @cached_property
    def offsets(self) -> _Offsets:
        return _Offsets(self.document)

    def data(self) -> dict[str, Any]:
        words, at = list(self.table), 0
        passages = []
        for passage in self.document.passages:
            units = _utf16(passage.text)
            steps: list[int] = []  # gap, length, gap, length, …
            position = 0
            while at < len(words) and words[at].start < passage.end:
                start = int(units[words[at].start - passage.start])
                end = int(units[words[at].end - passage.start])
                steps += (start - position, end - start)
                position = end
                at += 1
            passages.append({"type": passage.type, "text": passage.text, "words": steps})
        return {"id": self.document.id, "passages": passages}


def _mention_data(explanation: Explanation, document: _DocumentWords) -> dict[str, Any]:
    prediction, offsets = explanation.prediction, document.offsets
    spans_of = {mention.id: mention.spans for mention in explanation.document.mentions}
    sentences = explanation.attributions[0].sentences
    return {
        "document": document.index,
        "id": prediction.mention_id,
        "text": prediction.mention,
        "group": prediction.semantic_group,
        "spans": offsets.of(explanation.mention.spans),
        "gold": prediction.gold_concept_code,
        "gold_name": explanation.gold_name,
        "candidates": [
            [rank, code, name, None if math.isnan(score) else score]
            for rank, code, name, score, _ in prediction.candidates
        ],
        "memory": [
            {
                "id": entry.mention_id,
                "mention": entry.line.mention,
                "group": entry.line.semantic_group,
                "name": " <+> ".join(entry.line.names),
                "spans": offsets.of(spans_of.get(entry.mention_id, ())),
            }
            for entry in explanation.memory
        ],
        "sentences": [
            offsets.of((weight.span,)) for weight in sentences if weight.span is not None
        ],
        "maps": [
            _map_data(attribution, document.table) for attribution in explanation.attributions
        ],
    }


def _map_data(attribution: Attribution, table: dict[Span, int]) -> dict[str, Any]:
    """A map's numbers; the words it shades follow one another, from index `first` on."""
    words = attribution.words
    return {
        "method": attribution.method,
        "rank": attribution.rank,
        "versus": attribution.versus,
        "objective": attribution.objective,
        "score": attribution.score,
        "steps": attribution.steps,
        "baseline": attribution.baseline,
        "delta": attribution.delta,
        "change": None
        if attribution.baseline_objective is None
        else attribution.objective - attribution.baseline_objective,
        "shares": dict(attribution.shares),
        "total": sum(token.score for token in attribution.tokens),
        "first": table[words[0].span] if words and words[0].span is not None else 0,
        "words": strength_levels(words),
        "signed": signed_levels(words),
        "memory": [[weight.score, weight.signed] for weight in attribution.memory],
        "sentences": [[weight.score, weight.signed] for weight in attribution.sentences],
    }


def strength_levels(words: Sequence[Weight]) -> str:
    """One character a word: its score against the largest, in 64 levels."""
    largest = max((word.score for word in words), default=0.0) or 1.0
    return "".join(_LEVELS[round(word.score / largest * _TOP)] for word in words)


def signed_levels(words: Sequence[Weight]) -> str | None:
    """One character a word: opposition below the middle level, support above; None if unknown."""
    if any(word.signed is None for word in words):
        return None
    values = [word.signed or 0.0 for word in words]
    largest = max(map(abs, values), default=0.0) or 1.0
    return "".join(_LEVELS[_MIDDLE + round(value / largest * (_MIDDLE - 1))] for value in values)


def _utf16(text: str) -> np.ndarray:
    """For each code point offset of `text` (its end included), the offset in UTF-16 units."""
    points = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
    return np.arange(len(text) + 1) + np.concatenate([[0], np.cumsum(points > 0xFFFF)])


class _Offsets:
    """Document spans as [passage index, start, end] in UTF-16 units, cut at passages."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._units: dict[int, np.ndarray] = {}

    def of(self, spans: Sequence[Span]) -> list[list[int]]:
        return [piece for span in spans for piece in self._cut(span)]

    def _cut(self, span: Span) -> Iterator[list[int]]:
        for index, passage in enumerate(self._document.passages):
            start, end = max(span.start, passage.start), min(span.end, passage.end)
            if start < end:
                if index not in self._units:
                    self._units[index] = _utf16(passage.text)
                units = self._units[index]
                yield [index, int(units[start - passage.start]), int(units[end - passage.start])]


def html_fragment(explanation: Explanation) -> str:
    """A notebook's view: static, each attribution one under the other, readable on any theme."""
    blocks = [_fragment_block(explanation, attribution) for attribution in explanation.attributions]
    prediction = explanation.prediction
    return rendered(
        "fragment.html",
        mention=visible(prediction.mention),
        group=visible(prediction.semantic_group),
        candidates=[
            (
                candidate.rank,
                visible(candidate.concept_code),
                visible(candidate.concept_name),
                score_text(candidate.score),
            )
            for candidate in prediction.candidates
        ],
        blocks=blocks,
    )


def _fragment_block(explanation: Explanation, attribution: Attribution) -> dict[str, Any]:
    shading = Shading(attribution)
    return {
        "title": heading(attribution),
        "pieces": [
            {
                "text": visible(piece.text),
                "style": _fragment_style(shading.of(piece.weight), piece.is_mention),
            }
            for piece in pieces(explanation, attribution)
        ],
        "memory": memory_rows(explanation, attribution),
    }


def _fragment_style(strength: float, is_mention: bool) -> str:
    style = "outline:2px solid currentColor;" if is_mention else ""
    if strength:
        colour = _FRAGMENT_AGAINST if strength < 0 else _FRAGMENT_FOR
        style += f"background:rgba({colour},{abs(strength) * 0.75:.2f});"
    return style
