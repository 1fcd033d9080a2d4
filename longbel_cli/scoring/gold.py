"""Joins predictions with their gold: from inside the predictions file or from a corpus.

The result is one `ScoredMention` per gold mention, with or without a prediction. Knows nothing
of metrics. Corpora come as an iterator of documents, so no format is known here either.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from kb_builder.errors import LongbelError
from longbel_cli.corpora.predictions import PredictionFile, normalized_code
from longbel_cli.types import Candidate, Document, Prediction, Span, answer_among, extent

NO_CODE = "NO_CODE"


@dataclass(frozen=True)
class ScoredMention:
    """A gold mention that counts, and what was predicted for it.

    `gold` is a normalized code (parts sorted); `missing` says that the predictions have no such
    mention, which is not the same as a prediction without candidates.
    """

    document_id: str
    mention_id: str
    mention: str
    semantic_group: str
    spans: tuple[Span, ...]
    gold: str
    candidates: tuple[Candidate, ...]
    missing: bool = False

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
            parts = set(self.gold.split("+"))
            for candidate in self.candidates:
                if candidate.concept_code == self.gold or not parts.isdisjoint(
                    candidate.concept_code.split("+")
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
    """

    mentions: tuple[ScoredMention, ...]
    no_code: tuple[tuple[str, str], ...] = ()
    n_without_gold: int = 0
    notes: tuple[str, ...] = ()
    unscored: tuple[Prediction, ...] = ()

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


def is_no_code(gold: str) -> bool:
    """Whether the annotators found no concept for the mention, or for a part of it."""
    return NO_CODE in gold


def gold_inside(file: PredictionFile) -> Joined:
    """The gold that the predictions carry themselves."""
    scored: list[ScoredMention] = []
    no_code: list[tuple[str, str]] = []
    unscored: list[Prediction] = []
    for prediction in file.predictions:
        if prediction.gold_concept_code is None:
            unscored.append(prediction)
        elif is_no_code(prediction.gold_concept_code):
            no_code.append((prediction.document_id, prediction.mention_id))
        else:
            scored.append(_scored(prediction))
    if not scored:
        raise LongbelError(
            f"{file.path}: nothing to score, no mention has a gold concept code",
            "Give the annotated corpus with --gold.",
        )
    notes: tuple[str, ...] = ()
    if unscored:
        notes = (f"{file.path}: {_not_scored(len(unscored))}",)
    return Joined(tuple(scored), tuple(no_code), len(unscored), notes, tuple(unscored))


def _not_scored(count: int) -> str:
    return f"{count} mention(s) have no gold and are not scored"


def _scored(prediction: Prediction) -> ScoredMention:
    return ScoredMention(
        prediction.document_id,
        prediction.mention_id,
        prediction.mention,
        prediction.semantic_group,
        prediction.spans,
        prediction.gold_concept_code or "",
        prediction.candidates,
    )


# Gold from a corpus ---------------------------------------------------------------------------


def gold_of_corpus(documents: Iterable[Document]) -> tuple[GoldMention, ...]:
    """All mentions of a corpus in order; document ids are unique (the corpus reader sees to it)."""
    mentions: list[GoldMention] = []
    for document in documents:
        for mention in document.mentions:
            code = mention.gold_code
            mentions.append(
                GoldMention(
                    document.id,
                    mention.id,
                    mention.text,
                    mention.semantic_group,
                    mention.spans,
                    (normalized_code(code) or None) if code else None,
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


def join(
    gold: Sequence[GoldMention],
    file: PredictionFile,
    same_group: Callable[[str, str], bool] | None = None,
) -> Joined:
    """Give each gold mention its prediction; gold mentions without one stay, as missing.

    By document and mention id where both sides' spans agree (or one side has none), else by
    document, spans and group. `same_group(corpus_type, predicted_group)` says whether two
    spellings are one group. Without documents in the file, ids must be unique in the gold.
    """
    same_group = same_group or _same_text
    unmatched = list(range(len(file.predictions)))
    found: dict[int, int] = {}
    n_moved = _join_ids(gold, file, unmatched, found)
    n_by_span = _join_spans(gold, file, unmatched, found, same_group)
    groups = _spelled_groups(gold, file, found)
    annotated = [
        (place, mention, mention.gold)
        for place, mention in enumerate(gold)
        if mention.gold is not None
    ]
    no_code = tuple(
        (mention.document_id, mention.mention_id)
        for _, mention, code in annotated
        if is_no_code(code)
    )
    scored = tuple(
        _given(mention, code, file.predictions[found[place]])
        if place in found
        else _missing(mention, code, groups)
        for place, mention, code in annotated
        if not is_no_code(code)
    )
    if not scored:
        raise LongbelError(
            "nothing to score: the gold corpus has no mention with a concept code",
            "Is it the annotated corpus, and the right --gold-format?",
        )
    if not found:
        raise LongbelError(
            f"{file.path}: no mention of it is in the gold corpus, by id or by spans",
            "Are the two of the same corpus? Document ids must be equal.",
        )
    n_missing = sum(mention.missing for mention in scored)
    told = (
        (n_moved, "mention(s) share an id but not the spans with the gold: not joined by id"),
        (n_by_span, "mention(s) joined by spans and group, not by id"),
        (n_missing, "gold mention(s) have no prediction and count as wrong"),
        (len(unmatched), "prediction(s) are in no gold mention and do not count"),
    )
    notes = [f"{file.path}: {count} {words}" for count, words in told if count]
    n_without = len(gold) - len(annotated)
    if n_without:
        notes.append(f"{n_without} mention(s) of the gold corpus have no concept code: not scored")
    unscored = tuple(
        replace(
            file.predictions[found[place]],
            document_id=mention.document_id,
            mention_id=mention.mention_id,
        )
        for place, mention in enumerate(gold)
        if mention.gold is None and place in found
    )
    return Joined(scored, no_code, n_without, tuple(notes), unscored)


def _given(mention: GoldMention, code: str, prediction: Prediction) -> ScoredMention:
    """A gold mention with its prediction."""
    return replace(
        _scored(prediction),
        document_id=mention.document_id,
        mention_id=mention.mention_id,
        mention=mention.mention,
        spans=mention.spans,
        gold=code,
    )


def _missing(mention: GoldMention, code: str, groups: Mapping[str, str]) -> ScoredMention:
    """A gold mention without prediction, its group as predictions spell it."""
    group = groups.get(mention.semantic_group, mention.semantic_group)
    return ScoredMention(
        mention.document_id, mention.mention_id, mention.mention, group, mention.spans, code, (),
        missing=True,
    )  # fmt: skip


def _same_text(left: str, right: str) -> bool:
    return left.casefold() == right.casefold()


def _join_ids(
    gold: Sequence[GoldMention],
    file: PredictionFile,
    unmatched: list[int],
    found: dict[int, int],
) -> int:
    """Join by ids; returns how many ids were in both with other spans."""
    if not file.has_ids:
        return 0
    index: dict[tuple[str, ...], int] = {}
    for position, mention in enumerate(gold):
        if file.has_documents:
            index.setdefault((mention.document_id, mention.mention_id), position)
        elif (mention.mention_id,) in index:
            index[(mention.mention_id,)] = -1
        else:
            index[(mention.mention_id,)] = position
    n_moved = 0
    left: list[int] = []
    for number in unmatched:
        prediction = file.predictions[number]
        key: tuple[str, ...] = (prediction.mention_id,)
        if file.has_documents:
            key = (prediction.document_id, prediction.mention_id)
        position = index.get(key, -1)
        if position < 0 or position in found:
            left.append(number)
        elif not _agree(prediction.spans, gold[position].spans):
            n_moved += 1
            left.append(number)
        else:
            found[position] = number
    unmatched[:] = left
    return n_moved


def _agree(predicted: tuple[Span, ...], gold: tuple[Span, ...]) -> bool:
    """Whether spans are of one mention; a table has but the start and end of a whole mention."""
    if not predicted or not gold or set(predicted) == set(gold):
        return True
    return len(predicted) == 1 and predicted[0] == extent(gold)


def _join_spans(
    gold: Sequence[GoldMention],
    file: PredictionFile,
    unmatched: list[int],
    found: dict[int, int],
    same_group: Callable[[str, str], bool],
) -> int:
    if not file.has_documents:
        return 0
    index: dict[tuple[str, Span], list[int]] = {}
    for position, mention in enumerate(gold):
        if position not in found and mention.spans:
            index.setdefault((mention.document_id, extent(mention.spans)), []).append(position)
    joined = 0
    left: list[int] = []
    for number in unmatched:
        prediction = file.predictions[number]
        positions: list[int] = []
        if prediction.spans:
            positions = index.get((prediction.document_id, extent(prediction.spans)), [])
        found_at = next(
            (
                place
                for place in positions
                if _agree(prediction.spans, gold[place].spans)
                and same_group(gold[place].semantic_group, prediction.semantic_group)
            ),
            None,
        )
        if found_at is None:
            left.append(number)
        else:
            positions.remove(found_at)
            found[found_at] = number
            joined += 1
    unmatched[:] = left
    return joined


def _spelled_groups(
    gold: Sequence[GoldMention], file: PredictionFile, found: dict[int, int]
) -> dict[str, str]:
    """Corpus type -> the group as predictions spell it, by what the joined mentions show."""
    seen: dict[str, Counter[str]] = {}
    for position, number in found.items():
        group = file.predictions[number].semantic_group
        seen.setdefault(gold[position].semantic_group, Counter())[group] += 1
    return {entity_type: counts.most_common(1)[0][0] for entity_type, counts in seen.items()}


# Several systems ------------------------------------------------------------------------------


def align(systems: Sequence[tuple[str, Joined]]) -> list[Joined]:
    """The same mentions in the same order for all systems, named, with gold inside.

    A mention that one of them lacks counts as wrong there; one that is there without gold is
    scored by the gold of the others. Gold that differs is an error, and so is a mention that has
    a concept in one and NO_CODE in another: it cannot be left out of one score alone.
    """
    by_key = [
        {(mention.document_id, mention.mention_id): mention for mention in joined.mentions}
        for _, joined in systems
    ]
    everything: dict[tuple[str, str], ScoredMention] = {}
    answered: set[tuple[str, str]] = set()
    for (name, joined), mentions in zip(systems, by_key, strict=True):
        own = mentions.keys() | _by_key(joined.unscored).keys()
        if answered and answered.isdisjoint(own):
            raise LongbelError(
                f"{name} has no mention in common with {systems[0][0]}",
                "Compared predictions must be of the same corpus.",
            )
        answered |= own
        for key, mention in mentions.items():
            if everything.setdefault(key, mention).gold != mention.gold:
                raise _other_gold(name, key)
    for name, joined in systems:
        for key in joined.no_code:
            if key in everything:
                raise _other_gold(name, key)
    return [
        _completed(name, joined, mentions, everything)
        for (name, joined), mentions in zip(systems, by_key, strict=True)
    ]


def _other_gold(name: str, key: tuple[str, str]) -> LongbelError:
    return LongbelError(
        f"{name} has another gold than the other systems for {key[0]}:{key[1]}",
        "Give the annotated corpus with --gold.",
    )


def _completed(
    name: str,
    joined: Joined,
    has: dict[tuple[str, str], ScoredMention],
    everything: dict[tuple[str, str], ScoredMention],
) -> Joined:
    given = _by_key(joined.unscored)
    mentions = tuple(
        has[key] if key in has else _by_other_gold(mention, given.get(key))
        for key, mention in everything.items()
    )
    lacking = sum(key not in has and key not in given for key in everything)
    n_given = sum(key in given for key in everything)
    left = joined.n_without_gold - n_given
    stale = _not_scored(joined.n_without_gold)
    notes = [note for note in joined.notes if not (n_given and note.endswith(stale))]
    if n_given:
        notes.append(
            f"{name}: {n_given} mention(s) have no gold in it: "
            "scored by that of the compared predictions"
        )
        if left:
            notes.append(f"{name}: {_not_scored(left)}")
    if lacking:
        notes.append(
            f"{name}: {lacking} mention(s) of the compared predictions are not in it: wrong there"
        )
    return replace(joined, mentions=mentions, n_without_gold=left, notes=tuple(notes))


def _by_key(predictions: Iterable[Prediction]) -> dict[tuple[str, str], Prediction]:
    return {(found.document_id, found.mention_id): found for found in predictions}


def _by_other_gold(mention: ScoredMention, prediction: Prediction | None) -> ScoredMention:
    """Another system's mention with this one's prediction, which is missing if there is none."""
    if prediction is None:
        return replace(mention, candidates=(), missing=True)
    return replace(
        mention,
        candidates=prediction.candidates,
        semantic_group=prediction.semantic_group,
        missing=False,
    )
