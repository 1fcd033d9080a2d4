"""What a detector is, and documents with the mentions that one finds in them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Protocol

from longbel_cli.corpora.bigbio import as_bigbio
from longbel_cli.types import Document, Mention, Span, in_document_order


class Detection(NamedTuple):
    """A mention that was detected, in document offsets; larger scores are better."""

    span: Span
    group: str
    score: float


class Detector(Protocol):
    """Finds mentions in documents."""

    @property
    def name(self) -> str:
        """As `--detector` calls it."""

    def settings(self) -> dict[str, Any]:
        """What of it can change detections, as a run keeps it (JSON values)."""

    def detect(self, document: Document) -> Sequence[Detection]:
        """The mentions of a document, in its order; the document's own play no part."""


@dataclass(frozen=True, slots=True)
class DetectedMention(Mention):
    """A mention with the detector that found it, and how sure that is."""

    score: float = 1.0
    detector: str = ""


def with_detected(document: Document, detector: Detector, keep: bool = False) -> Document:
    """The document with the mentions that are detected in it: in place of its own, or with `keep`
    beside them, but for those that are there already."""
    kept = document.mentions if keep else ()
    known = {(mention.spans, mention.semantic_group) for mention in kept}
    ids = _new_ids({mention.id for mention in kept})
    text = document.text
    detected = [
        DetectedMention(
            next(ids), (each.span,), text[each.span.start : each.span.end], each.group, each.group,
            score=each.score, detector=detector.name,
        )
        for each in detector.detect(document)
        if ((each.span,), each.group) not in known
    ]  # fmt: skip
    return replace(document, mentions=in_document_order([*kept, *detected]))


def _new_ids(taken: set[str]) -> Iterator[str]:
    """`D1`, `D2`, …, but for those that are taken."""
    index = 0
    while True:
        index += 1
        if f"D{index}" not in taken:
            yield f"D{index}"


def mention_line(document: Document) -> str:
    """A document as a line of BigBio, its detected mentions with `score` and `detector`."""
    value = as_bigbio(document)
    for entity, mention in zip(value["entities"], document.mentions, strict=True):
        if isinstance(mention, DetectedMention):
            entity |= {"score": round(mention.score, 6), "detector": mention.detector}
    return json.dumps(value, ensure_ascii=False, allow_nan=False)
