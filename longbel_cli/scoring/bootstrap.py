"""Resampling over documents: percentile intervals, paired differences, randomization.

Works on sums per document and knows nothing of mentions. All statistics are ratios of two sums
(right mentions over mentions, say), so a resample is one row of document counts times a matrix.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

LEVEL = 0.95
# Draws held at once: 4 million 64-bit draws and their counts are 64 MB.
DRAWS_AT_ONCE = 4_000_000


class Interval(NamedTuple):
    """A value and its percentile interval; all None where there is nothing to divide by."""

    value: float | None
    low: float | None
    high: float | None

    @property
    def half_width(self) -> float | None:
        """The `3.4` of `75.4 ± 3.4`."""
        return None if self.low is None or self.high is None else (self.high - self.low) / 2


def document_counts(n_documents: int, n_boot: int, seed: int) -> Iterator[Floats]:
    """How often each document is drawn in each resample: blocks [resamples, documents].

    The draws are those of `n_boot` calls of `integers(n_documents, size=n_documents)`, whatever
    the size of the blocks.
    """
    rng = np.random.default_rng(seed)
    at_once = max(1, DRAWS_AT_ONCE // max(1, n_documents))
    for start in range(0, n_boot, at_once):
        rows = min(at_once, n_boot - start)
        draws = rng.integers(n_documents, size=(rows, n_documents))
        draws += np.arange(rows)[:, None] * n_documents
        counts = np.bincount(draws.ravel(), minlength=rows * n_documents)
        yield counts.reshape(rows, n_documents).astype(np.float64)


def resampled_ratios(numerators: Floats, denominators: Floats, n_boot: int, seed: int) -> Floats:
    """Each ratio in each resample: [documents, ratios] twice -> [n_boot, ratios].

    NaN where a resample has no mention to divide by.
    """
    n_documents, n_ratios = numerators.shape
    samples = np.full((n_boot, n_ratios), np.nan)
    if n_documents == 0:
        return samples
    row = 0
    for counts in document_counts(n_documents, n_boot, seed):
        above, below = counts @ numerators, counts @ denominators
        block = samples[row : row + len(counts)]
        np.divide(above, below, out=block, where=below != 0)
        row += len(counts)
    return samples


def ratios(numerators: Floats, denominators: Floats) -> Floats:
    """The ratios themselves, [documents, ratios] twice -> [ratios]; NaN for 0 over 0."""
    above, below = numerators.sum(axis=0), denominators.sum(axis=0)
    return np.divide(above, below, out=np.full(len(above), np.nan), where=below != 0)


def percentile_interval(value: float, samples: Floats, level: float = LEVEL) -> Interval:
    """The value with the percentiles of its resamples, those without a ratio left out."""
    if np.isnan(value):
        return Interval(None, None, None)
    usable = samples[~np.isnan(samples)]
    if not len(usable):
        return Interval(float(value), None, None)
    tail = (1 - level) / 2
    low, high = np.quantile(usable, [tail, 1 - tail])
    return Interval(float(value), float(low), float(high))


def intervals(values: Floats, samples: Floats, level: float = LEVEL) -> list[Interval]:
    """`percentile_interval` of each column."""
    return [
        percentile_interval(value, samples[:, column], level) for column, value in enumerate(values)
    ]


def bootstrap_p(difference_samples: Floats) -> float:
    """Two-sided p of no difference: twice the smaller tail beyond zero, resamples plus one.

    Zero counts in both tails, so equal systems have p = 1.
    """
    usable = difference_samples[~np.isnan(difference_samples)]
    below = (1 + np.count_nonzero(usable <= 0)) / (1 + len(usable))
    above = (1 + np.count_nonzero(usable >= 0)) / (1 + len(usable))
    return float(min(1.0, 2 * min(below, above)))


def randomization_p(differences: Floats, n_trials: int, seed: int) -> float:
    """Two-sided p of approximate randomization: documents swap systems at random.

    `differences` [documents] are the sums of one system less those of the other, over the same
    mentions; swapping a document turns its sign. (hits + 1) / (trials + 1), a hit being a
    difference at least as far from zero.
    """
    # Sums of halves and thirds round, by less than this: a hair below the observed difference
    # equals it. Of the terms' size, not of their sum's, which may be zero but for rounding.
    least = abs(differences.sum()) - 1e-12 * np.abs(differences).sum()
    rng = np.random.default_rng(seed)
    at_once = max(1, DRAWS_AT_ONCE // max(1, len(differences)))
    hits = 0
    for start in range(0, n_trials, at_once):
        rows = min(at_once, n_trials - start)
        signs = rng.integers(2, size=(rows, len(differences)), dtype=np.int8) * 2.0 - 1.0
        hits += int(np.count_nonzero(np.abs(signs @ differences) >= least))
    return (hits + 1) / (n_trials + 1)


def holm(p_values: list[float]) -> list[float]:
    """p-values adjusted for their number by Holm's step-down, in the order given."""
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    adjusted = [0.0] * len(p_values)
    largest = 0.0
    for position, index in enumerate(order):
        largest = max(largest, min(1.0, p_values[index] * (len(p_values) - position)))
        adjusted[index] = largest
    return adjusted
