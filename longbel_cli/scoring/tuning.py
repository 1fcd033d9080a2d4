"""Chooses how several systems' predictions are fused, by Recall@1 on tuning documents.

Knows nothing of how a fusion is made: it is handed a function that scores one. The gain is
cross-fitted: each document is judged under what the documents of the other folds choose, since a
choice judged on the documents that made it flatters itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from kb_builder.errors import LongbelError
from kb_builder.files import new_sha256
from longbel_cli.scoring.bootstrap import Interval, intervals, ratios, resampled_ratios
from longbel_cli.scoring.calibration import top_scores
from longbel_cli.scoring.metrics import Evaluated, ScoreOptions

# Tried for each system after the first, whose weight is 1.
WEIGHTS = (0.05, 0.1, 0.2, 0.35, 0.5, 0.7, 1.0, 1.4, 2.0, 2.8, 5.0, 10.0, 20.0)
_THRESHOLDS = 21  # quantiles of the first system's scores
_FOLDS = 5
_SWEEPS = 3  # over the systems: one weight after the other

Weights = tuple[float, ...]
Right = npt.NDArray[np.bool_]


class Setting(NamedTuple):
    """Weights of the systems; where the first one's best score reaches `threshold`, it answers
    alone."""

    weights: Weights
    threshold: float | None = None


@dataclass(frozen=True)
class Tuned:
    """What was chosen, and Recall@1: fused, on the documents that chose it (so, flattered); of each
    system alone; and the cross-fitted gain over the system that is best alone."""

    setting: Setting
    recall: Interval
    alone: tuple[Interval, ...]
    best_alone: int
    gain: Interval
    n_mentions: int
    documents: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        return {
            "recall@1": self.recall._asdict(),
            "alone": [interval._asdict() for interval in self.alone],
            "best_alone": self.best_alone,
            "gain": self.gain._asdict(),
            "n_mentions": self.n_mentions,
            "n_documents": len(self.documents),
        }


def tune(
    fused: Callable[[Weights], Evaluated],
    alone: Sequence[Evaluated],
    options: ScoreOptions = ScoreOptions(),
) -> Tuned:
    """The setting with the best Recall@1 over all documents.

    `fused` scores the fusion under weights, `alone` holds each system's scores, all of the same
    mentions in the same order. Of equal settings the one without a threshold stands, then the one
    whose weights are nearest to equal. LongbelError with fewer than two documents.
    """
    first = alone[0]
    if len(first.documents) < 2:
        raise LongbelError(
            "one document: nothing can be tuned on it and judged on another",
            "Give a tuning corpus of several documents.",
        )
    search = _Search(fused, first, len(alone))
    everything = np.ones(len(first.mentions), dtype=np.bool_)
    setting = search.best(everything)
    best_alone = max(range(len(alone)), key=lambda index: (alone[index].right.sum(), -index))
    gained = _cross_fitted(search).astype(np.int64) - alone[best_alone].right
    columns = [search.right(setting), *(each.right for each in alone), gained]
    values = _intervals(first, columns, options)
    return Tuned(
        setting,
        values[0],
        tuple(values[1:-1]),
        best_alone,
        values[-1],
        len(first.mentions),
        first.documents,
    )


class _Search:
    """Fusions that were tried, each once."""

    def __init__(
        self, fused: Callable[[Weights], Evaluated], first: Evaluated, n_systems: int
    ) -> None:
        self.first, self._n_systems = first, n_systems
        self._scores = top_scores(first)
        self._right = cache(lambda weights: fused(weights).right)
        usable = self._scores[np.isfinite(self._scores)]
        self._thresholds: list[float] = []
        if len(usable):
            quantiles = np.quantile(usable, np.linspace(0, 1, _THRESHOLDS), method="lower")
            self._thresholds = np.unique(quantiles).tolist()

    def right(self, setting: Setting) -> Right:
        """Which mentions are answered rightly."""
        fused: Right = self._right(setting.weights)
        if setting.threshold is None:
            return fused
        return np.where(self._scores >= setting.threshold, self.first.right, fused)

    def best(self, chosen: Right) -> Setting:
        """The best setting for the chosen mentions: weights one after the other, by turns."""
        best = Setting((1.0,) * self._n_systems)
        for _ in range(_SWEEPS if self._n_systems > 2 else 1):
            before = best
            for system in range(1, self._n_systems):
                best = max(self._around(best, system), key=lambda each: self._merit(each, chosen))
            if best == before:
                break
        return best

    def _around(self, setting: Setting, system: int) -> Iterator[Setting]:
        for weight in WEIGHTS:
            weights = (*setting.weights[:system], weight, *setting.weights[system + 1 :])
            for threshold in (None, *self._thresholds):
                yield Setting(weights, threshold)

    def _merit(self, setting: Setting, chosen: Right) -> tuple[int, bool, float]:
        inequality = sum(abs(math.log(weight)) for weight in setting.weights)
        n_right = int(np.count_nonzero(self.right(setting) & chosen))
        return n_right, setting.threshold is None, -inequality


def _cross_fitted(search: _Search) -> Right:
    """Which mentions are right under the setting that the documents of other folds choose."""
    folds = np.array([_fold(document) for document in search.first.documents])
    fold_of = folds[search.first.document_of]
    if len(np.unique(folds)) < 2:  # few documents that happen to share a fold: each its own
        fold_of = search.first.document_of
    right = np.zeros(len(fold_of), dtype=np.bool_)
    for fold in np.unique(fold_of):
        own = fold_of == fold
        right[own] = search.right(search.best(~own))[own]
    return right


def _fold(document: str) -> int:
    """By a hash of the id: the same whatever else is in the corpus."""
    digest = new_sha256(document.encode("utf-8", "surrogatepass")).digest()
    return digest[0] % _FOLDS


def _intervals(
    first: Evaluated, columns: Sequence[npt.NDArray[Any]], options: ScoreOptions
) -> list[Interval]:
    """The means of columns of mentions, with bootstrap intervals over documents."""
    above = np.stack([first.per_document(column) for column in columns], axis=1)
    size = first.per_document(np.ones(len(first.mentions)))
    below = np.repeat(size[:, None], len(columns), axis=1)
    samples = resampled_ratios(above, below, options.n_boot, options.seed)
    return intervals(ratios(above, below), samples)
