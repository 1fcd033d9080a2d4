"""Gives each gold mention of a corpus its prediction, by id or by spans.

The result is one `ScoredMention` per gold mention, with or without a prediction.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from kb_builder.codes import is_no_code
from kb_builder.errors import LongbelError
from longbel_cli.corpora.prediction_file import PredictionFile
from longbel_cli.scoring.gold import GoldMention, Joined, ScoredMention, scored_mention
from longbel_cli.types import Prediction, Span, extent


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
    prediction_of: dict[int, int] = {}
    n_moved = _join_ids(gold, file, unmatched, prediction_of)
    n_by_span = _join_spans(gold, file, unmatched, prediction_of, same_group)
    groups = _spelled_groups(gold, file, prediction_of)
    annotated = [
        (index, mention, mention.gold)
        for index, mention in enumerate(gold)
        if mention.gold is not None
    ]
    no_code = tuple(
        (mention.document_id, mention.mention_id)
        for _, mention, code in annotated
        if is_no_code(code)
    )
    joined = [
        _given(mention, code, file.predictions[prediction_of[index]])
        if index in prediction_of
        else _missing(mention, code, groups)
        for index, mention, code in annotated
    ]
    scored = tuple(mention for mention in joined if not is_no_code(mention.gold))
    no_concept = tuple(mention for mention in joined if is_no_code(mention.gold))
    if not scored:
        raise LongbelError(
            "nothing to score: the gold corpus has no mention with a concept code",
            "Is it the annotated corpus, and the right --gold-format?",
        )
    if not prediction_of:
        raise LongbelError(
            f"{file.path}: no mention of it is in the gold corpus, by id or by spans",
            "Are the two of the same corpus? Document ids must be equal.",
        )
    n_missing = sum(mention.missing for mention in scored)
    counted = (
        (n_moved, "mention(s) share an id but not the spans with the gold: not joined by id"),
        (n_by_span, "mention(s) joined by spans and group, not by id"),
        (n_missing, "gold mention(s) have no prediction and count as wrong"),
        (len(unmatched), "prediction(s) are in no gold mention and do not count"),
    )
    notes = [f"{file.path}: {count} {words}" for count, words in counted if count]
    n_without = len(gold) - len(annotated)
    if n_without:
        notes.append(f"{n_without} mention(s) of the gold corpus have no concept code: not scored")
    unscored = tuple(
        replace(
            file.predictions[prediction_of[index]],
            document_id=mention.document_id,
            mention_id=mention.mention_id,
        )
        for index, mention in enumerate(gold)
        if mention.gold is None and index in prediction_of
    )
    return Joined(scored, no_code, n_without, tuple(notes), unscored, no_concept)


def _given(mention: GoldMention, code: str, prediction: Prediction) -> ScoredMention:
    """A gold mention with its prediction."""
    return replace(
        scored_mention(prediction),
        document_id=mention.document_id,
        mention_id=mention.mention_id,
        mention=mention.mention,
        spans=mention.spans,
        gold=code,
        abbreviation=mention.abbreviation,
    )


def _missing(mention: GoldMention, code: str, groups: Mapping[str, str]) -> ScoredMention:
    """A gold mention without prediction, its group as predictions spell it."""
    group = groups.get(mention.semantic_group, mention.semantic_group)
    return ScoredMention(
        mention.document_id, mention.mention_id, mention.mention, group, mention.spans, code, (),
        missing=True, abbreviation=mention.abbreviation,
    )  # fmt: skip


def _same_text(left: str, right: str) -> bool:
    return left.casefold() == right.casefold()


def _join_ids(
    gold: Sequence[GoldMention],
    file: PredictionFile,
    unmatched: list[int],
    prediction_of: dict[int, int],
) -> int:
    """Join by ids; returns how many ids were in both with other spans."""
    if not file.has_ids:
        return 0
    position_of: dict[tuple[str, ...], int] = {}
    for position, mention in enumerate(gold):
        if file.has_documents:
            position_of.setdefault((mention.document_id, mention.mention_id), position)
        elif (mention.mention_id,) in position_of:
            position_of[(mention.mention_id,)] = -1
        else:
            position_of[(mention.mention_id,)] = position
    n_moved = 0
    left: list[int] = []
    for row in unmatched:
        prediction = file.predictions[row]
        key: tuple[str, ...] = (prediction.mention_id,)
        if file.has_documents:
            key = (prediction.document_id, prediction.mention_id)
        position = position_of.get(key, -1)
        if position < 0 or position in prediction_of:
            left.append(row)
        elif not _agree(prediction.spans, gold[position].spans):
            n_moved += 1
            left.append(row)
        else:
            prediction_of[position] = row
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
    prediction_of: dict[int, int],
    same_group: Callable[[str, str], bool],
) -> int:
    if not file.has_documents:
        return 0
    positions_of: dict[tuple[str, Span], list[int]] = {}
    for position, mention in enumerate(gold):
        if position not in prediction_of and mention.spans:
            positions_of.setdefault((mention.document_id, extent(mention.spans)), []).append(
                position
            )
    joined = 0
    left: list[int] = []
    for row in unmatched:
        prediction = file.predictions[row]
        positions: list[int] = []
        if prediction.spans:
            positions = positions_of.get((prediction.document_id, extent(prediction.spans)), [])
        match = next(
            (
                index
                for index in positions
                if _agree(prediction.spans, gold[index].spans)
                and (
                    not prediction.semantic_group  # some tables have no groups
                    or same_group(gold[index].semantic_group, prediction.semantic_group)
                )
            ),
            None,
        )
        if match is None:
            left.append(row)
        else:
            positions.remove(match)
            prediction_of[match] = row
            joined += 1
    unmatched[:] = left
    return joined


def _spelled_groups(
    gold: Sequence[GoldMention], file: PredictionFile, prediction_of: dict[int, int]
) -> dict[str, str]:
    """Corpus type -> the group as predictions spell it, by what the joined mentions show."""
    seen: dict[str, Counter[str]] = {}
    for position, row in prediction_of.items():
        group = file.predictions[row].semantic_group
        seen.setdefault(gold[position].semantic_group, Counter())[group] += 1
    return {entity_type: counts.most_common(1)[0][0] for entity_type, counts in seen.items()}
