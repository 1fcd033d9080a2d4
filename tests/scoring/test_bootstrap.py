"""Resampling: against a plain loop, against SciPy, and against the truth by simulation."""

from __future__ import annotations

import numpy as np
import pytest

from longbel_cli.scoring import bootstrap
from longbel_cli.scoring.bootstrap import (
    Floats,
    Interval,
    bootstrap_p,
    holm,
    intervals,
    percentile_interval,
    randomization_p,
    ratios,
    resampled_ratios,
)


def made_up(seed: int, n_documents: int, n_ratios: int = 1) -> tuple[Floats, Floats]:
    """Right mentions and mentions per document; some documents are hard, some long."""
    rng = np.random.default_rng(seed)
    sizes = 1 + rng.poisson(9, size=(n_documents, n_ratios))
    ease = rng.beta(6, 2, size=(n_documents, 1))
    return rng.binomial(sizes, ease).astype(np.float64), sizes.astype(np.float64)


def by_plain_loop(above: Floats, below: Floats, n_boot: int, seed: int) -> list[float]:
    rng = np.random.default_rng(seed)
    result = []
    for _ in range(n_boot):
        drawn = rng.integers(len(above), size=len(above))
        right = total = 0.0
        for document in drawn:
            right += above[document, 0]
            total += below[document, 0]
        result.append(right / total)
    return result


def test_resamples_equal_a_plain_loop() -> None:
    above, below = made_up(seed=1, n_documents=17)
    expected = by_plain_loop(above, below, n_boot=50, seed=3)
    samples = resampled_ratios(above, below, n_boot=50, seed=3)
    assert samples[:, 0].tolist() == pytest.approx(expected, abs=1e-15)


def test_the_size_of_the_blocks_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    above, below = made_up(seed=1, n_documents=17, n_ratios=3)
    whole = resampled_ratios(above, below, n_boot=50, seed=3)
    monkeypatch.setattr(bootstrap, "DRAWS_AT_ONCE", 17 * 7)
    assert np.array_equal(resampled_ratios(above, below, n_boot=50, seed=3), whole)


def test_percentiles_of_known_samples() -> None:
    # 0, 1, …, 1000: the 2.5th percentile is 25 and the 97.5th 975, by any definition.
    samples = np.arange(1001, dtype=np.float64)
    assert percentile_interval(500.0, samples) == pytest.approx((500.0, 25.0, 975.0))
    assert Interval(0.75, 0.72, 0.79).half_width == pytest.approx(0.035)


def test_nothing_to_divide_by() -> None:
    above, below = np.zeros((4, 2)), np.zeros((4, 2))
    below[:, 0] = [2, 0, 0, 0]
    above[:, 0] = [1, 0, 0, 0]
    result = intervals(ratios(above, below), resampled_ratios(above, below, 200, seed=0))
    # A resample without the one document that has mentions says nothing of the ratio.
    assert result == [Interval(0.5, 0.5, 0.5), Interval(None, None, None)]
    assert result[1].half_width is None


def coverage(n_simulations: int, n_documents: int, n_boot: int, seed: int) -> float:
    """How often the interval holds the true ratio, 6 / (6 + 2); a simulation is a column."""
    rng = np.random.default_rng(seed)
    sizes = 1 + rng.poisson(9, size=(n_documents, n_simulations))
    right = rng.binomial(sizes, rng.beta(6, 2, size=sizes.shape)).astype(np.float64)
    below = sizes.astype(np.float64)
    samples = resampled_ratios(right, below, n_boot, seed)
    held = 0
    for interval in intervals(ratios(right, below), samples):
        assert interval.low is not None and interval.high is not None
        held += interval.low <= 0.75 <= interval.high
    return held / n_simulations


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    result = coverage(n_simulations=2500, n_documents=150, n_boot=1000, seed=0)
    assert result == pytest.approx(0.95, abs=0.015)


@pytest.mark.slow
@pytest.mark.parametrize("n_documents", [60, 150, 600])
def test_intervals_hold_the_truth_with_few_and_many_documents(n_documents: int) -> None:
    result = [coverage(2000, n_documents, n_boot=1000, seed=seed) for seed in range(8)]
    assert np.mean(result) == pytest.approx(0.95, abs=0.015)


# Tests of difference --------------------------------------------------------------------------


def test_intervals_are_those_of_scipy() -> None:
    stats = pytest.importorskip("scipy.stats")
    above, below = made_up(seed=2, n_documents=60)
    theirs = stats.bootstrap(
        (above[:, 0], below[:, 0]),
        lambda a, b, axis: a.sum(axis=axis) / b.sum(axis=axis),
        paired=True,
        vectorized=True,
        method="percentile",
        n_resamples=20_000,
        rng=np.random.default_rng(0),
    ).confidence_interval
    ours = intervals(ratios(above, below), resampled_ratios(above, below, 20_000, seed=0))[0]
    assert ours.low == pytest.approx(theirs.low, abs=0.002)
    assert ours.high == pytest.approx(theirs.high, abs=0.002)


@pytest.mark.parametrize("lead", [0.0, 0.4, 0.8, 1.5])
def test_randomization_is_that_of_scipy(lead: float) -> None:
    stats = pytest.importorskip("scipy.stats")
    rng = np.random.default_rng(5)
    first, second = rng.integers(0, 9, 12) + lead, rng.integers(0, 9, 12)
    exact = stats.permutation_test(
        (first, second),
        lambda a, b, axis: (a - b).sum(axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=np.inf,
    ).pvalue
    ours = randomization_p(first - second, n_trials=40_000, seed=0)
    assert ours == pytest.approx(exact, abs=0.01)


@pytest.mark.parametrize("lead", [0.0, 0.05, 0.1, 0.2])
def test_p_values_agree_with_the_paired_t_test_of_many_documents(lead: float) -> None:
    stats = pytest.importorskip("scipy.stats")
    rng = np.random.default_rng(6)
    first, second = rng.normal(lead, 1, 500), rng.normal(0, 1, 500)
    expected = stats.ttest_rel(first, second).pvalue
    differences = (first - second)[:, None]
    samples = resampled_ratios(differences, np.ones_like(differences), 10_000, seed=0)[:, 0]
    assert bootstrap_p(samples) == pytest.approx(expected, abs=0.02)
    assert randomization_p(first - second, 10_000, seed=0) == pytest.approx(expected, abs=0.02)


def test_equal_systems_do_not_differ() -> None:
    assert bootstrap_p(np.zeros(1000)) == 1.0
    assert randomization_p(np.zeros(30), n_trials=1000, seed=0) == 1.0


def test_p_values_by_hand() -> None:
    # Of 99 resamples 3 are at or below zero: 2 x (3 + 1) / (99 + 1).
    samples = np.array([-1.0, -2.0, 0.0] + [1.0] * 96)
    assert bootstrap_p(samples) == pytest.approx(0.08)
    # Two documents, differences 1 and 1: |sum| reaches 2 in half of the four sign patterns.
    assert randomization_p(np.array([1.0, 1.0]), 20_000, seed=0) == pytest.approx(0.5, abs=0.01)


def test_a_difference_of_zero_that_rounds_is_zero() -> None:
    # The sum is 5.6e-17, and each way to swap documents is at least as far from zero as zero is.
    differences = np.array([2 / 3, -1 / 12, -2 / 3, 1 / 12])
    assert differences.sum() != 0
    assert randomization_p(differences, 1000, seed=1) == 1.0


def test_no_p_value_is_zero() -> None:
    assert bootstrap_p(np.ones(999)) == pytest.approx(0.002)
    assert randomization_p(np.ones(60), n_trials=999, seed=0) == pytest.approx(0.001)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([0.01], [0.01]),
        # Sorted 0.01, 0.03, 0.04 times 3, 2, 1 is 0.03, 0.06, 0.04, and never falls.
        ([0.04, 0.01, 0.03], [0.06, 0.03, 0.06]),
        ([0.5, 0.6], [1.0, 1.0]),
        ([], []),
    ],
)
def test_holm(given: list[float], expected: list[float]) -> None:
    assert holm(given) == pytest.approx(expected)
