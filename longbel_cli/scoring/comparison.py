"""Compares systems on the same mentions: differences with intervals and p-values.

Both tests work on documents: the bootstrap draws the same documents for both systems, the
randomization swaps whole documents between them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from longbel_cli.scoring.bootstrap import (
    Interval,
    bootstrap_p,
    holm,
    percentile_interval,
    randomization_p,
    resampled_ratios,
)
from longbel_cli.scoring.metrics import Evaluated, ScoreOptions, mention_metrics

SIGNIFICANT = 0.05


@dataclass(frozen=True)
class Difference:
    """A metric of the first system less that of another, and whether chance explains it.

    `p_holm` is the randomization's p adjusted for the number of systems compared.
    """

    interval: Interval
    p_bootstrap: float
    p_randomization: float
    p_holm: float

    @property
    def significant(self) -> bool:
        return self.p_holm < SIGNIFICANT

    def to_json(self) -> dict[str, Any]:
        return {
            **self.interval._asdict(),
            "p_bootstrap": self.p_bootstrap,
            "p_randomization": self.p_randomization,
            "p_holm": self.p_holm,
            "significant": self.significant,
        }


def compare(
    first: Evaluated, others: Sequence[Evaluated], options: ScoreOptions
) -> list[dict[str, Difference]]:
    """For each other system, by metric: the first system's value less its own."""
    raw = [_differences(first, other, options) for other in others]
    by_system: list[dict[str, Difference]] = [{} for _ in others]
    for metric in mention_metrics(first, options.ks):
        adjusted = holm([differences[metric][2] for differences in raw])
        for of_system, differences, p_holm in zip(by_system, raw, adjusted, strict=True):
            of_system[metric] = Difference(*differences[metric], p_holm)
    return by_system


def _differences(
    first: Evaluated, other: Evaluated, options: ScoreOptions
) -> dict[str, tuple[Interval, float, float]]:
    if first.documents != other.documents or not np.array_equal(
        first.document_of, other.document_of
    ):
        raise ValueError("systems must be scored on the same mentions in the same order")
    ours, theirs = mention_metrics(first, options.ks), mention_metrics(other, options.ks)
    sums = {name: first.per_document(ours[name] - theirs[name]) for name in ours}
    sizes = first.per_document(np.ones(len(first.mentions)))
    above = np.stack(list(sums.values()), axis=1)
    below = np.repeat(sizes[:, None], len(sums), axis=1)
    samples = resampled_ratios(above, below, options.n_boot, options.seed)
    return {
        name: (
            percentile_interval(float(values.sum() / sizes.sum()), samples[:, column]),
            bootstrap_p(samples[:, column]),
            randomization_p(values, options.n_boot, options.seed),
        )
        for column, (name, values) in enumerate(sums.items())
    }
