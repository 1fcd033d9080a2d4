"""Stops a score that could only be 0: codes of gold and predictions spelled in different ways."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from kb_builder.codes import parts_of
from kb_builder.errors import LongbelError
from longbel_cli.corpora.prediction_file import PredictionFile
from longbel_cli.scoring.gold import ScoredMention

# What would have to happen to codes, in words, and how.
_CHANGES: tuple[tuple[str, Callable[[str], str]], ...] = (
    ("without the part before the colon", lambda code: code.rpartition(":")[2]),
    ("without the part before the underscore", lambda code: code.rpartition("_")[2]),
    ("without the part before the slash", lambda code: code.rpartition("/")[2]),
    ("without `.0` at the end", lambda code: re.sub(r"\.0+\Z", "", code)),
    ("without leading zeros", lambda code: code.lstrip("0")),
    ("in capitals", str.upper),
    ("in small letters", str.lower),
)


def refuse_other_spelling(file: PredictionFile, mentions: Sequence[ScoredMention]) -> None:
    """LongbelError where no prediction has any gold code, but some would after one change of the
    spelling of either."""
    if any(mention.hit_rank("any") is not None for mention in mentions):
        return
    for words, change in _CHANGES:
        met = sum(_meets(mention, change) for mention in mentions)
        if met:
            raise LongbelError(
                f"{file.path}: no predicted code equals its gold code, but {met} of "
                f"{len(mentions)} would {words}",
                "Spell the codes of predictions and gold in one way.",
            )


def _meets(mention: ScoredMention, change: Callable[[str], str]) -> bool:
    gold = set(parts_of(mention.gold))
    predicted = {
        code for candidate in mention.candidates for code in parts_of(candidate.concept_code)
    }
    # `HP:0000001` and `DOID:0000001` are alike in their numbers alone: one side stays as it is.
    return not gold.isdisjoint(map(change, predicted)) or not predicted.isdisjoint(
        map(change, gold)
    )
