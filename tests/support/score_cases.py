"""Short ways to write scored mentions and predictions in the tables of the scoring tests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from longbel_cli.scoring.gold import Joined, ScoredMention
from longbel_cli.types import Candidate, Prediction, Span


def candidates(*codes: str, scores: tuple[float, ...] = ()) -> tuple[Candidate, ...]:
    """Candidates of ranks 1, 2, …; without scores 0.9, 0.8, …"""
    values = scores or tuple(0.9 - 0.1 * position for position in range(len(codes)))
    return tuple(
        Candidate(rank, code, f"Name {code}", score)
        for rank, (code, score) in enumerate(zip(codes, values, strict=True), start=1)
    )


def mention(
    location: str,
    gold: str,
    *codes: str,
    group: str = "Disorders",
    text: str = "",
    scores: tuple[float, ...] = (),
) -> ScoredMention:
    """A mention `document:start`, its gold and what was predicted; its id is `T<start>`."""
    document, start = location.split(":")
    return ScoredMention(
        document_id=document,
        mention_id=f"T{start}",
        mention=text,
        semantic_group=group,
        spans=(Span(int(start), int(start) + 1),),
        gold=gold,
        candidates=candidates(*codes, scores=scores),
    )


def joined(*mentions: ScoredMention) -> Joined:
    return Joined(mentions)


def prediction(
    location: str, *codes: str, gold: str | None = None, scores: tuple[float, ...] = ()
) -> Prediction:
    document, start = location.split(":")
    return Prediction(
        document_id=document,
        mention_id=f"T{start}",
        mention="text",
        semantic_group="Disorders",
        spans=(Span(int(start), int(start) + 1),),
        candidates=candidates(*codes, scores=scores),
        gold_concept_code=gold,
    )


def write_predictions(path: Path, *predictions: Prediction) -> Path:
    lines = [json.dumps(result.to_json(), ensure_ascii=False) + "\n" for result in predictions]
    path.write_text("".join(lines), encoding="utf-8")
    return path


def bigbio(document: str, *entities: tuple[str, int, str, str, list[str]]) -> dict[str, Any]:
    """A BigBio document; entities are id, start, text, type and gold codes."""
    length = max(start + len(text) for _, start, text, _, _ in entities) + 1
    content = list(" " * length)
    for _, start, text, _, _ in entities:
        content[start : start + len(text)] = text
    return {
        "id": document,
        "document_id": document,
        "passages": [
            {"id": "p", "type": "text", "text": ["".join(content)], "offsets": [[0, length]]}
        ],
        "entities": [
            {
                "id": identifier,
                "type": entity_type,
                "text": [text],
                "offsets": [[start, start + len(text)]],
                "normalized": [{"db_name": "UMLS", "db_id": code} for code in codes],
            }
            for identifier, start, text, entity_type, codes in entities
        ],
        "events": [],
        "coreferences": [],
        "relations": [],
    }
