"""Every metric and partition on a table that is worked by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from longbel_cli.scoring.bootstrap import Interval
from longbel_cli.scoring.calibration import top_scores
from longbel_cli.scoring.gold import ScoredMention
from longbel_cli.scoring.metrics import ScoreOptions, evaluate, score
from longbel_cli.scoring.partitions import (
    PARTITIONS,
    Background,
    KbFacts,
    TrainingFacts,
    folded,
)
from tests.support.score_cases import candidates, joined, mention

# Ranks of the gold: 1, 2, 1 | 3, 1, none. Document a has X three times.
TABLE = (
    mention("a:0", "X", "X", "Y", group="Disorders"),
    mention("a:5", "X", "Y", "X", group="Anatomy"),
    mention("a:9", "X", "X", group="Disorders"),
    mention("b:0", "Y", "Z", "W", "Y", group="Anatomy"),
    mention("b:3", "X+Y", "X+Y", group="Disorders"),
    mention("b:7", "Z", group="Disorders"),
)


def value(interval: Interval) -> float:
    assert interval.value is not None
    return interval.value


@pytest.mark.parametrize(
    ("k", "expected"), [(1, 3 / 6), (2, 4 / 6), (3, 5 / 6), (5, 5 / 6), (100, 5 / 6)]
)
def test_recall_at_k(k: int, expected: float) -> None:
    result = score(joined(*TABLE), ScoreOptions(ks=(k,), n_boot=10))
    assert value(result.overall[f"recall@{k}"]) == pytest.approx(expected)


def test_the_other_numbers_of_all_mentions() -> None:
    result = score(joined(*TABLE), ScoreOptions(n_boot=10))
    assert (result.n_mentions, result.n_documents) == (6, 2)
    assert value(result.overall["mrr"]) == pytest.approx((1 + 1 / 2 + 1 + 1 / 3 + 1 + 0) / 6)
    assert result.mean_candidates == pytest.approx((2 + 2 + 1 + 3 + 1 + 0) / 6)
    assert (result.n_without_prediction, result.n_missing) == (1, 0)
    assert list(result.overall) == ["recall@1", "recall@5", "mrr"]


@pytest.mark.parametrize(
    ("partition", "expected"),
    [
        ("group", {"Anatomy": (2, 0 / 2), "Disorders": (4, 3 / 4)}),
        ("recurring", {"recurring": (3, 2 / 3), "single": (3, 1 / 3)}),
        ("occurrence", {"first": (4, 2 / 4), "later": (2, 1 / 2)}),
        ("composite", {"simple": (5, 2 / 5), "composite": (1, 1 / 1)}),
    ],
)
def test_partitions_by_the_gold_alone(
    partition: str, expected: dict[str, tuple[int, float]]
) -> None:
    result = score(joined(*TABLE), ScoreOptions(n_boot=10)).by[partition]
    parts = {name: (part.n, value(part.metrics["recall@1"])) for name, part in result.items()}
    assert parts == {name: (n, pytest.approx(share)) for name, (n, share) in expected.items()}
    assert list(parts) == list(expected)


def test_documents_of_a_part_are_counted() -> None:
    result = score(joined(*TABLE), ScoreOptions(n_boot=10)).by["recurring"]
    assert result["recurring"].n_documents == 1
    assert result["single"].n_documents == 1
    # Also where nothing was predicted: the mention counts as wrong there.
    nothing = (mention("a:0", "X", "X"), mention("b:0", "Y"))
    assert score(joined(*nothing), ScoreOptions(n_boot=10)).by["recurring"]["single"][:2] == (2, 2)


def test_without_training_corpus_or_kb_their_partitions_are_not_there() -> None:
    result = score(joined(*TABLE), ScoreOptions(n_boot=10))
    assert set(result.by) == {"group", "recurring", "occurrence", "composite"}
    assert result.coverage is None


def test_the_same_concept_in_two_documents_does_not_recur() -> None:
    result = score(joined(mention("a:0", "X", "X"), mention("b:0", "X", "Y")), ScoreOptions())
    assert set(result.by["recurring"]) == {"single"}
    assert result.n_pairs == 0
    assert result.consistency == Interval(None, None, None)


# Within documents -----------------------------------------------------------------------------


def test_consistency_counts_pairs_of_one_gold_concept_that_got_one_code() -> None:
    # X: answers X, Y, X: one of three pairs agrees. Y in b: both wrong alike, one of one.
    table = (*TABLE[:3], mention("b:0", "Y", "Z"), mention("b:2", "Y", "Z"))
    result = score(joined(*table), ScoreOptions(n_boot=10))
    assert result.n_pairs == 4
    assert value(result.consistency) == pytest.approx(2 / 4)


def test_mentions_without_prediction_agree_with_none() -> None:
    result = score(joined(mention("a:0", "X"), mention("a:1", "X")), ScoreOptions(n_boot=10))
    assert value(result.consistency) == 0.0


def test_the_answer_is_the_candidate_of_rank_1() -> None:
    """Where rank 1 says no concept, what follows it is a prediction and not the answer."""
    both = mention("a:0", "X", "Y", "X")
    second = replace(both, candidates=both.candidates[1:])
    assert both.top is not None and both.top.concept_code == "Y"
    assert second.top is None and second.hit_rank() == 2
    result = score(joined(second, mention("a:1", "X", "X")), ScoreOptions(n_boot=10))
    assert value(result.consistency) == 0.0
    assert result.n_without_prediction == 0
    assert np.isnan(top_scores(result.evaluated)).tolist() == [True, False]


def test_the_cascade_looks_at_the_nearest_earlier_mention_of_the_concept() -> None:
    # X: right, wrong, right, right. After a right one: wrong, right. After a wrong one: right.
    table = (
        mention("a:0", "X", "X"),
        mention("a:1", "Q", "P"),
        mention("a:2", "X", "Y"),
        mention("a:3", "X", "X"),
        mention("a:4", "X", "X"),
    )
    result = score(joined(*table), ScoreOptions(n_boot=10)).cascade
    parts = {name: (part.n, value(part.metrics["recall@1"])) for name, part in result.items()}
    assert parts == {"after_right": (2, 0.5), "after_wrong": (1, 1.0)}


def test_order_in_a_document_is_that_of_the_spans_not_of_the_file() -> None:
    later, earlier = mention("a:9", "X", "X"), mention("a:2", "X", "Y")
    result = score(joined(later, earlier), ScoreOptions(n_boot=10))
    assert result.cascade["after_wrong"].n == 1
    assert result.cascade["after_right"].n == 0
    assert value(result.by["occurrence"]["first"].metrics["recall@1"]) == 0.0


# Composite gold -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("gold", "answers", "match", "expected"),
    [
        ("A+B", ("A+B",), "exact", 1),
        ("A+B", ("A", "B"), "exact", None),
        ("A+B", ("A+B+C",), "exact", None),
        ("A+B", ("C", "B"), "any", 2),
        ("A+B", ("C+A",), "any", 1),
        ("A+B", ("C",), "any", None),
        ("A", ("A+B",), "any", None),
        ("A", ("B", "B", "A"), "exact", 3),
    ],
)
def test_gold_of_several_codes(
    gold: str, answers: tuple[str, ...], match: str, expected: int | None
) -> None:
    assert mention("a:0", gold, *answers).hit_rank(match) == expected


# Training corpus and knowledge base -----------------------------------------------------------


def parts_of(
    partition: str, mentions: list[ScoredMention], background: Background
) -> list[str | None]:
    return PARTITIONS[partition].labels(mentions, background)


def test_seen_in_training() -> None:
    training = TrainingFacts(frozenset({"C1", "A+B"}), frozenset({folded("High  Fever")}))
    mentions = [
        mention("a:0", "C1", text="high fever"),
        mention("a:1", "A", text="High\nfever"),
        mention("a:2", "A+B", text="fever"),
        mention("a:3", "C1", text=""),
    ]
    background = Background(training=training)
    assert parts_of("seen", mentions, background) == ["seen", "unseen", "seen", "seen"]
    assert parts_of("mention_seen", mentions, background) == ["seen", "seen", "unseen", None]


KB = KbFacts(
    groups_of={"C1": frozenset({"Disorders"}), "C2": frozenset({"Disorders", "Anatomy"})},
    codes_of={
        "cold": {"Disorders": frozenset({"C1"}), "Phenomena": frozenset({"C3"})},
        "fever": {"Disorders": frozenset({"C1"})},
        "(x)": {"Anatomy": frozenset({"C2"})},
    },
)


def test_names_of_the_kb() -> None:
    mentions = [
        mention("a:0", "C1", text="Cold"),
        mention("a:1", "C1", text="fever", group="Anatomy"),
        mention("a:2", "C1", text="ague"),
        mention("a:3", "C2", text="[X]", group="Anatomy"),
    ]
    background = Background(kb=KB)
    assert parts_of("kb_name", mentions, background) == ["name", "other", "other", "name"]
    assert parts_of("ambiguous", mentions, background) == [
        "ambiguous",
        "unambiguous",
        None,
        "unambiguous",
    ]


def test_coverage_is_the_ceiling_that_the_kb_sets() -> None:
    table = (
        mention("a:0", "C1", "C1"),
        mention("a:1", "C1", "C1", group="Anatomy"),
        mention("a:2", "C1+C2", "C1+C2"),
        mention("a:3", "C1+C9", "C1"),
        mention("b:0", "C8"),
    )
    result = score(joined(*table), ScoreOptions(n_boot=10), Background(kb=KB)).coverage
    assert result is not None
    assert value(result.in_kb) == pytest.approx(3 / 5)
    assert value(result.in_group) == pytest.approx(2 / 5)
    assert (result.n_codes, result.lacking) == (4, ("C8", "C9"))


# Intervals ------------------------------------------------------------------------------------


def test_intervals_are_of_documents_drawn_by_the_seed() -> None:
    table = [
        mention(f"{document}:{start}", "X", "X" if start < document % 4 else "Y")
        for document in range(20)
        for start in range(3)
    ]
    result = score(joined(*table), ScoreOptions(ks=(1,), n_boot=200, seed=7))
    right = np.array([min(3, document % 4) for document in range(20)])
    rng = np.random.default_rng(7)
    loop = [right[rng.integers(20, size=20)].sum() / 60 for _ in range(200)]
    low, high = np.quantile(loop, [0.025, 0.975])
    assert result.overall["recall@1"] == pytest.approx((right.sum() / 60, low, high))
    again = score(joined(*table), ScoreOptions(ks=(1,), n_boot=200, seed=7))
    assert again.overall == result.overall
    other = score(joined(*table), ScoreOptions(ks=(1,), n_boot=200, seed=8))
    assert other.overall["recall@1"].low != result.overall["recall@1"].low


def test_mentions_become_arrays() -> None:
    result = evaluate(TABLE)
    assert result.documents == ("a", "b")
    assert result.document_of.tolist() == [0, 0, 0, 1, 1, 1]
    assert result.hit_rank.tolist() == [1, 2, 1, 3, 1, np.inf]
    assert result.right.tolist() == [True, False, True, False, True, False]
    assert candidates("X")[0].rank == 1
