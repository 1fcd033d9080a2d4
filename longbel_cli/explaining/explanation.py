"""Explanations as records: the scores of tokens, words, sentences and memory lines.

Knows neither prompts nor models; says what is true of any way to come by the scores.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from longbel_cli.prompting.segments import MemoryLine
from longbel_cli.types import Document, Mention, Prediction, Span

PARTS = ("context", "memory", "mention", "frame")


class MemoryEntry(NamedTuple):
    """A memory line together with the earlier mention it comes from."""

    mention_id: str
    line: MemoryLine


class Token(NamedTuple):
    """A prompt token: its characters in the prompt, where it comes from, and its scores.

    `document` are document offsets, None outside the document; `line` is a memory line's index.
    `score` is a norm; `signed` says in addition for (above 0) or against, where known.
    """

    text: str
    prompt: Span
    part: str
    document: Span | None
    line: int | None
    score: float
    signed: float | None


class Weight(NamedTuple):
    """The sum of the scores within a stretch of the document, or within one memory line."""

    span: Span | None
    score: float
    signed: float | None


@dataclass(frozen=True)
class Attribution:
    """What one candidate of a mention, or its lead over another one, rests on.

    `objective` is the candidate's summed log-probability; with `versus`, the difference of both
    candidates' log-probabilities per token. `score` is the beam score as this model gives it,
    without `versus`. `baseline_objective` and `delta` (the completeness
    error, sum of signed scores less the difference of objectives) exist for `integrated`.
    `shares` add up to 1 over PARTS. Ablation has no tokens.
    """

    method: str
    rank: int
    versus: int | None
    objective: float
    words: tuple[Weight, ...]
    sentences: tuple[Weight, ...]
    memory: tuple[Weight, ...]
    shares: Mapping[str, float]
    tokens: tuple[Token, ...] = ()
    score: float | None = None
    steps: int | None = None
    baseline: str | None = None
    baseline_objective: float | None = None
    delta: float | None = None

    def to_json(self) -> dict[str, Any]:
        return {
            "method": self.method,
            "rank": self.rank,
            "versus": self.versus,
            "objective": self.objective,
            "score": self.score,
            "steps": self.steps,
            "baseline": self.baseline,
            "baseline_objective": self.baseline_objective,
            "completeness_delta": self.delta,
            "shares": dict(self.shares),
            "tokens": [_token_json(token) for token in self.tokens],
            "words": [_weight_json(weight) for weight in self.words if weight.score],
            "sentences": [_weight_json(weight) for weight in self.sentences],
            "memory": [_weight_json(weight) for weight in self.memory],
        }


def _token_json(token: Token) -> dict[str, Any]:
    return {
        "text": token.text,
        "prompt_offsets": list(token.prompt),
        "part": token.part,
        "document_offsets": list(token.document) if token.document else None,
        "memory_line": token.line,
        "score": token.score,
        "signed": token.signed,
    }


def _weight_json(weight: Weight) -> dict[str, Any]:
    line: dict[str, Any] = {"score": weight.score, "signed": weight.signed}
    return line if weight.span is None else {"document_offsets": list(weight.span), **line}


@dataclass(frozen=True)
class Explanation:
    """A mention with its candidates, the memory that its prompt held, and its attributions.

    `gold_name` is what the knowledge base calls the gold, None where it does not hold it.
    """

    document: Document
    mention: Mention
    prediction: Prediction
    memory: tuple[MemoryEntry, ...]
    attributions: tuple[Attribution, ...]
    gold_name: str | None = None

    def to_json(self) -> dict[str, Any]:
        """The numbers of an explanation; holds document text."""
        return {
            **self.prediction.to_json(),
            "memory": [
                {
                    "mention_id": entry.mention_id,
                    "mention": entry.line.mention,
                    "semantic_group": entry.line.semantic_group,
                    "names": list(entry.line.names),
                }
                for entry in self.memory
            ],
            "attributions": [attribution.to_json() for attribution in self.attributions],
        }
