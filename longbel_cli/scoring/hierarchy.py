"""Where answers stand to the gold in a knowledge base's hierarchy, and how far away.

An answer one step above the gold is another error than one in another branch. Parents are those
that the knowledge base keeps (`relations.parquet`), of whatever kind.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from kb_builder.errors import LongbelError
from longbel_cli.scoring.bootstrap import Interval, intervals, ratios, resampled_ratios
from longbel_cli.scoring.gold import ScoredMention
from longbel_cli.scoring.metrics import Evaluated, ScoreOptions

if TYPE_CHECKING:
    from kb_builder.store.knowledge_base import KnowledgeBase

# What an answer is to the gold.
RELATIONS = {
    "exact": "the gold",
    "ancestor": "above the gold",
    "descendant": "below the gold",
    "sibling": "another child of a parent of the gold",
    "other": "elsewhere, or composite",
    "none": "no answer",
}


class Standing(NamedTuple):
    """One of RELATIONS, and the steps from the answer to the gold by way of the nearest concept
    above both; None where there is none, or a code is composite."""

    relation: str
    distance: int | None


class Hierarchy:
    """Concepts and their direct parents, by code."""

    def __init__(self, parents: Mapping[str, Iterable[str]]) -> None:
        self._parents = {code: tuple(above) for code, above in parents.items()}
        self._above = cache(self._ancestors)

    @classmethod
    def around(cls, base: KnowledgeBase, codes: Iterable[str]) -> Hierarchy:
        """What stands above these codes. LongbelError where the knowledge base has no parents."""
        import pyarrow as pa
        import pyarrow.compute as pc

        from kb_builder.store.beside import RELATIONS as TABLE
        from kb_builder.store.beside import open_beside

        table = open_beside(base.path, TABLE)
        if table is None:
            raise LongbelError(
                f"{base.path}: --hierarchy needs parents of concepts, it keeps none",
                "Build it from a source with a hierarchy (UMLS with MRREL, OBO, MeSH, OMOP).",
            )
        parents: dict[str, list[str]] = {}
        level = set(codes)
        while level:
            parents.update((code, []) for code in level)
            wanted = pc.is_in(table["child"], value_set=pa.array(sorted(level), pa.large_string()))
            rows = table.filter(wanted)
            pairs = zip(rows["child"].to_pylist(), rows["parent"].to_pylist(), strict=True)
            for child, parent in pairs:
                parents[child].append(parent)
            level = {parent for code in level for parent in parents[code]} - parents.keys()
        return cls(parents)

    def standing(self, answer: str, gold: str) -> Standing:
        """What an answer is to the gold; of two ways the shorter, of equal ones the upper."""
        if answer == gold:
            return Standing("exact", 0)
        of_answer, of_gold = self._above(answer), self._above(gold)
        ways = [
            (distance, relation)
            for distance, relation in (
                (of_gold.get(answer), "ancestor"), (of_answer.get(gold), "descendant")
            )
            if distance is not None
        ]  # fmt: skip
        if ways:
            distance, relation = min(ways, key=lambda way: way[0])
            return Standing(relation, distance)
        shared = of_answer.keys() & of_gold.keys()
        if not shared:
            return Standing("other", None)
        distance = min(of_answer[code] + of_gold[code] for code in shared)
        is_sibling = any(of_answer[code] == of_gold[code] == 1 for code in shared)
        return Standing("sibling" if is_sibling else "other", distance)

    def of_mention(self, mention: ScoredMention) -> Standing:
        """Where its first answer stands."""
        answer = mention.top
        if answer is None:
            return Standing("none", None)
        if answer.concept_code == mention.gold:
            return Standing("exact", 0)
        if mention.composite or "+" in answer.concept_code:
            return Standing("other", None)
        return self.standing(answer.concept_code, mention.gold)

    def _ancestors(self, code: str) -> dict[str, int]:
        """Each concept above, with the fewest steps to it."""
        steps: dict[str, int] = {}
        level, distance = [code], 0
        while level:
            distance += 1
            above = dict.fromkeys(parent for at in level for parent in self._parents.get(at, ()))
            level = [parent for parent in above if parent not in steps and parent != code]
            steps.update((parent, distance) for parent in level)
        return steps


@dataclass(frozen=True)
class HierarchyScore:
    """The share of each of RELATIONS among the mentions, and the mean distance of the answers that
    have one (`n_distances`). `standings`: of each mention, in order."""

    shares: dict[str, Interval]
    distance: Interval
    n_distances: int
    standings: tuple[Standing, ...]

    def to_json(self) -> dict[str, Any]:
        return {
            "shares": {name: interval._asdict() for name, interval in self.shares.items()},
            "distance": {**self.distance._asdict(), "n": self.n_distances},
        }


def codes_in(mentions: Sequence[ScoredMention]) -> set[str]:
    """The gold and the answered codes that can be looked up."""
    codes = {mention.gold for mention in mentions}
    codes |= {mention.top.concept_code for mention in mentions if mention.top is not None}
    return {code for code in codes if "+" not in code}


def hierarchy_score(
    evaluated: Evaluated, hierarchy: Hierarchy, options: ScoreOptions
) -> HierarchyScore:
    """Shares and mean distance, with bootstrap intervals over documents."""
    standings = tuple(map(hierarchy.of_mention, evaluated.mentions))
    relations = np.array([standing.relation for standing in standings])
    distances = [standing.distance for standing in standings]
    has_distance = np.array([distance is not None for distance in distances])
    columns = [(relations == name).astype(np.float64) for name in RELATIONS]
    columns.append(np.array([distance or 0 for distance in distances], dtype=np.float64))
    sizes = [np.ones(len(standings))] * len(RELATIONS) + [has_distance.astype(np.float64)]
    above, below = (
        np.stack([evaluated.per_document(column) for column in each], axis=1)
        for each in (columns, sizes)
    )
    samples = resampled_ratios(above, below, options.n_boot, options.seed)
    values = intervals(ratios(above, below), samples)
    return HierarchyScore(
        dict(zip(RELATIONS, values[:-1], strict=True)), values[-1], int(has_distance.sum()),
        standings,
    )  # fmt: skip
