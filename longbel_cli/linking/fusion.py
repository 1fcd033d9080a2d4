"""Several systems' candidates fused by rank or by score, mention by mention.

Knows predictions and nothing of files or models: `longbel fuse` and an ensemble run use it alike.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from kb_builder.codes import joined_code
from kb_builder.errors import LongbelError, check_choice
from longbel_cli.types import Candidate, Prediction, answer_among, score_json

RANK_CONSTANT = 60
# What a concept scores for each system that has it.
FUSIONS = {"rank": "weight / (k + rank)", "score": "weight times the system's own score"}


class Source(NamedTuple):
    """Where a fused candidate comes from: a system, and its rank and score there."""

    system: str
    rank: int
    score: float


@dataclass(frozen=True)
class Fused:
    """A fused prediction and, candidate by candidate, its sources in the systems' order."""

    prediction: Prediction
    sources: tuple[tuple[Source, ...], ...]

    def to_json(self) -> dict[str, Any]:
        """A line of preds.jsonl whose beams also have `sources`."""
        line = self.prediction.to_json()
        for beam, sources in zip(line["beams"], self.sources, strict=True):
            beam["sources"] = [
                {
                    "system": source.system,
                    "rank": source.rank,
                    "beam_score": score_json(source.score),
                }
                for source in sources
            ]
        return line


@dataclass(frozen=True)
class FusionOptions:
    """Names and weights of the systems, in order; `limit` candidates are kept (None: all). `by` is
    one of FUSIONS. Where the first system's best score reaches `threshold`, it answers alone."""

    names: tuple[str, ...]
    weights: tuple[float, ...] = ()
    k: int = RANK_CONSTANT
    limit: int | None = None
    allow_missing: bool = False
    by: str = "rank"
    threshold: float | None = None

    def __post_init__(self) -> None:
        check_choice("--by", self.by, FUSIONS)
        if len(self.names) < 2:
            raise LongbelError("fusion needs at least two predictions files", exit_code=2)
        if not self.weights:
            object.__setattr__(self, "weights", (1.0,) * len(self.names))
        if len(self.weights) != len(self.names):
            message = f"{len(self.weights)} weight(s) for {len(self.names)} system(s)"
            raise LongbelError(message, "Give one a system, in their order.", exit_code=2)
        if not all(math.isfinite(weight) and weight > 0 for weight in self.weights):
            raise LongbelError("weights must be finite and above 0", exit_code=2)
        if self.k < 0 or (self.limit is not None and self.limit < 1):
            raise LongbelError("k must not be negative, and at least 1 candidate kept", exit_code=2)


def fuse(systems: Sequence[Sequence[Prediction]], options: FusionOptions) -> Iterator[Fused]:
    """Fuse mention by mention, in the first system's order.

    Raises LongbelError (exit code 4) where systems cover other mentions than the first, unless
    `allow_missing`: a system that lacks a mention then adds nothing to it.
    """
    by_key = [
        {(prediction.document_id, prediction.mention_id): prediction for prediction in system}
        for system in systems
    ]
    keys = list(dict.fromkeys(key for mentions in by_key for key in mentions))
    if not options.allow_missing:
        _refuse_gaps(keys, by_key, options.names)
    for key in _by_document(keys):
        yield fuse_mention([mentions.get(key) for mentions in by_key], options)


def _refuse_gaps(
    keys: Sequence[tuple[str, str]],
    by_key: Sequence[dict[tuple[str, str], Prediction]],
    names: Sequence[str],
) -> None:
    gaps = []
    for name, mentions in zip(names, by_key, strict=True):
        lacking = [key for key in keys if key not in mentions]
        if lacking:
            gaps.append(f"{name} lacks {len(lacking)} ({lacking[0][0]}:{lacking[0][1]} the first)")
    if gaps:
        raise LongbelError(
            "the predictions do not cover the same mentions: " + "; ".join(gaps),
            "Link the same corpus with each system, or fuse what there is with --allow-missing.",
            exit_code=4,
        )


def _by_document(keys: Sequence[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    documents: dict[str, list[tuple[str, str]]] = {}
    for key in keys:
        documents.setdefault(key[0], []).append(key)
    for mentions in documents.values():
        yield from mentions


def fuse_mention(predictions: Sequence[Prediction | None], options: FusionOptions) -> Fused:
    """Fuse one mention's predictions, one a system in order, None where a system has none.

    A code scores the sum over the systems that have it: of weight / (k + rank), ranks by each
    system's own scores, or of weight * score; ties go by the first system's score of the code, then
    the second's, and so on. Its name is that of its best rank.
    """
    present = [prediction for prediction in predictions if prediction is not None]
    if not present:
        raise ValueError("no system has the mention")
    if _answers_alone(predictions[0], options):
        predictions = [predictions[0], *(None for _ in predictions[1:])]
    by_code: dict[str, list[tuple[int, Source, Candidate]]] = {}
    for position, prediction in enumerate(predictions):
        for code, rank, candidate in _ranked(prediction):
            source = Source(options.names[position], rank, candidate.score)
            by_code.setdefault(code, []).append((position, source, candidate))
    scores = {
        # fsum rounds once, so that the same ranks in another order are a tie.
        code: math.fsum(_share(options, position, source) for position, source, _ in entries)
        for code, entries in by_code.items()
    }
    ordered = sorted(
        by_code, key=lambda code: (-scores[code], _ties(by_code[code], predictions), code)
    )
    candidates = tuple(
        _best(by_code[code])._replace(rank=rank, concept_code=code, score=scores[code])
        for rank, code in enumerate(ordered[: options.limit], start=1)
    )
    sources = tuple(
        tuple(source for _, source, _ in by_code[candidate.concept_code])
        for candidate in candidates
    )
    gold = _one_gold(present)
    fused = replace(
        present[0], candidates=candidates, gold_concept_code=gold, review=None, nil=None
    )
    return Fused(fused, sources)


def _answers_alone(first: Prediction | None, options: FusionOptions) -> bool:
    if first is None or options.threshold is None:
        return False
    top = answer_among(first.candidates)
    return top is not None and top.score >= options.threshold


def _share(options: FusionOptions, position: int, source: Source) -> float:
    """What a system adds to the score of a code that it has."""
    if options.by == "rank":
        return options.weights[position] / (options.k + source.rank)
    if not math.isfinite(source.score):
        raise LongbelError(
            f"{source.system} has candidates without a score", "Fuse by rank.", exit_code=3
        )
    return options.weights[position] * source.score


def _ranked(prediction: Prediction | None) -> Iterator[tuple[str, int, Candidate]]:
    """A system's codes with their best rank, by its scores; equal scores keep their order."""
    if prediction is None:
        return
    coded = [
        (code, candidate)
        for candidate in prediction.candidates
        if (code := joined_code(candidate.concept_code))  # no code: no candidate
    ]
    coded.sort(key=lambda pair: (_descending(pair[1].score), pair[1].rank))
    seen: set[str] = set()
    for rank, (code, candidate) in enumerate(coded, start=1):
        if code not in seen:
            seen.add(code)
            yield code, rank, candidate


def _descending(score: float) -> float:
    return math.inf if math.isnan(score) else -score


def _ties(
    entries: Sequence[tuple[int, Source, Candidate]], predictions: Sequence[Prediction | None]
) -> tuple[float, ...]:
    scores = [math.inf] * len(predictions)
    for position, source, _ in entries:
        scores[position] = _descending(source.score)
    return tuple(scores)


def _best(entries: Sequence[tuple[int, Source, Candidate]]) -> Candidate:
    return min(entries, key=lambda entry: (entry[1].rank, entry[0]))[2]


def _one_gold(present: Sequence[Prediction]) -> str | None:
    golds = {
        joined_code(prediction.gold_concept_code)
        for prediction in present
        if prediction.gold_concept_code is not None
    }
    if len(golds) > 1:
        first = present[0]
        raise LongbelError(
            f"the predictions have another gold for {first.document_id}:{first.mention_id}",
            "Are they of one version of the corpus?",
        )
    return golds.pop() if golds else None
