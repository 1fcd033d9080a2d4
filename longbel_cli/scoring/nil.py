"""How well "no concept" is told: mentions whose gold is no concept of the knowledge base.

A mention is answered with no concept where it has no answer, or one that scores below a threshold.
The threshold belongs to who reads a run, so it is applied here and not while linking.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from longbel_cli.scoring.bootstrap import (
    Floats,
    Interval,
    document_counts,
    intervals,
    percentile_interval,
    ratios,
    resampled_ratios,
)
from longbel_cli.scoring.calibration import top_scores
from longbel_cli.scoring.metrics import Evaluated, ScoreOptions

_MOST_THRESHOLDS = 200
JSON_POINTS = 50


class Point(NamedTuple):
    """Rates of one threshold over all documents; None where there is nothing to divide by."""

    threshold: float
    precision: float | None
    recall: float | None
    f1: float | None
    accuracy_inside: float | None
    accuracy: float | None


# The name of each rate and what it is, over mentions.
RATES = {
    "precision": "gold has no concept, of those answered with none",
    "recall": "answered with none, of those whose gold has no concept",
    "f1": "harmonic mean of these two",
    "accuracy_inside": "right answers, of mentions whose gold has a concept",
    "accuracy": "right answers and rightly none, of all mentions",
}


@dataclass(frozen=True)
class NilScore:
    """Rates at `threshold` (None: only mentions without an answer are none) with intervals, the
    curve over thresholds, and the threshold with the best accuracy on these documents: with its
    interval, and that accuracy's."""

    threshold: float | None
    n_nil: int
    n_inside: int
    rates: dict[str, Interval]
    curve: tuple[Point, ...]
    best: Interval
    best_accuracy: Interval

    def to_json(self) -> dict[str, Any]:
        step = max(1, len(self.curve) // JSON_POINTS)
        return {
            "threshold": self.threshold,
            "n_nil": self.n_nil,
            "n_inside": self.n_inside,
            **{name: interval._asdict() for name, interval in self.rates.items()},
            "best": {
                "threshold": self.best._asdict(),
                "accuracy": self.best_accuracy._asdict(),
            },
            "curve": [point._asdict() for point in self.curve[::step]],
        }


def nil_score(
    evaluated: Evaluated,
    is_nil: npt.NDArray[np.bool_],
    options: ScoreOptions,
    threshold: float | None = None,
) -> NilScore:
    """Score "no concept" over mentions, of which `is_nil` says whose gold is none.

    Scores are compared with 6 decimals, as they are written. Of thresholds that are equally good
    the smallest stands, of which 0 is one that changes nothing.
    """
    scores = top_scores(evaluated).round(6)
    tally = _Tally(evaluated, is_nil, scores)
    counts = tally.at(-np.inf if threshold is None else threshold)
    above, below = _rates(counts)
    samples = resampled_ratios(above, below, options.n_boot, options.seed)
    values = intervals(ratios(above, below), samples)
    thresholds = _thresholds(scores)
    all_counts = [tally.at(each) for each in thresholds]
    best, best_accuracy = _best(thresholds, all_counts, tally.sizes, options)
    return NilScore(
        threshold,
        int(is_nil.sum()),
        int((~is_nil).sum()),
        dict(zip(RATES, values, strict=True)),
        tuple(_point(each, of) for each, of in zip(thresholds, all_counts, strict=True)),
        best,
        best_accuracy,
    )


class _Counts(NamedTuple):
    """Of each document [documents]: mentions answered with none, those rightly, right answers to
    the others, and how many mentions have a gold of none and of a concept."""

    answered_none: Floats
    rightly_none: Floats
    right: Floats
    nil: Floats
    inside: Floats


class _Tally:
    """Counts by document, at any threshold."""

    def __init__(self, evaluated: Evaluated, is_nil: npt.NDArray[np.bool_], scores: Floats) -> None:
        self._evaluated, self._is_nil, self._scores = evaluated, is_nil, scores
        self._right = evaluated.right & ~is_nil
        self._unanswered = np.array([mention.top is None for mention in evaluated.mentions])
        self._nil, self._inside = (evaluated.per_document(each) for each in (is_nil, ~is_nil))
        self.sizes = self._nil + self._inside

    def at(self, threshold: float) -> _Counts:
        none = (self._scores < threshold) | self._unanswered  # an unknown score is below none
        per_document = self._evaluated.per_document
        return _Counts(
            per_document(none),
            per_document(none & self._is_nil),
            per_document(self._right & ~none),
            self._nil,
            self._inside,
        )


def _rates(counts: _Counts) -> tuple[Floats, Floats]:
    """Numerators and denominators of RATES, by document."""
    above = [counts.rightly_none, counts.rightly_none, 2 * counts.rightly_none, counts.right]
    above.append(counts.right + counts.rightly_none)
    below = [counts.answered_none, counts.nil, counts.answered_none + counts.nil, counts.inside]
    below.append(counts.nil + counts.inside)
    return np.stack(above, axis=1), np.stack(below, axis=1)


def _point(threshold: float, counts: _Counts) -> Point:
    values = ratios(*_rates(counts))
    return Point(threshold, *(None if np.isnan(value) else float(value) for value in values))


def _thresholds(scores: Floats) -> list[float]:
    """Scores that are there, thinned to so many, from one that changes nothing to one above all."""
    known = np.unique(scores[np.isfinite(scores)])
    if not len(known):
        return [0.0]
    if len(known) > _MOST_THRESHOLDS:
        known = np.unique(np.quantile(known, np.linspace(0, 1, _MOST_THRESHOLDS), method="lower"))
    above_all = float(known[-1]) + 1e-6
    return [min(0.0, float(known[0])), *known[1:].tolist(), above_all]


def _best(
    thresholds: Sequence[float], all_counts: Sequence[_Counts], sizes: Floats, options: ScoreOptions
) -> tuple[Interval, Interval]:
    """The threshold with the best accuracy, and that accuracy; in resamples each has its own."""
    right = np.stack([counts.right + counts.rightly_none for counts in all_counts], axis=1)
    chosen, accuracies = [], []
    for counts in document_counts(len(sizes), options.n_boot, options.seed):
        sums = counts @ right
        first = np.argmax(sums, axis=1)  # of equal ones the smallest threshold
        chosen.append(np.asarray(thresholds)[first])
        accuracies.append(sums[np.arange(len(sums)), first] / (counts @ sizes))
    totals = right.sum(axis=0)
    best = int(np.argmax(totals))
    return (
        percentile_interval(thresholds[best], np.concatenate(chosen)),
        percentile_interval(float(totals[best] / sizes.sum()), np.concatenate(accuracies)),
    )
