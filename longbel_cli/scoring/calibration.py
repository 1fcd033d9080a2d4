"""Whether scores can be trusted: calibration, risk and coverage, and a threshold for review.

The score of a mention is that of its first candidate. A mention without one has no confidence: it
is left out of the calibration, and below any threshold.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from longbel_cli.scoring.bootstrap import (
    DRAWS_AT_ONCE,
    Floats,
    Interval,
    document_counts,
    percentile_interval,
    resampled_ratios,
)
from longbel_cli.scoring.metrics import Evaluated

N_BINS = 10
CURVE_POINTS = 200
JSON_POINTS = 50


class Bin(NamedTuple):
    """Scores from `low` to `high` (the last bin includes 1): how many, how sure, how right."""

    low: float
    high: float
    n: int
    confidence: float | None
    accuracy: float | None


@dataclass(frozen=True)
class Calibration:
    """The reliability diagram and the expected calibration error (None without scores)."""

    bins: tuple[Bin, ...]
    ece: float | None
    n: int

    def to_json(self) -> dict[str, Any]:
        return {"ece": self.ece, "n": self.n, "bins": [bin._asdict() for bin in self.bins]}


def top_scores(evaluated: Evaluated) -> Floats:
    """The score of each mention's first candidate [mentions]; NaN where there is none."""
    return np.array([np.nan if m.top is None else m.top.score for m in evaluated.mentions])


def calibration(scores: Floats, right: npt.NDArray[np.bool_], n_bins: int = N_BINS) -> Calibration:
    """Bins of equal width over [0, 1]; error = sum over bins of share x |accuracy - confidence|.

    None of it where a score is outside [0, 1]: it is then no probability.
    """
    usable = ~np.isnan(scores)
    scores, right = scores[usable], right[usable]
    if not len(scores) or scores.min() < 0 or scores.max() > 1:
        return Calibration((), None, 0)
    bin_of = np.minimum((scores * n_bins).astype(np.int64), n_bins - 1)
    counts = np.bincount(bin_of, minlength=n_bins)
    confidence = np.bincount(bin_of, weights=scores, minlength=n_bins)
    accuracy = np.bincount(bin_of, weights=right, minlength=n_bins)
    bins = tuple(
        Bin(
            index / n_bins,
            (index + 1) / n_bins,
            int(n),
            float(confidence[index] / n) if n else None,
            float(accuracy[index] / n) if n else None,
        )
        for index, n in enumerate(counts)
    )
    return Calibration(bins, float(np.abs(accuracy - confidence).sum() / len(scores)), len(scores))


# Risk and coverage ----------------------------------------------------------------------------


class Point(NamedTuple):
    """Accepting all mentions scored `threshold` or more: their share, and the errors in them."""

    threshold: float
    coverage: float
    risk: float


@dataclass(frozen=True)
class RiskCoverage:
    """The curve from the surest mentions to all that have a score, and the area under it.

    The area is the mean risk over mentions, each with the risk of accepting it and all that are
    as sure or surer; mentions without a score come last.
    """

    points: tuple[Point, ...]
    area: float

    def to_json(self) -> dict[str, Any]:
        return {
            "aurc": self.area,
            "points": [list(point) for point in thinned(self.points, JSON_POINTS)],
        }


def thinned(points: Sequence[Point], n: int = CURVE_POINTS) -> list[Point]:
    """At most `n` points of a curve, evenly by number, the first and the last among them."""
    if len(points) <= n:
        return list(points)
    return [points[round(i * (len(points) - 1) / (n - 1))] for i in range(n)]


class _Sorted(NamedTuple):
    """Mentions by falling score; `ends` are the last positions of equal scores."""

    order: npt.NDArray[np.int64]
    scores: Floats
    right: Floats
    ends: npt.NDArray[np.int64]


def _sorted(scores: Floats, right: npt.NDArray[np.bool_]) -> _Sorted:
    keys = np.where(np.isnan(scores), -np.inf, scores)
    order = np.argsort(-keys, kind="stable")
    keys = keys[order]
    last = np.append(keys[1:] != keys[:-1], True)
    return _Sorted(order, keys, right[order].astype(np.float64), np.flatnonzero(last))


def risk_coverage(scores: Floats, right: npt.NDArray[np.bool_]) -> RiskCoverage:
    """The curve over all distinct scores."""
    by_score = _sorted(scores, right)
    accepted = by_score.ends + 1
    risks = 1 - np.cumsum(by_score.right)[by_score.ends] / accepted
    sizes = np.diff(accepted, prepend=0)
    points = tuple(
        Point(float(by_score.scores[end]), float((end + 1) / len(scores)), float(risk))
        for end, risk in zip(by_score.ends, risks, strict=True)
        if by_score.scores[end] > -np.inf
    )
    return RiskCoverage(points, float((risks * sizes).sum() / len(scores)))


# A threshold for review -----------------------------------------------------------------------


@dataclass(frozen=True)
class Triage:
    """Which mentions a person still reviews so that the others are right often enough.

    `threshold` is None where no threshold reaches the target: all are then reviewed. `precision`
    is that of the accepted at the threshold. The interval of `review` chooses the threshold anew
    in each resample.
    """

    target: float
    threshold: float | None
    precision: Interval
    review: Interval
    n_review: int

    def to_json(self) -> dict[str, Any]:
        return {
            "target_precision": self.target,
            "threshold": self.threshold,
            "precision": self.precision._asdict(),
            "review": self.review._asdict(),
            "n_review": self.n_review,
        }


def triage(evaluated: Evaluated, scores: Floats, target: float, n_boot: int, seed: int) -> Triage:
    """The threshold that accepts most mentions with at least `target` of them right."""
    by_score = _sorted(scores, evaluated.right)
    # A cut below the last score would accept mentions that have none.
    ends = by_score.ends[by_score.scores[by_score.ends] > -np.inf]
    n = len(scores)
    everything = np.ones((1, n))
    accepted = float(_accepted(everything, by_score.right, ends, target)[0])
    threshold = float(by_score.scores[int(accepted) - 1]) if accepted else None
    samples = _review_samples(evaluated, by_score, ends, target, n_boot, seed)
    inside = np.zeros(n) if threshold is None else np.nan_to_num(scores, nan=-np.inf) >= threshold
    above = evaluated.per_document(inside * evaluated.right)[:, None]
    below = evaluated.per_document(inside * 1.0)[:, None]
    value = float(above.sum() / below.sum()) if accepted else np.nan
    precision = resampled_ratios(above, below, n_boot, seed)[:, 0]
    return Triage(
        target,
        threshold,
        percentile_interval(value, precision),
        percentile_interval(1 - accepted / n, samples),
        n - int(accepted),
    )


def _accepted(weights: Floats, right: Floats, ends: npt.NDArray[np.int64], target: float) -> Floats:
    """How many are accepted under the best threshold: weights [resamples, mentions by score]."""
    if not len(ends):
        return np.zeros(len(weights))
    taken = np.cumsum(weights, axis=1)[:, ends]
    good = np.cumsum(weights * right, axis=1)[:, ends]
    reaches = (good >= target * taken - 1e-9) & (taken > 0)
    best = np.where(reaches, taken, 0).max(axis=1)
    return best.astype(np.float64)


def _review_samples(
    evaluated: Evaluated,
    by_score: _Sorted,
    ends: npt.NDArray[np.int64],
    target: float,
    n_boot: int,
    seed: int,
) -> Floats:
    documents = evaluated.document_of[by_score.order]
    at_once = max(1, DRAWS_AT_ONCE // len(documents))
    samples: list[Floats] = []
    for counts in document_counts(len(evaluated.documents), n_boot, seed):
        for start in range(0, len(counts), at_once):
            weights = counts[start : start + at_once][:, documents]
            accepted = _accepted(weights, by_score.right, ends, target)
            samples.append(1 - accepted / weights.sum(axis=1))
    return np.concatenate(samples)
