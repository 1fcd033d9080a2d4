"""Which name of its gold concept a mention should be answered with.

The knowledge base holds several names of a concept; the target is the one nearest to the
mention by the cosine of character trigram TF-IDF vectors, or its preferred title. Rules say what
a concept that comes back in a document is called. Knows nothing of prompts or models.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from kb_builder.text import clean
from longbel_cli.linking.baselines.trigrams import NameFrequency
from longbel_cli.training.data.lexicon import Name, folded
from longbel_cli.training.data.target_rules import Choice, TargetRule
from longbel_cli.types import Document, Mention

Vector = dict[str, float]


def trigrams(text: str) -> Counter[str]:
    """The character trigrams of the case-folded text with a blank before and after it."""
    padded = f" {clean(text).casefold()} "
    return Counter(padded[start : start + 3] for start in range(max(1, len(padded) - 2)))


class ConceptNames(Protocol):
    """Names that targets are chosen from: a Lexicon, or a knowledge base's own."""

    def __len__(self) -> int:
        """How many there are."""

    def texts(self) -> Iterator[str]:
        """All of them."""

    def of_concept(self, code: str, group: str) -> Sequence[Name]:
        """The names of a concept in a group, in table order."""


class NearestNames:
    """Finds the name of a concept that is nearest to a mention."""

    def __init__(self, names: ConceptNames) -> None:
        self._stored = names
        self._frequency = NameFrequency(names.texts())
        self._idf: dict[str, float] = {}
        self._titles: dict[tuple[str, str], str | None] = {}
        self._vectors: dict[tuple[str, str], list[tuple[str, Vector]]] = {}

    def nearest(
        self, mention: str, code: str, group: str, second: bool = False
    ) -> tuple[str, float] | None:
        """The nearest name and its cosine; None if the group has no such concept.

        Of equally near names the one spelled as the mention, then the first of the table.
        `second` passes over the nearest and its other spellings, where the concept has more.
        """
        names = self._names(code, group)
        if not names:
            return None
        text = clean(mention)
        vector = self._vector(text)
        scored = [(cosine(vector, other), name) for name, other in names]
        if second:
            form = folded(max(scored, key=lambda pair: pair[0])[1])
            scored = [pair for pair in scored if folded(pair[1]) != form] or scored
        best = max(score for score, _ in scored)
        near = [name for score, name in scored if score > best - 1e-9]
        return (text if text in near else near[0]), best

    def preferred(self, code: str, group: str) -> str | None:
        """The preferred title of the concept; None if the group does not hold it."""
        concept = (code, group)
        if concept not in self._titles:
            titles = [name for name in self._stored.of_concept(code, group) if name.preferred]
            self._titles[concept] = titles[-1].text if titles else None
        return self._titles[concept]

    def _names(self, code: str, group: str) -> list[tuple[str, Vector]]:
        concept = (code, group)
        if concept not in self._vectors:
            self._vectors[concept] = [
                (name.text, self._vector(name.text))
                for name in self._stored.of_concept(code, group)
            ]
        return self._vectors[concept]

    def _vector(self, text: str) -> Vector:
        """TF-IDF of unit length."""
        weights = {gram: count * self._weight(gram) for gram, count in trigrams(text).items()}
        norm = math.sqrt(sum(weight * weight for weight in weights.values()))
        return {gram: weight / norm for gram, weight in weights.items()}

    def _weight(self, gram: str) -> float:
        """Its idf: ln((1 + names) / (1 + names with the trigram)) + 1."""
        if gram not in self._idf:
            total = 1 + len(self._stored)
            self._idf[gram] = math.log(total / (1 + self._frequency[gram])) + 1
        return self._idf[gram]


def cosine(first: Vector, second: Vector) -> float:
    """The dot product of two vectors of unit length."""
    if len(second) < len(first):
        first, second = second, first
    return sum(weight * second[gram] for gram, weight in first.items() if gram in second)


def document_targets(
    document: Document,
    nearest: NearestNames,
    rule: TargetRule,
    synonym: Callable[[], bool] = lambda: False,
) -> list[tuple[str, ...] | None]:
    """For each mention the names of its gold concepts, by code; None where there is no target.

    A mention has no target without a gold, or where its group lacks one of the gold concepts.
    Where `synonym` says so, the target is not the nearest name but the next.
    """
    earlier: dict[tuple[str, str], str] = {}

    def name_of(mention: Mention, code: str) -> str | None:
        concept = (code, mention.semantic_group)
        names = nearest.nearest(mention.text, *concept, second=synonym())
        if names is None:
            return None
        name = rule.name(Choice(earlier.get(concept), nearest.preferred(*concept), *names))
        earlier.setdefault(concept, name)
        return name

    targets: list[tuple[str, ...] | None] = []
    for mention in document.mentions:
        names = [name_of(mention, code) for code in sorted(set(mention.gold or ()))]
        known = tuple(name for name in names if name is not None)
        targets.append(known if known and len(known) == len(names) else None)
    return targets
