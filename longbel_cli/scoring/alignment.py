"""Brings several systems to the same mentions, so that they can be compared."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from kb_builder.errors import LongbelError
from longbel_cli.scoring.gold import Joined, ScoredMention, not_scored_note
from longbel_cli.types import Prediction


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
    stale = not_scored_note(joined.n_without_gold)
    notes = [note for note in joined.notes if not (n_given and note.endswith(stale))]
    if n_given:
        notes.append(
            f"{name}: {n_given} mention(s) have no gold in it: "
            "scored by that of the compared predictions"
        )
        if left:
            notes.append(f"{name}: {not_scored_note(left)}")
    if lacking:
        notes.append(
            f"{name}: {lacking} mention(s) of the compared predictions are not in it: wrong there"
        )
    return replace(joined, mentions=mentions, n_without_gold=left, notes=tuple(notes))


def _by_key(predictions: Iterable[Prediction]) -> dict[tuple[str, str], Prediction]:
    return {
        (prediction.document_id, prediction.mention_id): prediction for prediction in predictions
    }


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
