"""Precision, recall and F1 end to end, against counts by hand and a matching by brute force."""

from __future__ import annotations

import json
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kb_builder.errors import LongbelError
from longbel_cli.scoring.end_to_end import (
    SCHEMES,
    Marked,
    compared,
    end_to_end,
    matching_size,
)
from longbel_cli.scoring.evaluation import evaluate_files
from longbel_cli.scoring.metrics import ScoreOptions
from longbel_cli.scoring.report import report_page
from longbel_cli.scoring.request import ScoreRequest
from longbel_cli.scoring.table_writers import evaluation_text
from longbel_cli.types import Span
from tests.support.examples import some

OPTIONS = ScoreOptions(n_boot=50)


def mark(spans: str, group: str = "DISO", code: str | None = "C1") -> Marked:
    parts = (part.split("-") for part in spans.split(";"))
    return Marked(frozenset(Span(int(start), int(end)) for start, end in parts), group, code, "x")


# By hand: scheme -> right, predicted, annotated.
CASES = {
    "equal": ([mark("0-5")], [mark("0-5")], [(1, 1, 1)] * 6),
    "nothing predicted": ([mark("0-5")], [], [(0, 0, 1)] * 6),
    "nothing annotated": ([], [mark("0-5")], [(0, 1, 0)] * 6),
    "other group": (
        [mark("0-5")], [mark("0-5", "CHEM")],
        [(0, 1, 1), (1, 1, 1), (0, 1, 1), (0, 1, 1), (0, 1, 1), (1, 1, 1)],
    ),
    "other borders": (
        [mark("0-5")], [mark("0-4")],
        [(0, 1, 1), (0, 1, 1), (1, 1, 1), (0, 1, 1), (1, 1, 1), (1, 1, 1)],
    ),
    "other code": (
        [mark("0-5")], [mark("0-5", code="C2")],
        [(1, 1, 1), (1, 1, 1), (1, 1, 1), (0, 1, 1), (0, 1, 1), (0, 1, 1)],
    ),
    "touching is no overlap": (
        [mark("0-5")], [mark("5-9")],
        [(0, 1, 1), (0, 1, 1), (0, 1, 1), (0, 1, 1), (0, 1, 1), (1, 1, 1)],
    ),
    "fragments are a set": ([mark("0-2;5-9")], [mark("5-9;0-2")], [(1, 1, 1)] * 6),
    "one mention is found once": (
        [mark("0-5")], [mark("0-5"), mark("0-5")], [(1, 2, 1)] * 5 + [(1, 1, 1)]
    ),
    "greedy pairing would lose one": (
        [mark("0-9"), mark("8-12")], [mark("0-12"), mark("0-3")],
        [(0, 2, 2), (0, 2, 2), (2, 2, 2), (0, 2, 2), (2, 2, 2), (1, 1, 1)],
    ),
    "no concept in the corpus": (
        [mark("0-5", code="")], [mark("0-5")],
        [(1, 1, 1)] * 3 + [(0, 1, 0)] * 3,
    ),
    "no code in the corpus": (
        [mark("0-5", code=None)], [mark("0-5")], [(1, 1, 1)] * 3 + [(0, 0, 0)] * 3
    ),
    "composite codes": (
        [mark("0-5", code="C1+C2")], [mark("0-5", code="C1")],
        [(1, 1, 1)] * 3 + [(0, 1, 1), (0, 1, 1), (1, 1, 2)],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_counts_by_hand(name: str) -> None:
    gold, predicted, expected = CASES[name]
    result = end_to_end({"d": gold}, {"d": predicted}, OPTIONS)
    counted = [tuple(int(count) for count in result.tables[scheme][0]) for scheme in SCHEMES]
    assert dict(zip(SCHEMES, counted, strict=True)) == dict(zip(SCHEMES, expected, strict=True))


def test_measures_are_micro_averages() -> None:
    gold = {"a": [mark("0-5"), mark("6-9")], "b": [mark("0-5")], "c": []}
    predicted = {"a": [mark("0-5")], "b": [mark("0-4")], "c": [mark("0-5")]}
    result = end_to_end(gold, predicted, OPTIONS)
    strict = {name: value.value for name, value in result.overall["spans", "strict"].items()}
    assert strict == pytest.approx({"precision": 1 / 3, "recall": 1 / 3, "f1": 1 / 3})
    assert result.by_group.keys() == {"DISO"} and (result.n_gold, result.n_predicted) == (3, 3)
    assert [(miss.document_id, miss.spurious) for miss in result.misses] == [
        ("a", False), ("b", False), ("b", True), ("c", True),
    ]  # fmt: skip


@settings(max_examples=some(200), deadline=None)
@given(st.lists(st.sets(st.integers(0, 4)).map(sorted), max_size=5))
def test_matching_is_maximum(near: list[list[int]]) -> None:
    best = max(
        sum(other in partners for other, partners in zip(order, near, strict=False))
        for order in permutations(range(5))
    )
    assert matching_size(near) == best


def test_a_system_leads_itself_by_nothing() -> None:
    gold = {str(i): [mark("0-5"), mark("6-9")] for i in range(9)}
    good = end_to_end(gold, gold, OPTIONS)
    poor = end_to_end(gold, {name: marks[:1] for name, marks in gold.items()}, OPTIONS)
    (same,) = compared(good, [good], OPTIONS)
    assert all(lead.interval.value == 0 and lead.p_holm == 1 for lead in same.values())
    (lead,) = compared(good, [poor], ScoreOptions(n_boot=999))
    strict = lead["spans", "strict"]
    assert strict.interval.value == pytest.approx(1 / 3) and strict.p_randomization < 0.02
    assert np.isclose(lead["concepts", "documents"].interval.value or 0, 0)


def files(folder: Path) -> tuple[Path, Path]:
    """A corpus of one annotated document and one without mentions, and predictions."""
    corpus, predictions = folder / "gold", folder / "preds.jsonl"
    corpus.mkdir()
    (corpus / "a.txt").write_text("Fever and cough")
    (corpus / "a.ann").write_text(
        "T1\tDISO 0 5\tFever\nN1\tReference T1 UMLS:C1\tx\nT2\tDISO 10 15\tcough\n"
    )
    (corpus / "b.txt").write_text("Nothing")
    (corpus / "b.ann").write_text("")
    rows = (("a", "Fever", 0, 5), ("b", "Nothing", 0, 7), ("elsewhere", "x", 0, 1))
    lines = [
        {
            "document_id": document, "mention_id": "T1", "mention": text, "semantic_group": "DISO",
            "spans": [[start, end]],
            "beams": [{"rank": 1, "pred_concept_code": "C1", "beam_score": 0.5}],
        }
        for document, text, start, end in rows
    ]  # fmt: skip
    predictions.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return corpus, predictions


def test_files_in_json_tables_and_report_out(tmp_path: Path) -> None:
    corpus, predictions = files(tmp_path)
    request = ScoreRequest(predictions, (predictions,), (corpus,), options=OPTIONS, end_to_end=True)
    evaluation = evaluate_files(request)
    content = evaluation.to_json()
    measured = content["end_to_end"]
    assert measured["spans"].keys() == {"strict", "exact", "overlap"}
    assert measured["concepts"].keys() == {"strict", "overlap", "documents"}
    assert measured["spans"]["strict"]["precision"]["value"] == 0.5
    assert measured["spans"]["strict"]["f1"].keys() == {"value", "low", "high"}
    assert measured["concepts"]["documents"]["f1"]["value"] == pytest.approx(2 / 3)
    assert content["paired"][0]["end_to_end"]["difference"]["spans"]["strict"]["value"] == 0
    assert "|e2e:" in content["signature"]
    assert "End to end" in evaluation_text(evaluation, ["group"], "markdown")
    page = report_page(evaluation)
    assert "Missed and spurious" in page and "cough" in page and "spurious" in page


def test_without_gold_it_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LongbelError, match="compares mentions with those of a corpus") as caught:
        ScoreRequest(tmp_path / "preds.jsonl", end_to_end=True)
    assert caught.value.exit_code == 2
