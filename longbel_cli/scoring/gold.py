"""Gold, from inside a predictions file or from a corpus, and the mentions that it scores.

Knows nothing of metrics. Corpora come as an iterator of documents, so no format is known here.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from kb_builder.codes import is_no_code, joined_code, parts_of
from kb_builder.errors import LongbelError
from longbel_cli.corpora.abbreviations import abbreviations, expanded
from longbel_cli.corpora.prediction_file import PredictionFile
from longbel_cli.types import Candidate, Document, Prediction, Span, answer_among


@dataclass(frozen=True)
class ScoredMention:
    """A gold mention that counts, and what was predicted for it.

    `gold` is a normalized code (parts sorted); `missing` says that the predictions have no such
    mention, which is not the same as a prediction without candidates. `abbreviation`: whether it is
    one that its document defines, None where that is not known.
    """

    document_id: str
    mention_id: str
    mention: str
    semantic_group: str
    spans: tuple[Span, ...]
    gold: str
    candidates: tuple[Candidate, ...]
    missing: bool = False
    abbreviation: bool | None = None

    @property
    def composite(self) -> bool:
        return "+" in self.gold

    @property
    def top(self) -> Candidate | None:
        """The answer, if there is one."""
        return answer_among(self.candidates)

    def hit_rank(self, match: str = "exact") -> int | None:
        """The best rank whose code is the gold; with `any`, one of a composite gold's codes."""
        if match == "any" and self.composite:
            parts = set(parts_of(self.gold))
            for candidate in self.candidates:
                if candidate.concept_code == self.gold or not parts.isdisjoint(
                    parts_of(candidate.concept_code)
                ):
                    return candidate.rank
            return None
        for candidate in self.candidates:
            if candidate.concept_code == self.gold:
                return candidate.rank
        return None


@dataclass(frozen=True)
class Joined:
    """The mentions that are scored, in order, and how many are not and why.

    `no_code` are document and mention id of those whose gold is no concept, `unscored` the
    predictions of those without gold: other predictions of the same mentions may have it.
    `no_concept` are the mentions of `no_code`, for scores of "no concept".
    """

    mentions: tuple[ScoredMention, ...]
    no_code: tuple[tuple[str, str], ...] = ()
    n_without_gold: int = 0
    notes: tuple[str, ...] = ()
    unscored: tuple[Prediction, ...] = ()
    no_concept: tuple[ScoredMention, ...] = ()

    @property
    def n_no_code(self) -> int:
        return len(self.no_code)


class GoldMention(NamedTuple):
    """What a corpus says of a mention; `gold` is None where it says nothing."""

    document_id: str
    mention_id: str
    mention: str
    semantic_group: str
    spans: tuple[Span, ...]
    gold: str | None
    abbreviation: bool | None = None


def gold_inside(file: PredictionFile) -> Joined:
    """The gold that the predictions carry themselves."""
    scored: list[ScoredMention] = []
    no_concept: list[ScoredMention] = []
    unscored: list[Prediction] = []
    for prediction in file.predictions:
        if prediction.gold_concept_code is None:
            unscored.append(prediction)
        elif is_no_code(prediction.gold_concept_code):
            no_concept.append(scored_mention(prediction))
        else:
            scored.append(scored_mention(prediction))
    if not scored:
        raise LongbelError(
            f"{file.path}: nothing to score, no mention has a gold concept code",
            "Give the annotated corpus with --gold.",
        )
    notes: tuple[str, ...] = ()
    if unscored:
        notes = (f"{file.path}: {not_scored_note(len(unscored))}",)
    no_code = tuple((mention.document_id, mention.mention_id) for mention in no_concept)
    return Joined(tuple(scored), no_code, len(unscored), notes, tuple(unscored), tuple(no_concept))


def not_scored_note(count: int) -> str:
    """The note on mentions without gold."""
    return f"{count} mention(s) have no gold and are not scored"


def scored_mention(prediction: Prediction) -> ScoredMention:
    """A prediction that carries its gold itself."""
    return ScoredMention(
        prediction.document_id,
        prediction.mention_id,
        prediction.mention,
        prediction.semantic_group,
        prediction.spans,
        prediction.gold_concept_code or "",
        prediction.candidates,
        abbreviation=True if prediction.expanded_from is not None else None,
    )


def gold_of_corpus(documents: Iterable[Document]) -> tuple[GoldMention, ...]:
    """All mentions of a corpus in order; document ids are unique (the corpus reader sees to it)."""
    mentions: list[GoldMention] = []
    for document in documents:
        known = abbreviations(document.text)
        for mention in document.mentions:
            code = mention.gold_code
            mentions.append(
                GoldMention(
                    document.id,
                    mention.id,
                    mention.text,
                    mention.semantic_group,
                    mention.spans,
                    (joined_code(code) or None) if code else None,
                    expanded(mention.text, known) is not None,
                )
            )
    return tuple(mentions)


def gold_of_predictions(file: PredictionFile) -> tuple[GoldMention, ...]:
    """The gold that predictions carry, for another file of the same mentions that has none."""
    return tuple(
        GoldMention(
            prediction.document_id,
            prediction.mention_id,
            prediction.mention,
            prediction.semantic_group,
            prediction.spans,
            prediction.gold_concept_code,
        )
        for prediction in file.predictions
    )
