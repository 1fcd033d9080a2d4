"""The records that flow from a corpus reader to the predictions file. No format is known here.

Offsets are Unicode code points of the document, end-exclusive.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

from kb_builder.codes import parts_of

# What a corpus says of a mention beside its concept, by name (`Negated`: True, `Certainty`: "low").
Attributes = tuple[tuple[str, "str | bool"], ...]


class Span(NamedTuple):
    """A stretch of document text, `[start, end)`."""

    start: int
    end: int


def extent(spans: Sequence[Span]) -> Span:
    """From the first character of some spans to the last."""
    if len(spans) == 1:
        return spans[0]
    return Span(min(span.start for span in spans), max(span.end for span in spans))


@dataclass(frozen=True)
class Passage:
    """A piece of a document's text as stored, beginning at document offset `start`."""

    text: str
    start: int = 0
    id: str = ""
    type: str = ""

    @property
    def end(self) -> int:
        return self.start + len(self.text)


@dataclass(frozen=True, slots=True)  # a document may have millions
class Mention:
    """One mention of a document: one or more fragments, in document offsets.

    `text` is the fragments joined by one blank, as stored (not cleaned). `entity_type` is what
    the corpus wrote; `semantic_group` is the knowledge base's spelling once types are resolved
    (until then the same as `entity_type`). `gold` holds concept codes, None where the corpus
    says nothing. `line` is the place in the source file, where lines exist. `attributes` are each
    name's once, in the corpus's order.
    """

    id: str
    spans: tuple[Span, ...]
    text: str
    semantic_group: str
    entity_type: str = ""
    gold: tuple[str, ...] | None = None
    line: int | None = None
    attributes: Attributes = ()

    @property
    def start(self) -> int:
        return extent(self.spans).start

    @property
    def end(self) -> int:
        return extent(self.spans).end

    @property
    def gold_code(self) -> str | None:
        """The gold as predictions write it: several codes sorted and joined by `+`."""
        return None if self.gold is None else "+".join(sorted(self.gold))


@dataclass(frozen=True)
class Document:
    """A document, its passages in order, and its mentions in document order.

    `source` names the file (and line, `file:line`, for line formats) it was read from.
    """

    id: str
    passages: tuple[Passage, ...]
    mentions: tuple[Mention, ...]
    source: str = ""

    @cached_property
    def text(self) -> str:
        """All passages placed at their offsets, gaps filled with blanks."""
        parts: list[str] = []
        position = 0
        for passage in self.passages:
            parts.append(" " * (passage.start - position))
            parts.append(passage.text)
            position = max(position, passage.end)
        return "".join(parts)


def in_document_order(mentions: list[Mention]) -> tuple[Mention, ...]:
    """Ascending by smallest start, then by largest end; ties keep the input's order."""
    ordered = sorted(mentions, key=lambda mention: mention.end)
    ordered.sort(key=lambda mention: mention.start)  # keeps the order by end among equals
    return tuple(ordered)


class Concept(NamedTuple):
    """A concept as an answer names it."""

    code: str
    name: str


class Candidate(NamedTuple):
    """One beam of a mention, from rank 1.

    A composite answer has its codes sorted and joined by `+`, its names joined in the order of the
    answer; `parts` are the concepts in that order, none where a file does not say which name is
    whose.
    """

    rank: int
    concept_code: str
    concept_name: str
    score: float
    parts: tuple[Concept, ...] = ()

    @classmethod
    def of(cls, rank: int, concepts: Sequence[Concept], mark: str, score: float) -> Candidate:
        """An answer of these concepts, each once; `mark` is what joins names."""
        first: dict[str, Concept] = {}
        for concept in concepts:
            first.setdefault(concept.code, concept)
        parts = tuple(first.values())
        code = "+".join(sorted(concept.code for concept in parts))
        name = mark.join(concept.name for concept in parts)
        return cls(rank, code, name, score, parts if len(parts) > 1 else ())

    @property
    def concepts(self) -> tuple[Concept, ...]:
        """The concepts in the order of the answer; none where they are unknown."""
        if self.parts or len(parts_of(self.concept_code)) > 1:
            return self.parts
        return (Concept(self.concept_code, self.concept_name),)

    def to_json(self) -> dict[str, Any]:
        """An entry of `beams`; with `concepts` where there are several."""
        beam: dict[str, Any] = {
            "rank": self.rank,
            "pred_concept_code": self.concept_code,
            "pred_concept_name": self.concept_name,
            "beam_score": score_json(self.score),
        }
        if self.parts:
            beam["concepts"] = [concept._asdict() for concept in self.parts]
        return beam


def score_json(score: float) -> float | None:
    """A score as files have it: 6 decimals, null for NaN, which JSON cannot say."""
    return None if math.isnan(score) else round(score, 6)


def answer_among(candidates: Sequence[Candidate]) -> Candidate | None:
    """The candidate of rank 1 of those that name a concept, best first. There is none where
    another tool's rank 1 says no concept, whatever follows it."""
    return candidates[0] if candidates and candidates[0].rank == 1 else None


@dataclass(frozen=True)
class Prediction:
    """What the model answered for one mention, best candidate first (possibly none).

    `expanded_from` is the long form that the document gives for an abbreviation, and that was
    looked up in its place. `attributes` are the mention's.
    """

    document_id: str
    mention_id: str
    mention: str
    semantic_group: str
    spans: tuple[Span, ...]
    candidates: tuple[Candidate, ...]
    gold_concept_code: str | None = None
    review: bool | None = None
    nil: bool | None = None
    expanded_from: str | None = None
    attributes: Attributes = ()

    @classmethod
    def of(
        cls,
        document: Document,
        mention: Mention,
        candidates: tuple[Candidate, ...],
        expanded_from: str | None = None,
    ) -> Prediction:
        """The answer to a mention, with all that the corpus says of it."""
        return cls(
            document_id=document.id,
            mention_id=mention.id,
            mention=mention.text,
            semantic_group=mention.semantic_group,
            spans=mention.spans,
            candidates=candidates,
            gold_concept_code=mention.gold_code,
            expanded_from=expanded_from,
            attributes=mention.attributes,
        )

    @property
    def answer(self) -> Candidate | None:
        """The answer, if there is one."""
        return answer_among(self.candidates)

    def to_json(self) -> dict[str, Any]:
        """The JSON object of one line of preds.jsonl."""
        top = self.answer
        line: dict[str, Any] = {
            "document_id": self.document_id,
            "mention_id": self.mention_id,
            "mention": self.mention,
            "semantic_group": self.semantic_group,
            "spans": [list(span) for span in self.spans],
            "pred_concept_code": top.concept_code if top else None,
            "pred_concept_name": top.concept_name if top else None,
            "beam_score": score_json(top.score) if top else None,
            "beams": [candidate.to_json() for candidate in self.candidates],
        }
        if self.gold_concept_code is not None:
            line["gold_concept_code"] = self.gold_concept_code
        if self.review is not None:
            line["review"] = self.review
        if self.nil is not None:
            line["nil"] = self.nil
        if self.expanded_from is not None:
            line["expanded_from"] = self.expanded_from
        if self.attributes:
            line["attributes"] = dict(self.attributes)
        return line


class Marks(NamedTuple):
    """What is said of each answer by its score, None for nothing: whether a person should look
    (`review`, below `min_score`), and whether it is to count as no concept (`nil`, below
    `nil_score`). A mention without an answer is both.

    Scores are compared as they are written, with 6 decimals, since thresholds come from files.
    """

    min_score: float | None = None
    nil_score: float | None = None

    def of(self, prediction: Prediction) -> Prediction:
        """The prediction with its marks."""
        review, nil = (
            None if threshold is None else _is_below(prediction, threshold) for threshold in self
        )
        return replace(prediction, review=review, nil=nil)


def _is_below(prediction: Prediction, threshold: float) -> bool:
    top = prediction.answer
    return top is None or not round(top.score, 6) >= threshold  # nor is an unknown score
