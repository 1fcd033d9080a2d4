"""Scores of "no concept": worked by hand, and against trying every threshold."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kb_builder.store.knowledge_base import KnowledgeBase
from longbel_cli.scoring.gold import ScoredMention
from longbel_cli.scoring.metrics import ScoreOptions, evaluate
from longbel_cli.scoring.nil import NilScore, nil_score
from longbel_cli.types import Marks
from tests.support.baseline_cases import small_kb
from tests.support.command_line import Longbel
from tests.support.examples import some
from tests.support.link_cases import DOCUMENTS
from tests.support.score_cases import mention, prediction, write_predictions

FEW = ScoreOptions(n_boot=50)


def scored(mentions: list[ScoredMention], threshold: float | None = None) -> NilScore:
    is_nil = np.array([each.gold == "NO_CODE" for each in mentions])
    return nil_score(evaluate(mentions), is_nil, FEW, threshold)


# gold, answer (if any) and its score
TABLE = [
    mention("a:0", "X", "X", scores=(0.9,)),  # right
    mention("a:2", "X", "Y", scores=(0.8,)),  # wrong
    mention("a:4", "X", "X", scores=(0.3,)),  # right, unsure
    mention("b:0", "NO_CODE", "Z", scores=(0.4,)),
    mention("b:2", "NO_CODE", "Z", scores=(0.85,)),
    mention("b:4", "NO_CODE"),  # no answer
]


def values(result: NilScore) -> list[float | None]:
    return [interval.value for interval in result.rates.values()]


def test_worked_by_hand() -> None:
    """Without a threshold one is told; below 0.5 two of three are, and one right answer is lost."""
    assert values(scored(TABLE)) == pytest.approx([1, 1 / 3, 1 / 2, 2 / 3, 3 / 6])
    result = scored(TABLE, 0.5)
    assert (result.n_nil, result.n_inside) == (3, 3)
    assert values(result) == pytest.approx([2 / 3, 2 / 3, 2 / 3, 1 / 3, 3 / 6])
    # 0.86 keeps 0.9 alone: all three told, one right answer.
    best = result.best
    assert best.value == 0.9 and result.best_accuracy.value == 4 / 6


def test_a_score_at_the_threshold_stands() -> None:
    result = scored([mention("a:0", "NO_CODE", "Z", scores=(0.5,))], 0.5)
    assert result.rates["recall"].value == 0
    assert (
        scored([mention("a:0", "NO_CODE", "Z", scores=(0.4999996,))], 0.5).rates["recall"].value
        == 0
    )  # as it is written


def test_an_unknown_score_is_below_no_threshold() -> None:
    result = scored([mention("a:0", "X", "X", scores=(float("nan"),))], 0.5)
    assert result.rates["accuracy"].value == 1


def test_nothing_to_divide_by() -> None:
    result = scored([mention("a:0", "X", "X", scores=(0.9,))])
    assert [interval.value for interval in result.rates.values()] == [None, None, None, 1, 1]
    empty = scored([mention("a:0", "NO_CODE")])
    assert empty.rates["f1"].value == 1 and empty.best.value == 0


rows = st.lists(
    st.tuples(
        st.sampled_from(["X", "NO_CODE"]),
        st.sampled_from(["X", "Y", ""]),
        st.integers(-3, 5),
        st.sampled_from("abc"),
    ),
    min_size=1,
    max_size=12,
)


@settings(max_examples=some(60), deadline=None)
@given(rows=rows)
def test_against_every_threshold(rows: list[tuple[str, str, int, str]]) -> None:
    mentions = [
        mention(f"{document}:{index}", gold, *answer, scores=(score / 5,) if answer else ())
        for index, (gold, answer, score, document) in enumerate(rows)
    ]
    result = scored(mentions)

    def accuracy(threshold: float) -> float:
        right = 0
        for each in mentions:
            none = each.top is None or each.top.score < threshold
            right += (
                none
                if each.gold == "NO_CODE"
                else (not none and each.top is not None and each.top.concept_code == each.gold)
            )
        return right / len(mentions)

    tried = {score / 5 for _, _, score, _ in rows} | {-1.0, 0.0, 2.0}
    assert result.best_accuracy.value == pytest.approx(max(map(accuracy, tried)))
    assert result.best.value is not None
    assert accuracy(result.best.value) == pytest.approx(result.best_accuracy.value)
    for point in result.curve:
        assert point.accuracy == pytest.approx(accuracy(point.threshold))


def test_a_long_curve_is_thinned() -> None:
    mentions = [mention(f"d:{i}", "X", "X", scores=(i / 1000,)) for i in range(900)]
    result = scored(mentions)
    assert 150 < len(result.curve) <= 201 and len(result.to_json()["curve"]) <= 70


def test_marks_of_a_run() -> None:
    first = prediction("a:0", "X", scores=(0.5,))
    assert Marks().of(first) == first
    assert Marks(0.6, 0.5).of(first).to_json()["review"] is True
    assert Marks(0.6, 0.5).of(first).to_json()["nil"] is False
    assert Marks(nil_score=0.1).of(prediction("a:0")).to_json()["nil"] is True
    assert "review" not in Marks(nil_score=0.1).of(first).to_json()


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> KnowledgeBase:
    return small_kb(tmp_path_factory.mktemp("nil"))


def test_the_command(longbel: Longbel, base: KnowledgeBase, tmp_path: Path) -> None:
    path = write_predictions(
        tmp_path / "p.jsonl",
        prediction("a:0", "C1", gold="C1", scores=(0.9,)),
        prediction("a:2", "C1", gold="C77", scores=(0.2,)),  # outside the knowledge base
        prediction("b:0", gold="NO_CODE"),
    )
    words = ("score", path, "--nil", "--json", "--n-boot", "20")
    plain = json.loads(longbel(*words).out)
    assert (plain["nil"]["n_nil"], plain["nil"]["n_inside"]) == (1, 2)
    assert plain["signature"].endswith("|nil:none")
    with_kb = json.loads(longbel(*words, "--kb", base.path, "--nil-score", "0.5").out)
    assert (with_kb["nil"]["n_nil"], with_kb["nil"]["recall"]["value"]) == (2, 1)
    assert with_kb["nil"]["accuracy"]["value"] == 1
    assert with_kb["signature"].endswith("|nil:0.5")
    shown = longbel("score", path, "--nil", "--n-boot", "20").out
    assert "No concept (without a threshold): 1 of 3 mentions" in shown
    assert longbel("score", path, "--nil-score", "0.5").code == 2


def test_link_marks_and_changes_nothing_else(
    longbel: Longbel, base: KnowledgeBase, tmp_path: Path
) -> None:
    (tmp_path / "c.jsonl").write_text("".join(json.dumps(each) + "\n" for each in DOCUMENTS))

    def linked(name: str, *flags: str) -> list[dict[str, object]]:
        done = longbel("link", tmp_path / "c.jsonl", "--kb", base.path, "--linker", "tfidf",
                       "--unknown-group", "all", "--out", tmp_path / name, *flags)  # fmt: skip
        assert done.code == 0, done.err
        return [json.loads(line) for line in (tmp_path / name).read_text().splitlines()]

    plain, marked = linked("a.jsonl"), linked("b.jsonl", "--nil-score", "0.7")
    assert {line["nil"] for line in marked} <= {True, False} and marked
    for line in marked:
        score = line["beam_score"]
        assert line.pop("nil") is (score is None or float(str(score)) < 0.7)
    assert marked == plain
    again = longbel("link", tmp_path / "c.jsonl", "--kb", base.path, "--linker", "tfidf",
                    "--unknown-group", "all", "--out", tmp_path / "b.jsonl")  # fmt: skip
    assert again.code == 4 and "nil_score" in again.err
