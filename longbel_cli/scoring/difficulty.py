"""What decides how hard a corpus is to link, before anything is linked.

By the partitions that scores are divided by: how much of a corpus its training part has seen, how
much is a name of the knowledge base, and how much of that is ambiguous.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, NamedTuple

from kb_builder.codes import is_no_code
from longbel_cli.scoring.background import gold_in_kb, kb_facts
from longbel_cli.scoring.gold import GoldMention, ScoredMention
from longbel_cli.scoring.partitions import PARTITIONS, Background, TrainingFacts

if TYPE_CHECKING:
    from kb_builder.store.knowledge_base import KnowledgeBase


class Measure(NamedTuple):
    """A share of the mentions with gold: those in `part` of a partition, of those in any part."""

    title: str
    partition: str
    part: str


MEASURES = {
    "concept_recurs": Measure("concept recurs in its document", "recurring", "recurring"),
    "composite": Measure("several gold concepts", "composite", "composite"),
    "concept_seen": Measure("concept in training", "seen", "seen"),
    "mention_seen": Measure("mention's text in training", "mention_seen", "seen"),
    "gold_in_kb": Measure("gold concept in the KB", "in_kb", "in"),
    "kb_name": Measure("mention is a KB name of its group", "kb_name", "name"),
    "ambiguous": Measure("of KB names: of several concepts", "ambiguous", "ambiguous"),
}


class Difficulty(NamedTuple):
    """Mentions with gold in each document that has any, and the share of each of MEASURES that can
    be known; None where no mention has a part."""

    mentions_per_document: float | None
    shares: dict[str, float | None]

    def to_json(self) -> dict[str, float | None]:
        return {"mentions_per_document": self.mentions_per_document, **self.shares}


def difficulty(
    gold: Iterable[GoldMention],
    training: TrainingFacts | None,
    base: KnowledgeBase | None,
    group_of: Callable[[str], str],
) -> Difficulty:
    """The measures of a corpus; `group_of` spells a type as the knowledge base does."""
    mentions = [
        ScoredMention(
            each.document_id, each.mention_id, each.mention, group_of(each.semantic_group),
            each.spans, each.gold, (),
        )
        for each in gold
        if each.gold is not None and not is_no_code(each.gold)
    ]  # fmt: skip
    background = Background(
        training,
        None if base is None else kb_facts(base.path, mentions),
        None if base is None else gold_in_kb(base, mentions),
    )
    n_documents = len({mention.document_id for mention in mentions})
    shares = {
        name: _share(PARTITIONS[measure.partition].labels(mentions, background), measure.part)
        for name, measure in MEASURES.items()
        if PARTITIONS[measure.partition].known(background)
    }
    return Difficulty(len(mentions) / n_documents if n_documents else None, shares)


def _share(labels: Iterable[str | None], part: str) -> float | None:
    known = [label for label in labels if label is not None]
    return known.count(part) / len(known) if known else None
