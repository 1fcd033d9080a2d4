"""Systems compared on the same mentions, and mentions that one of them lacks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from kb_builder.errors import LongbelError
from longbel_cli.corpora.prediction_file import PredictionFile
from longbel_cli.scoring.alignment import align
from longbel_cli.scoring.comparison import compare
from longbel_cli.scoring.gold import Joined, gold_inside
from longbel_cli.scoring.metrics import Evaluated, ScoreOptions, evaluate, mention_metrics
from tests.support.score_cases import joined, mention, prediction


def system(right: list[list[int]]) -> Evaluated:
    """One list a document: 1 where the mention is right, 2 where it is second."""
    answers = {0: ("Y",), 1: ("X",), 2: ("Y", "X")}
    return evaluate(
        [
            mention(f"{document}:{start}", "X", *answers[rank])
            for document, ranks in enumerate(right)
            for start, rank in enumerate(ranks)
        ]
    )


def test_differences_are_over_all_mentions() -> None:
    # Right: 3 of 5 and 1 of 5; reciprocal ranks 3.5 / 5 and 1.5 / 5.
    first, other = system([[1, 1], [2, 1, 0]]), system([[1, 2], [0, 0, 0]])
    (result,) = compare(first, [other], ScoreOptions(ks=(1, 2), n_boot=100))
    assert result["recall@1"].interval.value == pytest.approx(2 / 5)
    assert result["recall@2"].interval.value == pytest.approx(2 / 5)
    assert result["mrr"].interval.value == pytest.approx((1 + 1 + 0.5 + 1 - 1 - 0.5) / 5)


def test_both_systems_get_the_same_resampled_documents() -> None:
    rng = np.random.default_rng(0)
    first = system(rng.integers(0, 3, size=(12, 4)).tolist())
    other = system(rng.integers(0, 3, size=(12, 4)).tolist())
    (result,) = compare(first, [other], ScoreOptions(ks=(1,), n_boot=200, seed=5))
    lead = (first.right * 1.0 - other.right).reshape(12, 4).sum(axis=1)
    rng = np.random.default_rng(5)
    loop = [lead[rng.integers(12, size=12)].sum() / 48 for _ in range(200)]
    expected = (lead.sum() / 48, *np.quantile(loop, [0.025, 0.975]))
    assert result["recall@1"].interval == pytest.approx(expected)


def test_a_clear_lead_is_marked_and_no_lead_is_not() -> None:
    strong, weak = system([[1, 1, 1]] * 30), system([[1, 0, 1], [0, 1, 0]] * 15)
    better, equal = compare(strong, [weak, strong], ScoreOptions(ks=(1,), n_boot=999))
    assert better["recall@1"].significant
    assert better["recall@1"].p_randomization == pytest.approx(0.001)
    # Holm: the smaller of two p-values counts twice.
    assert better["recall@1"].p_holm == pytest.approx(0.002)
    assert not equal["recall@1"].significant
    assert equal["recall@1"].p_bootstrap == 1.0


def test_the_sign_turns_with_the_systems() -> None:
    first, other = system([[1, 1], [1, 0]]), system([[0, 1], [1, 0]])
    (single,) = compare(first, [other], ScoreOptions(ks=(1,), n_boot=50))
    (two,) = compare(other, [first], ScoreOptions(ks=(1,), n_boot=50))
    assert single["recall@1"].interval.value == pytest.approx(1 / 4)
    assert two["recall@1"].interval.value == pytest.approx(-1 / 4)


def test_other_mentions_cannot_be_compared() -> None:
    with pytest.raises(ValueError, match="same mentions"):
        compare(system([[1]]), [system([[1], [1]])], ScoreOptions(n_boot=10))


def test_mentions_that_a_system_lacks_count_as_wrong_there() -> None:
    ours = joined(mention("a:0", "X", "X"), mention("a:1", "Y", "Y"))
    theirs = joined(mention("a:1", "Y", "Y"), mention("b:0", "Z", "Z"))
    first, other = align([("ours", ours), ("theirs", theirs)])
    keys = [(result.document_id, result.mention_id) for result in first.mentions]
    assert keys == [("a", "T0"), ("a", "T1"), ("b", "T0")]
    assert [result.missing for result in first.mentions] == [False, False, True]
    assert [result.missing for result in other.mentions] == [True, False, False]
    assert "ours: 1 mention(s)" in first.notes[0]
    recalls = [mention_metrics(evaluate(j.mentions), [1])["recall@1"] for j in (first, other)]
    assert [recall.tolist() for recall in recalls] == [[1, 1, 0], [0, 1, 1]]


def test_mentions_without_gold_are_scored_by_that_of_the_other_predictions() -> None:
    """The same answers, gold on all in one file and on one in the other: the same score."""
    golds = ("X", "X", "Y", "Z")
    ours = [prediction(f"a:{at}", "X", gold=code) for at, code in enumerate(golds)]
    theirs = [*ours[:1], *(replace(result, gold_concept_code=None) for result in ours[1:])]
    both = [gold_inside(PredictionFile(Path(name), tuple(result)))
            for name, result in (("ours", ours), ("theirs", theirs))]  # fmt: skip
    for systems in (both, both[::-1]):
        for result in align([("one", systems[0]), ("two", systems[1])]):
            recall = mention_metrics(evaluate(result.mentions), [1])["recall@1"]
            assert recall.tolist() == [1, 1, 0, 0]
            assert result.n_without_gold == 0
            assert not any(mention.missing for mention in result.mentions)
    _, other = align([("ours", both[0]), ("theirs", both[1])])
    assert other.notes == (
        "theirs: 3 mention(s) have no gold in it: scored by that of the compared predictions",
    )


def test_mentions_in_common_may_have_gold_in_one_file_each() -> None:
    first = (prediction("a:0", "X", gold="X"), prediction("a:1", "Y"), prediction("a:2", "Z"))
    other = (prediction("a:0", "X"), prediction("a:1", "Q", gold="Y"), prediction("b:0", "Z"))
    single, two = align(
        [(name, gold_inside(PredictionFile(Path(name), result)))
         for name, result in (("one", first), ("two", other))]
    )  # fmt: skip
    recalls = [mention_metrics(evaluate(j.mentions), [1])["recall@1"] for j in (single, two)]
    assert [recall.tolist() for recall in recalls] == [[1, 1], [1, 0]]
    assert (single.n_without_gold, two.n_without_gold) == (1, 1)
    assert "one: 1 mention(s) have no gold and are not scored" in single.notes


@pytest.mark.parametrize(
    ("theirs", "message"),
    [
        (joined(mention("a:0", "Q", "X")), "another gold than the other systems for a:T0"),
        (
            Joined((mention("a:1", "Y", "Y"),), no_code=(("a", "T0"),)),
            "theirs has another gold than the other systems for a:T0",
        ),
        (joined(mention("z:0", "X", "X")), "no mention in common"),
    ],
)
def test_predictions_of_another_gold_are_refused(theirs, message: str) -> None:
    ours = joined(mention("a:0", "X", "X"), mention("a:1", "Y", "Y"))
    with pytest.raises(LongbelError, match=message):
        align([("ours", ours), ("theirs", theirs)])
