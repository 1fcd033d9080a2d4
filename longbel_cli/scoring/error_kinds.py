"""Sorts wrong answers by kind, so that a person can read them by what went wrong.

A kind is a row of `KINDS`; the first that fits is the mention's. Names come from the KB where one
is given, else from the candidates of the same predictions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import NamedTuple

import numpy as np

from kb_builder.codes import parts_of
from longbel_cli.scoring.gold import ScoredMention
from longbel_cli.scoring.hierarchy import HierarchyScore
from longbel_cli.scoring.metrics import Evaluated
from longbel_cli.scoring.partitions import KbFacts, folded


@dataclass(frozen=True)
class Wrong:
    """A mention whose first answer is not the gold, with what helps to see why."""

    mention: ScoredMention
    gold_names: tuple[str, ...]
    gold_rank: int | None
    kind: str
    right_elsewhere: bool


class _Case(NamedTuple):
    mention: ScoredMention
    gold_names: tuple[str, ...]
    gold_rank: int | None
    right_elsewhere: bool
    kb: KbFacts | None
    relation: str | None


def _no_prediction(case: _Case) -> bool:
    return not case.mention.candidates


def _not_in_kb(case: _Case) -> bool:
    return case.kb is not None and any(
        code not in case.kb.groups_of for code in parts_of(case.mention.gold)
    )


def _other_group(case: _Case) -> bool:
    return case.kb is not None and any(
        case.mention.semantic_group not in case.kb.groups_of.get(code, ())
        for code in parts_of(case.mention.gold)
    )


def _part_of_composite(case: _Case) -> bool:
    top = case.mention.top
    answer = [] if top is None else parts_of(top.concept_code)
    return not set(answer).isdisjoint(parts_of(case.mention.gold))


def _right_name(case: _Case) -> bool:
    # A table may have neither names nor texts of mentions: no name is none that is right.
    answer = _answer(case)
    return bool(answer) and answer in _targets(case)


def _above(case: _Case) -> bool:
    return case.relation == "ancestor"


def _below(case: _Case) -> bool:
    return case.relation == "descendant"


def _sibling(case: _Case) -> bool:
    return case.relation == "sibling"


def _broader(case: _Case) -> bool:
    answer = _answer(case).split()
    return bool(answer) and any(_within(answer, name.split()) for name in _targets(case))


def _narrower(case: _Case) -> bool:
    answer = _answer(case).split()
    return any(name and _within(name.split(), answer) for name in _targets(case))


def _lower_rank(case: _Case) -> bool:
    return case.gold_rank is not None


def _inconsistent(case: _Case) -> bool:
    return case.right_elsewhere


def _answer(case: _Case) -> str:
    """The answer's name, empty where there is none."""
    top = case.mention.top
    return "" if top is None else folded(top.concept_name)


def _targets(case: _Case) -> list[str]:
    return [folded(case.mention.mention), *map(folded, case.gold_names)]


def _within(part: list[str], whole: list[str]) -> bool:
    """Whether words stand side by side in a longer run of words."""
    return len(part) < len(whole) and any(
        whole[start : start + len(part)] == part for start in range(len(whole) - len(part) + 1)
    )


KINDS: dict[str, tuple[str, Callable[[_Case], bool]]] = {
    "no prediction": ("nothing was predicted", _no_prediction),
    "gold not in KB": ("no answer from this KB can be right", _not_in_kb),
    "gold in another group": ("the KB has the gold, but not in the mention's group", _other_group),
    "part of a composite": ("shares a code with the gold, is not all of it", _part_of_composite),
    "right name, wrong concept": (
        "the answer's name is the mention's text or a name of the gold concept",
        _right_name,
    ),
    "ancestor": ("the answer is above the gold in the hierarchy", _above),
    "descendant": ("the answer is below the gold in the hierarchy", _below),
    "sibling": ("the answer shares a parent with the gold", _sibling),
    "broader": ("the answer's name is a part of the mention or of a gold name", _broader),
    "narrower": ("the mention or a gold name is a part of the answer's name", _narrower),
    "gold at a lower rank": ("the gold is among the other candidates", _lower_rank),
    "right elsewhere": ("another mention of the concept in the document is right", _inconsistent),
    "other": ("none of these", lambda case: True),
}


def wrong_answers(
    evaluated: Evaluated, kb: KbFacts | None = None, hierarchy: HierarchyScore | None = None
) -> list[Wrong]:
    """The wrong answers in the mentions' order, each with its kind."""
    n_mentions = len(evaluated.mentions)
    relations: Sequence[str | None] = (
        [None] * n_mentions
        if hierarchy is None
        else [each.relation for each in hierarchy.standings]
    )
    names = _known_names(evaluated.mentions, kb)
    right_concepts = {
        (mention.document_id, mention.gold)
        for mention, right in zip(evaluated.mentions, evaluated.right, strict=True)
        if right
    }
    collected: list[Wrong] = []
    for mention, rank, relation in zip(
        evaluated.mentions, evaluated.hit_rank, relations, strict=True
    ):
        if rank <= 1:
            continue
        case = _Case(
            mention,
            _gold_names(mention.gold, names),
            None if np.isinf(rank) else int(rank),
            (mention.document_id, mention.gold) in right_concepts,
            kb,
            relation,
        )
        kind = next(name for name, (_, fits) in KINDS.items() if fits(case))
        collected.append(
            Wrong(mention, case.gold_names, case.gold_rank, kind, case.right_elsewhere)
        )
    return collected


def _gold_names(gold: str, names: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """The names of a gold; of a composite one those of its parts take turns."""
    codes = dict.fromkeys((gold, *parts_of(gold)))
    turns = zip_longest(*(names.get(code, ()) for code in codes))
    return tuple(name for turn in turns for name in turn if name is not None)


def _known_names(
    mentions: Sequence[ScoredMention], kb: KbFacts | None
) -> Mapping[str, Sequence[str]]:
    if kb is not None and kb.names_of:
        return kb.names_of
    golds = {code for mention in mentions for code in (mention.gold, *parts_of(mention.gold))}
    names: dict[str, dict[str, None]] = {}
    for code, name in _candidate_names(mentions):
        if code in golds and name:
            names.setdefault(code, {})[name] = None
    return {code: tuple(collected) for code, collected in names.items()}


def _candidate_names(mentions: Sequence[ScoredMention]) -> Iterator[tuple[str, str]]:
    for mention in mentions:
        for candidate in mention.candidates:
            yield candidate.concept_code, candidate.concept_name
