"""Precision, recall and F1 of mentions that were detected, and of the concepts they were linked to.

Mentions are compared by their characters: the fragments of a mention are a set. Works on counts a
document, so that intervals are over whole documents.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from kb_builder.codes import is_no_code, parts_of
from kb_builder.errors import LongbelError
from kb_builder.files import sha256_of
from longbel_cli.corpora.prediction_file import PredictionFile
from longbel_cli.runs.facts import SHORT_HASH
from longbel_cli.scoring.bootstrap import (
    DRAWS_AT_ONCE,
    Floats,
    Interval,
    bootstrap_p,
    holm,
    intervals,
    percentile_interval,
    ratios,
    resampled_ratios,
)
from longbel_cli.scoring.comparison import Difference
from longbel_cli.scoring.gold import gold_of_corpus
from longbel_cli.scoring.metrics import ScoreOptions
from longbel_cli.types import Document, Span

MEASURES = ("precision", "recall", "f1")


class Marked(NamedTuple):
    """A mention as it is compared. `code` is empty where it has no concept, None where nobody
    says whether it has."""

    spans: frozenset[Span]
    group: str
    code: str | None
    text: str


Marks = Sequence[Marked]


class Counts(NamedTuple):
    """How many of a document are right, predicted, and annotated."""

    right: int
    predicted: int
    gold: int


Count = Callable[[Marks, Marks], Counts]


def _equal(keys: Callable[[Marked], Hashable]) -> Count:
    """Pairs with equal keys, each mention in one pair at most."""

    def count(gold: Marks, predicted: Marks) -> Counts:
        ours, theirs = Counter(map(keys, predicted)), Counter(map(keys, gold))
        return Counts((ours & theirs).total(), len(predicted), len(gold))

    return count


def _overlap(keys: Callable[[Marked], Hashable]) -> Count:
    """As many pairs with equal keys and a common character as can be made, one to one."""

    def count(gold: Marks, predicted: Marks) -> Counts:
        near = [
            [
                index
                for index, other in enumerate(predicted)
                if keys(mark) == keys(other) and _touch(mark.spans, other.spans)
            ]
            for mark in gold
        ]
        return Counts(matching_size(near), len(predicted), len(gold))

    return count


def _touch(left: Iterable[Span], right: Iterable[Span]) -> bool:
    others = tuple(right)
    return any(a.start < b.end and b.start < a.end for a in left for b in others)


def matching_size(near: Sequence[Sequence[int]]) -> int:
    """The size of a maximum matching, by augmenting paths; `near` are the partners of each."""
    partner: dict[int, int] = {}
    for root in range(len(near)):
        came_from: dict[int, int] = {}
        queue, free = [root], None
        while queue and free is None:
            mark = queue.pop()
            for other in near[mark]:
                if other in came_from:
                    continue
                came_from[other] = mark
                if other not in partner:
                    free = other
                    break
                queue.append(partner[other])
        while free is not None:
            mark = came_from[free]
            before = next((other for other, held in partner.items() if held == mark), None)
            partner[free] = mark
            free = before if mark != root else None
    return len(partner)


def _code_sets(gold: Marks, predicted: Marks) -> Counts:
    ours, theirs = _codes(predicted), _codes(gold)
    return Counts(len(ours & theirs), len(ours), len(theirs))


def _codes(marks: Marks) -> set[str]:
    return {part for mark in marks for part in parts_of(mark.code or "") if part}


# What is compared, under which scheme, and how it is counted. Concepts are of mentions with codes.
SCHEMES: dict[tuple[str, str], Count] = {
    ("spans", "strict"): _equal(lambda mark: (mark.spans, mark.group)),
    ("spans", "exact"): _equal(lambda mark: mark.spans),
    ("spans", "overlap"): _overlap(lambda mark: mark.group),
    ("concepts", "strict"): _equal(lambda mark: (mark.spans, mark.group, mark.code)),
    ("concepts", "overlap"): _overlap(lambda mark: (mark.group, mark.code)),
    ("concepts", "documents"): _code_sets,
}

Measured = dict[tuple[str, str], dict[str, Interval]]


class Miss(NamedTuple):
    """A mention that only the corpus has, or only the predictions, by borders and group."""

    document_id: str
    mark: Marked
    spurious: bool


@dataclass(frozen=True)
class EndToEnd:
    """The measures of one system. `tables` hold right, predicted and annotated mentions by
    document for each scheme, from which it is compared with others."""

    overall: Measured
    by_group: dict[str, Measured]
    tables: Mapping[tuple[str, str], Floats]
    misses: tuple[Miss, ...]
    n_gold: int
    n_predicted: int

    def to_json(self) -> dict[str, Any]:
        groups = {group: _json(measured) for group, measured in self.by_group.items()}
        counts = {"n_gold": self.n_gold, "n_predicted": self.n_predicted}
        return {**_json(self.overall), **counts, "by": {"group": groups}}


def _json(measured: Measured) -> dict[str, Any]:
    content: dict[str, Any] = {"spans": {}, "concepts": {}}
    for (kind, scheme), measures in measured.items():
        content[kind][scheme] = {name: value._asdict() for name, value in measures.items()}
    return content


def gold_marks(
    documents: Iterable[Document], group_of: Callable[[str], str]
) -> dict[str, list[Marked]]:
    """The mentions of a corpus by document, with the groups that predictions have."""
    marks: dict[str, list[Marked]] = {}
    for document in documents:
        of_document = marks.setdefault(document.id, [])
        for mention in gold_of_corpus([document]):
            code = "" if mention.gold is not None and is_no_code(mention.gold) else mention.gold
            spans, group = frozenset(mention.spans), group_of(mention.semantic_group)
            of_document.append(Marked(spans, group, code, mention.mention))
    return marks


def predicted_marks(file: PredictionFile, documents: Iterable[str]) -> dict[str, list[Marked]]:
    """The mentions of a predictions file, by document; LongbelError where it has none of them."""
    marks: dict[str, list[Marked]] = {document: [] for document in documents}
    known = 0
    for prediction in file.predictions:
        if prediction.document_id not in marks:
            continue
        known += 1
        code = prediction.answer.concept_code if prediction.answer else ""
        spans = frozenset(prediction.spans)
        made = Marked(spans, prediction.semantic_group, code, prediction.mention)
        marks[prediction.document_id].append(made)
    if file.predictions and not known:
        raise LongbelError(
            f"{file.path}: none of its documents is in the gold corpus",
            "Is it the annotated corpus of these texts?",
        )
    return marks


def end_to_end(
    gold: Mapping[str, Marks], predicted: Mapping[str, Marks], options: ScoreOptions
) -> EndToEnd:
    """All measures; documents are those of the gold."""
    pairs = [(marks, predicted[document]) for document, marks in gold.items()]
    tables = {name: _table(name, pairs) for name in SCHEMES}
    groups = sorted({mark.group for both in pairs for marks in both for mark in marks})
    by_group = {}
    for group in groups:
        of_group = [(_of(group, theirs), _of(group, ours)) for theirs, ours in pairs]
        measured = {name: _table(name, of_group) for name in SCHEMES}
        by_group[group] = _measured(measured, options)
    misses = [miss for document in gold for miss in _misses(document, gold, predicted)]
    n_gold, n_predicted = (sum(len(pair[side]) for pair in pairs) for side in (0, 1))
    overall = _measured(tables, options)
    return EndToEnd(overall, by_group, tables, tuple(misses), n_gold, n_predicted)


def _of(group: str, marks: Marks) -> list[Marked]:
    return [mark for mark in marks if mark.group == group]


def _table(name: tuple[str, str], pairs: Sequence[tuple[Marks, Marks]]) -> Floats:
    """[documents, 3]: what the scheme counts in each document."""
    compared = pairs if name[0] == "spans" else [_with_concepts(*pair) for pair in pairs]
    counts = [SCHEMES[name](gold, predicted) for gold, predicted in compared]
    return np.array(counts, np.float64).reshape(-1, 3)


def _with_concepts(gold: Marks, predicted: Marks) -> tuple[list[Marked], list[Marked]]:
    """The mentions with codes. Where the corpus does not say which concept a mention is of,
    neither does an answer to it count as wrong."""
    unknown = {(mark.spans, mark.group) for mark in gold if mark.code is None}
    answered = [mark for mark in predicted if mark.code and (mark.spans, mark.group) not in unknown]
    return [mark for mark in gold if mark.code], answered


def _ratios_of(table: Floats) -> tuple[Floats, Floats]:
    """Numerators and denominators of the three measures, by document."""
    right, predicted, gold = table.T
    above = np.stack([right, right, 2 * right], axis=1)
    return above, np.stack([predicted, gold, predicted + gold], axis=1)


def _measured(tables: Mapping[tuple[str, str], Floats], options: ScoreOptions) -> Measured:
    above, below = (
        np.concatenate(part, axis=1) for part in zip(*map(_ratios_of, tables.values()), strict=True)
    )
    samples = resampled_ratios(above, below, options.n_boot, options.seed)
    values = iter(intervals(ratios(above, below), samples))
    return {name: {measure: next(values) for measure in MEASURES} for name in tables}


def _misses(document: str, gold: Mapping[str, Marks], predicted: Mapping[str, Marks]) -> list[Miss]:
    ours, theirs = predicted[document], gold[document]
    return [
        *(Miss(document, mark, False) for mark in _left(theirs, ours)),
        *(Miss(document, mark, True) for mark in _left(ours, theirs)),
    ]


def _left(marks: Marks, others: Marks) -> list[Marked]:
    """Those without an equal one among the others."""
    there = Counter((mark.spans, mark.group) for mark in others)
    left = []
    for mark in marks:
        key = (mark.spans, mark.group)
        there[key] -= 1
        if there[key] < 0:
            left.append(mark)
    return left


def marks_hash(gold: Mapping[str, Marks]) -> str:
    """A hash of all mentions of a corpus with their codes, in any order."""
    lines = sorted(
        f"{document}\t{sorted(mark.spans)}\t{mark.group}\t{mark.code}"
        for document, marks in gold.items()
        for mark in marks
    )
    return sha256_of("\n".join(lines).encode())[:SHORT_HASH]


# Systems compared -----------------------------------------------------------------------------

Leads = dict[tuple[str, str], Difference]


def compared(first: EndToEnd, others: Sequence[EndToEnd], options: ScoreOptions) -> list[Leads]:
    """For each other system, by scheme: the first system's F1 less its own."""
    by_system: list[Leads] = [{} for _ in others]
    for name, table in first.tables.items():
        raw = [_lead(table, other.tables[name], options) for other in others]
        adjusted = holm([lead[2] for lead in raw])
        for leads, lead, p_holm in zip(by_system, raw, adjusted, strict=True):
            leads[name] = Difference(*lead, p_holm)
    return by_system


def leads_json(leads: Leads) -> dict[str, Any]:
    """The differences in F1, by what is compared and scheme."""
    content: dict[str, Any] = {"spans": {}, "concepts": {}}
    for (kind, scheme), difference in leads.items():
        content[kind][scheme] = difference.to_json()
    return content


def _lead(ours: Floats, theirs: Floats, options: ScoreOptions) -> tuple[Interval, float, float]:
    samples = [
        resampled_ratios(above[:, 2:], below[:, 2:], options.n_boot, options.seed)[:, 0]
        for above, below in (_ratios_of(ours), _ratios_of(theirs))
    ]
    apart = samples[0] - samples[1]
    lead = _f1(ours.sum(axis=0)) - _f1(theirs.sum(axis=0))
    interval = percentile_interval(float(lead), apart)
    return interval, bootstrap_p(apart), _randomized(ours, theirs, options)


def _f1(sums: Floats) -> Floats:
    """Of right, predicted and annotated, in the last axis; 0 where there is nothing."""
    total = sums[..., 1] + sums[..., 2]
    return np.divide(2 * sums[..., 0], total, out=np.zeros_like(total), where=total != 0)


def _randomized(ours: Floats, theirs: Floats, options: ScoreOptions) -> float:
    """As `bootstrap.randomization_p`, of F1, which is no sum over documents."""
    observed = abs(_f1(ours.sum(axis=0)) - _f1(theirs.sum(axis=0)))
    both, apart = ours.sum(axis=0) + theirs.sum(axis=0), ours - theirs
    rng = np.random.default_rng(options.seed)
    at_once, hits = max(1, DRAWS_AT_ONCE // max(1, len(ours))), 0
    for start in range(0, options.n_boot, at_once):
        rows = min(at_once, options.n_boot - start)
        signs = rng.integers(2, size=(rows, len(ours)), dtype=np.int8) * 2.0 - 1.0
        swapped = signs @ apart
        drawn = np.abs(_f1((both + swapped) / 2) - _f1((both - swapped) / 2))
        hits += int(np.count_nonzero(drawn >= observed - 1e-12))
    return (hits + 1) / (options.n_boot + 1)
