"""What an annotated corpus teaches a dictionary: names it lacks, and names that are no mentions.

A name is left alone where annotators mark fewer than `LEAST_SHARE` of its matches: dropping such
names raises F1 as long as the share is below half of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

from longbel_cli.detecting.dictionary import DictionaryDetector, Learned, LearnedName
from longbel_cli.detecting.index import NameIndex, is_in_capitals
from longbel_cli.detecting.options import DictionaryOptions
from longbel_cli.types import Document, Span

LEAST_SHARE = 0.4
_ROUNDS = 3


def learn(index: NameIndex, options: DictionaryOptions, documents: Sequence[Document]) -> Learned:
    """What the mentions of these documents teach, their groups spelled as in the index.

    Names that are dropped free the text of others, so that matches are counted again.
    """
    options = replace(options, nested=False)
    learned = Learned(_annotated(DictionaryDetector(index, options), documents))
    for _ in range(_ROUNDS):
        detector = DictionaryDetector(index, options, learned)
        refined = _refined(learned, _counted(detector, documents))
        if refined.left_alone == learned.left_alone:
            return refined
        learned = refined
    return learned


def _annotated(
    detector: DictionaryDetector, documents: Sequence[Document]
) -> dict[str, LearnedName]:
    """The annotated names of one fragment, each with the group that it has most often."""
    groups: dict[str, Counter[str]] = {}
    in_capitals: dict[str, bool] = {}
    for document in documents:
        for mention in document.mentions:
            key = detector.key(mention.text)
            if len(mention.spans) == 1 and key:
                groups.setdefault(key, Counter())[mention.semantic_group] += 1
                capitals = is_in_capitals(mention.text)
                in_capitals[key] = in_capitals.get(key, True) and capitals
    return {
        key: LearnedName(min(counts, key=lambda group: (-counts[group], group)), 1.0,
                         in_capitals[key])
        for key, counts in groups.items()
    }  # fmt: skip


def _counted(
    detector: DictionaryDetector, documents: Sequence[Document]
) -> dict[str, tuple[int, int]]:
    """How often each name of an annotated group was matched, and how often rightly."""
    annotated = {mention.semantic_group for each in documents for mention in each.mentions}
    matched: Counter[str] = Counter()
    right: Counter[str] = Counter()
    for document in documents:
        gold = {(each.spans, each.semantic_group) for each in document.mentions}
        for match in detector.matches(document):
            if match.group in annotated:
                matched[match.key] += 1
                right[match.key] += ((Span(match.start, match.end),), match.group) in gold
    return {key: (count, right[key]) for key, count in matched.items()}


def _refined(learned: Learned, counted: Mapping[str, tuple[int, int]]) -> Learned:
    """With the shares that were counted, and without what they say is left alone."""
    shares = {key: right / matched for key, (matched, right) in counted.items()}
    left_alone = learned.left_alone | {key for key, share in shares.items() if share < LEAST_SHARE}
    names = {
        key: name._replace(score=round(shares.get(key, name.score), 6))
        for key, name in learned.names.items()
        if key not in left_alone
    }
    others = [counts for key, counts in counted.items() if key not in names]
    matched, right = (sum(column) for column in zip(*others, strict=True)) if others else (0, 0)
    return Learned(names, left_alone, round(right / matched, 6) if matched else 1.0)
