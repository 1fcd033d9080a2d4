"""Weights of a fusion chosen on tuning documents, against worked cases and brute force."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kb_builder.errors import LongbelError
from longbel_cli.linking.fusion import FusionOptions, fuse
from longbel_cli.scoring.gold import scored_mention
from longbel_cli.scoring.metrics import Evaluated, ScoreOptions, evaluate
from longbel_cli.scoring.tuning import WEIGHTS, Setting, Tuned, Weights, tune
from longbel_cli.types import Prediction
from tests.support.examples import some
from tests.support.score_cases import prediction

FEW = ScoreOptions(n_boot=50)


def scored(predictions: Sequence[Prediction]) -> Evaluated:
    return evaluate([scored_mention(each) for each in predictions])


def fused(systems: Sequence[Sequence[Prediction]], setting: Setting) -> Evaluated:
    names = tuple(f"system {index}" for index in range(len(systems)))
    options = FusionOptions(names, setting.weights, by="score", threshold=setting.threshold)
    predictions = [each.prediction for each in fuse(systems, options)]
    order = {(each.document_id, each.mention_id): index for index, each in enumerate(systems[0])}
    return scored(sorted(predictions, key=lambda p: order[p.document_id, p.mention_id]))


def tuned(systems: Sequence[Sequence[Prediction]]) -> Tuned:
    def under(weights: Weights) -> Evaluated:
        return fused(systems, Setting(weights))

    return tune(under, [scored(system) for system in systems], FEW)


def answers(*rows: tuple[str, str, float]) -> list[Prediction]:
    """Documents of one mention each, whose gold is A: the answer, another code, the gap."""
    return [
        prediction(f"d{index}:0", code, other, gold="A", scores=(0.5 + gap, 0.5))
        for index, (code, other, gap) in enumerate(rows)
    ]


def test_a_weight_worked_by_hand() -> None:
    """A beats B where w * 0.1 > 0.4, and still where the first is right by 0.2: 4 < w, all right.
    Where the second is wrong by 0.01, w * 0.01 < 0.2 asks for w < 20."""
    first = answers(("B", "A", 0.4), ("A", "B", 0.2), ("A", "B", 0.2))
    second = answers(("A", "B", 0.1), ("A", "B", 0.1), ("B", "A", 0.01))
    result = tuned([first, second])
    assert result.setting == Setting((1.0, 5.0), None)
    assert result.recall.value == 1.0
    assert [interval.value for interval in result.alone] == pytest.approx([2 / 3, 2 / 3])
    assert result.best_alone == 0


def test_a_threshold_worked_by_hand() -> None:
    """The first is right where it is sure and wrong where it is not, the second the other way
    round: 0.8 > 8 w and 0.5 w > 0.1 have no w, but from 0.9 on the first may answer alone."""
    sure, unsure = (0.9, 0.1), (0.3, 0.2)
    first, second = [], []
    for index in range(6):
        is_sure = index % 2 == 0
        location = f"d{index}:0"
        first.append(prediction(location, *("AB" if is_sure else "BA"), gold="A",
                                scores=sure if is_sure else unsure))  # fmt: skip
        second.append(prediction(location, *("BA" if is_sure else "AB"), gold="A",
                                 scores=(9.0, 1.0 if is_sure else 8.5)))  # fmt: skip
    result = tuned([first, second])
    assert result.setting.threshold == 0.9 and result.recall.value == 1.0
    assert fused([first, second], result.setting).right.all()


def test_the_gain_is_that_of_documents_which_did_not_choose() -> None:
    """Each document alone asks for another system, by chance: what looks like a gain is none."""
    random = np.random.default_rng(3)
    systems = [
        answers(*((*("AB" if right else "BA"), float(gap)) for right, gap in drawn.tolist()))
        for drawn in (random.random((60, 2)) * [2, 1] // [1, 0.01] / [1, 100] for _ in range(2))
    ]
    result = tuned(systems)
    best = max(each.right.mean() for each in map(scored, systems))
    assert result.recall.value is not None and result.gain.value is not None
    assert result.recall.value - best > result.gain.value  # flattered by what it chose


def test_equal_settings_leave_weights_equal() -> None:
    system = answers(("A", "B", 0.2), ("B", "A", 0.2))
    assert tuned([system, system]).setting == Setting((1.0, 1.0), None)


def test_one_document_cannot_tune() -> None:
    system = [prediction("d:0", "A", gold="A"), prediction("d:2", "B", gold="A")]
    with pytest.raises(LongbelError, match="one document"):
        tuned([system, system])


codes = st.permutations("ABC").map("".join)
systems = st.lists(
    st.tuples(codes, codes, st.integers(0, 9), st.integers(0, 9), st.integers(0, 4)),
    min_size=2,
    max_size=8,
)


@settings(max_examples=some(30), deadline=None)
@given(rows=systems)
def test_against_all_settings(rows: list[tuple[str, str, int, int, int]]) -> None:
    """Two systems: no weight and no threshold between scores does better, and what is said of the
    setting is what the fusion does under it."""
    pair: list[list[Prediction]] = [[], []]
    for index, (first, second, high, low, document) in enumerate(rows):
        for system, order, gap in ((0, first, high), (1, second, low)):
            scores = tuple(0.9 - 0.05 * gap - 0.1 * rank for rank in range(3))
            pair[system].append(prediction(f"d{document}:{index}", *order, gold="A", scores=scores))
    if len({each.document_id for each in pair[0]}) < 2:
        return
    result = tuned(pair)
    thresholds = {None, *(each.candidates[0].score for each in pair[0])}
    best = max(
        fused(pair, Setting((1.0, weight), threshold)).right.mean()
        for weight, threshold in product(WEIGHTS, thresholds)
    )
    assert result.recall.value == pytest.approx(best)
    assert fused(pair, result.setting).right.mean() == pytest.approx(best)


def test_three_systems() -> None:
    """Two that are wrong together are outvoted where the third weighs more than both."""
    wrong, right = answers(("B", "A", 0.4), ("B", "A", 0.4)), answers(*[("A", "B", 0.1)] * 2)
    result = tuned([wrong, wrong, right])
    assert result.recall.value == 1.0 and result.best_alone == 2
    assert fused([wrong, wrong, right], result.setting).right.all()
