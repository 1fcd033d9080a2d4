"""Calibration, risk and coverage, and the threshold for review, worked by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from longbel_cli.scoring.calibration import (
    Point,
    calibration,
    risk_coverage,
    thinned,
    top_scores,
    triage,
)
from longbel_cli.scoring.metrics import Evaluated, evaluate
from longbel_cli.types import Marks
from tests.support.score_cases import joined, mention, prediction

NAN = math.nan


def floats(*values: float) -> np.ndarray:
    return np.array(values, dtype=np.float64)


def flags(text: str) -> np.ndarray:
    """`x` is right, `.` is wrong."""
    return np.array([character == "x" for character in text])


def test_expected_calibration_error() -> None:
    # Two bins: 0.2 and 0.4 (mean 0.3, half right), 0.8 and 1.0 and 0.9 (mean 0.9, two thirds).
    result = calibration(floats(0.2, 0.8, 0.4, 1.0, 0.9, NAN), flags("xx.x.x"), n_bins=2)
    assert result.ece == pytest.approx(2 / 5 * abs(0.5 - 0.3) + 3 / 5 * abs(2 / 3 - 0.9))
    assert result.n == 5
    assert [bin.n for bin in result.bins] == [2, 3]
    assert result.bins[0].confidence == pytest.approx(0.3)
    assert result.bins[1].accuracy == pytest.approx(2 / 3)


@pytest.mark.parametrize("scores", [(NAN, NAN), (0.5, 1.2), (-0.1, 0.3)])
def test_scores_that_are_no_probabilities_have_no_calibration(scores: tuple[float, ...]) -> None:
    assert calibration(floats(*scores), flags("x.")).ece is None


def test_perfect_scores_have_no_error() -> None:
    result = calibration(floats(*[1.0] * 4, *[0.0] * 4), flags("xxxx...."))
    assert result.ece == 0.0
    assert [bin.n for bin in result.bins if bin.n] == [4, 4]


def test_risk_and_coverage() -> None:
    # From the surest: right, wrong, right, and one without a score, which is wrong.
    result = risk_coverage(floats(0.5, 0.9, NAN, 0.7), flags("xx.."))
    assert result.points == (
        Point(0.9, 1 / 4, 0.0),
        Point(0.7, 2 / 4, 1 / 2),
        Point(0.5, 3 / 4, pytest.approx(1 / 3)),
    )
    assert result.area == pytest.approx((0 + 1 / 2 + 1 / 3 + 2 / 4) / 4)


def test_equal_scores_are_accepted_together() -> None:
    result = risk_coverage(floats(0.9, 0.9, 0.9, 0.2), flags(".xxx"))
    assert result.points == (
        Point(0.9, 3 / 4, pytest.approx(1 / 3)),
        Point(0.2, 1.0, pytest.approx(1 / 4)),
    )
    assert result.area == pytest.approx((3 * 1 / 3 + 1 / 4) / 4)


def test_a_long_curve_keeps_its_ends() -> None:
    points = [Point(1 - i / 1000, i / 1000, 0.1) for i in range(1000)]
    result = thinned(points, 20)
    assert len(result) == 20
    assert (result[0], result[-1]) == (points[0], points[-1])


# A threshold for review -----------------------------------------------------------------------


def evaluated(*rows: tuple[str, float, bool]) -> Evaluated:
    """Mentions by place, score of the first candidate, and whether it is right."""
    mentions = [
        mention(location, "X", "X" if right else "Y", scores=(score,))
        for location, score, right in rows
    ]
    return evaluate(joined(*mentions).mentions)


ROWS = (
    ("a:0", 0.95, True),
    ("a:1", 0.90, True),
    ("b:0", 0.80, False),
    ("b:1", 0.70, True),
    ("c:0", 0.60, True),
    ("c:1", 0.10, False),
)


@pytest.mark.parametrize(
    ("target", "threshold", "review"),
    [
        (1.0, 0.90, 4 / 6),
        # 2 of 2, 2 of 3, 3 of 4, 4 of 5, 4 of 6 are right: 0.8 is reached again at 0.60.
        (0.8, 0.60, 1 / 6),
        (0.75, 0.60, 1 / 6),
        (0.6, 0.10, 0.0),
    ],
)
def test_the_threshold_accepts_as_many_as_it_can(
    target: float, threshold: float, review: float
) -> None:
    result = triage(evaluated(*ROWS), top_scores(evaluated(*ROWS)), target, n_boot=50, seed=0)
    assert result.threshold == threshold
    assert result.review.value == pytest.approx(review)
    assert result.n_review == round(review * 6)
    assert result.precision.value is not None and result.precision.value >= target


def test_a_target_that_no_threshold_reaches() -> None:
    rows = [("a:0", 0.9, False), ("b:0", 0.8, True)]
    result = triage(evaluated(*rows), top_scores(evaluated(*rows)), 0.9, n_boot=50, seed=0)
    assert result.threshold is None
    assert (result.review.value, result.n_review) == (1.0, 2)
    assert result.precision.value is None


def test_mentions_without_a_score_are_never_accepted() -> None:
    table = (mention("a:0", "X", "X", scores=(0.9,)), mention("b:0", "X"))
    result = triage(evaluate(table), top_scores(evaluate(table)), 0.1, n_boot=50, seed=0)
    assert result.threshold == 0.9
    assert result.n_review == 1


def test_the_intervals_are_a_plain_loop_over_resampled_documents() -> None:
    rng = np.random.default_rng(3)
    rows = [
        (f"{document}:{start}", round(float(sure), 1), bool(rng.random() < sure))
        for document in range(15)
        for start, sure in enumerate(rng.random(6))
    ]
    target = 0.7
    by_document = [[row[1:] for row in rows if row[0].startswith(f"{d}:")] for d in range(15)]
    rng = np.random.default_rng(11)
    overall = triage(evaluated(*rows), top_scores(evaluated(*rows)), target, n_boot=1, seed=0)
    assert overall.threshold is not None
    shares, precisions = [], []
    for _ in range(100):
        drawn = [row for d in rng.integers(15, size=15) for row in by_document[d]]
        best = 0
        for threshold in {score for score, _ in drawn}:
            accepted = [right for score, right in drawn if score >= threshold]
            if sum(accepted) >= target * len(accepted):
                best = max(best, len(accepted))
        shares.append(1 - best / len(drawn))
        sure = [right for score, right in drawn if score >= overall.threshold]
        precisions.append(sum(sure) / len(sure))
    low, high = np.quantile(shares, [0.025, 0.975])
    result = triage(evaluated(*rows), top_scores(evaluated(*rows)), target, n_boot=100, seed=11)
    assert (result.review.low, result.review.high) == pytest.approx((low, high))
    low, high = np.quantile(precisions, [0.025, 0.975])
    assert (result.precision.low, result.precision.high) == pytest.approx((low, high))


@pytest.mark.parametrize(
    ("scores", "min_score", "review"),
    [
        ((0.9,), 0.5, False),
        ((0.5,), 0.5, False),
        ((0.4,), 0.5, True),
        ((), 0.5, True),
        # Written as 0.581133; a threshold read from the file accepts it.
        ((0.58113299999,), 0.581133, False),
        ((NAN,), 0.5, True),
    ],
)
def test_marking_for_review(scores: tuple[float, ...], min_score: float, review: bool) -> None:
    codes = ("C1",) * len(scores)
    marked = Marks(min_score).of(prediction("a:0", *codes, scores=scores))
    assert marked.review is review


def test_the_threshold_marks_just_the_mentions_that_it_left() -> None:
    result = triage(evaluated(*ROWS), top_scores(evaluated(*ROWS)), 0.8, n_boot=10, seed=0)
    assert result.threshold is not None
    predictions = [prediction(location, "X", scores=(score,)) for location, score, _ in ROWS]
    marked = [Marks(result.threshold).of(found_one).review for found_one in predictions]
    assert marked.count(True) == result.n_review
