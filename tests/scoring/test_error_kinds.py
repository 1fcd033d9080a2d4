"""Wrong answers and the kind that each is sorted into."""

from __future__ import annotations

from dataclasses import replace

import pytest

from longbel_cli.scoring.error_kinds import KINDS, Wrong, wrong_answers
from longbel_cli.scoring.gold import ScoredMention
from longbel_cli.scoring.metrics import evaluate
from longbel_cli.scoring.partitions import KbFacts
from longbel_cli.types import Candidate
from tests.support.score_cases import mention

KB = KbFacts(
    groups_of={
        "DM2": frozenset({"Disorders"}),
        "DM": frozenset({"Disorders"}),
        "LIVER": frozenset({"Anatomy"}),
    },
    codes_of={},
    names_of={"DM2": ("Type 2 diabetes mellitus", "NIDDM"), "LIVER": ("Liver",)},
)


def answered(gold: str, text: str, *answers: tuple[str, str]) -> ScoredMention:
    """A mention of document a with its text and the answers' codes and names."""
    result = mention("a:0", gold, *(code for code, _ in answers), text=text)
    named = tuple(
        Candidate(candidate.rank, code, name, candidate.score)
        for candidate, (code, name) in zip(result.candidates, answers, strict=True)
    )
    return ScoredMention(**{**vars(result), "candidates": named})


def sort_out(*mentions: ScoredMention, kb: KbFacts | None = None) -> list[Wrong]:
    return wrong_answers(evaluate(mentions), kb)


@pytest.mark.parametrize(
    ("case", "kind"),
    [
        (answered("DM2", "diabetes"), "no prediction"),
        (answered("GONE", "diabetes", ("DM", "Diabetes")), "gold not in KB"),
        (answered("LIVER", "liver", ("DM", "Diabetes")), "gold in another group"),
        (answered("DM+DM2", "diabetes", ("DM", "Diabetes")), "part of a composite"),
        (answered("DM2", "sugar", ("Q", "niddm")), "right name, wrong concept"),
        (answered("DM+DM2", "sugar", ("Q", "niddm")), "right name, wrong concept"),
        (answered("DM2", "Sweet urine", ("Q", "Sweet  Urine")), "right name, wrong concept"),
        (answered("DM2", "sugar", ("DM", "Diabetes mellitus")), "broader"),
        (answered("DM2", "the old sugar", ("DM", "Old sugar")), "broader"),
        (answered("DM2", "sugar", ("Q", "NIDDM in pregnancy")), "narrower"),
        (answered("DM2", "sugar", ("Q", "Gout"), ("DM2", "NIDDM")), "gold at a lower rank"),
        (answered("DM2", "sugar", ("Q", "Mellitus diabetes")), "other"),
        (answered("DM2", "sugar", ("Q", "Diabet")), "other"),
        # Neither a name nor a text: no name is none that is right.
        (answered("DM2", "", ("Q", "")), "other"),
    ],
)
def test_kinds(case: ScoredMention, kind: str) -> None:
    (result,) = sort_out(case, kb=KB)
    assert result.kind == kind


def test_names_of_a_composite_gold_take_turns() -> None:
    kb = replace(KB, names_of={"DM2": ("Type 2", "NIDDM"), "DM": ("Diabetes", "Sugar", "DM")})
    (result,) = sort_out(answered("DM+DM2", "sugar", ("Q", "Gout")), kb=kb)
    assert result.gold_names == ("Diabetes", "Type 2", "Sugar", "NIDDM", "DM")
    (result,) = sort_out(answered("DM2", "sugar", ("Q", "Gout")), kb=kb)
    assert result.gold_names == ("Type 2", "NIDDM")


def test_right_answers_are_not_listed() -> None:
    assert sort_out(answered("DM2", "sugar", ("DM2", "NIDDM")), kb=KB) == []


def test_a_concept_that_was_right_elsewhere_in_the_document() -> None:
    right = mention("a:5", "DM2", "DM2")
    wrong = answered("DM2", "sugar", ("Q", "Gout"))
    result = sort_out(wrong, right, kb=KB)
    assert [(case.kind, case.right_elsewhere) for case in result] == [("right elsewhere", True)]
    other_document = mention("b:5", "DM2", "DM2")
    assert [case.kind for case in sort_out(wrong, other_document, kb=KB)] == ["other"]


def test_without_a_kb_names_come_from_the_candidates() -> None:
    elsewhere = answered("DM2", "x", ("Q", "Gout"), ("DM2", "NIDDM"))
    wrong = answered("DM2", "sugar", ("R", "NIDDM"))
    result = sort_out(wrong, elsewhere)
    assert result[0].kind == "right name, wrong concept"
    assert result[0].gold_names == ("NIDDM",)
    # What the KB holds is not known, so nothing is said of it.
    (gone,) = sort_out(answered("GONE", "diabetes", ("DM", "Gout")))
    assert gone.kind == "other"


@pytest.mark.parametrize(("second", "kind"), [("DM2", "gold at a lower rank"), ("Q", "other")])
def test_a_candidate_of_rank_2_is_no_answer(second: str, kind: str) -> None:
    """Rank 1 said no concept: something was predicted, and its name is not the answer's."""
    both = answered("DM2", "sugar", ("P", "Gout"), (second, "sugar"))
    (result,) = sort_out(replace(both, candidates=both.candidates[1:]))
    assert result.kind == kind


def test_the_last_kind_takes_what_is_left() -> None:
    assert list(KINDS)[-1] == "other"
