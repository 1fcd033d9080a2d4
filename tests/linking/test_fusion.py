"""Fusion by rank and by score, worked by hand."""

from __future__ import annotations

import hashlib
import io
import json
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kb_builder.errors import LongbelError
from kb_builder.files import DISK, sha256_of_file
from longbel_cli.corpora.predictions import read_predictions
from longbel_cli.linking.fused_file import fuse_files
from longbel_cli.linking.fusion import Fused, FusionOptions, Source, fuse, fuse_mention
from longbel_cli.runs.facts import read_fusion_record, run_facts
from longbel_cli.types import Candidate
from tests.support.score_cases import prediction, write_predictions

ABC = FusionOptions(names=("a", "b", "c"))
AB = FusionOptions(names=("a", "b"))


def codes(fused: Fused) -> list[str]:
    return [candidate.concept_code for candidate in fused.prediction.candidates]


def scores(fused: Fused) -> dict[str, float]:
    return {result.concept_code: result.score for result in fused.prediction.candidates}


def test_scores_are_sums_of_reciprocal_ranks() -> None:
    fused = fuse_mention(
        [
            prediction("d:0", "X", "Y", "Z"),
            prediction("d:0", "Y", "W"),
            prediction("d:0", "Z", "Y"),
        ],
        ABC,
    )
    assert scores(fused) == pytest.approx(
        {"Y": 1 / 62 + 1 / 61 + 1 / 62, "Z": 1 / 63 + 1 / 61, "X": 1 / 61, "W": 1 / 62}
    )
    assert codes(fused) == ["Y", "Z", "X", "W"]
    assert [candidate.rank for candidate in fused.prediction.candidates] == [1, 2, 3, 4]


def test_ties_go_by_the_scores_of_the_systems_in_order() -> None:
    # X and Y are first once and second once; the first system is surer of Y.
    first = prediction("d:0", "Y", "X", scores=(0.6, 0.3))
    second = prediction("d:0", "X", "Y", scores=(0.9, 0.1))
    assert codes(fuse_mention([first, second], AB)) == ["Y", "X"]
    assert codes(fuse_mention([second, first], AB)) == ["X", "Y"]


def test_a_tie_with_a_code_that_the_first_system_lacks() -> None:
    # Both score 1/61; only the second system has Z, so the first one's answer leads.
    fused = fuse_mention([prediction("d:0", "X"), prediction("d:0", "Z")], AB)
    assert codes(fused) == ["X", "Z"]


def test_a_score_below_0_is_more_than_none() -> None:
    # A cosine may be negative; a system that has the code still goes before one that lacks it.
    first, second = prediction("d:0", "X", scores=(-0.2,)), prediction("d:0", "A", scores=(0.9,))
    assert codes(fuse_mention([first, second], AB)) == ["X", "A"]


def test_a_tie_goes_on_to_the_second_system() -> None:
    # The first system gives both 0.5 in the order Q, P; weights make the sums equal.
    options = FusionOptions(names=("a", "b"), k=0)
    first = prediction("d:0", "Q", "P", scores=(0.5, 0.5))
    second = prediction("d:0", "P", "Q", scores=(0.7, 0.2))
    fused = fuse_mention([first, second], options)
    assert scores(fused) == pytest.approx({"P": 1.5, "Q": 1.5})
    assert codes(fused) == ["P", "Q"]


def test_a_full_tie_goes_by_code() -> None:
    first = prediction("d:0", "B", "A", scores=(0.5, 0.5))
    second = prediction("d:0", "A", "B", scores=(0.5, 0.5))
    assert codes(fuse_mention([first, second], AB)) == ["A", "B"]


def test_the_same_ranks_in_another_order_are_a_tie() -> None:
    # X has ranks 1, 7, 2 and Y 2, 1, 7. Added from left to right, Y's sum is larger by a hair.
    assert 1 / 61 + 1 / 67 + 1 / 62 < 1 / 62 + 1 / 61 + 1 / 67
    systems = [
        prediction("d:0", "X", "Y"),
        prediction("d:0", "Y", "b2", "b3", "b4", "b5", "b6", "X"),
        prediction("d:0", "c1", "X", "c3", "c4", "c5", "c6", "Y"),
    ]
    assert codes(fuse_mention(systems, ABC))[:2] == ["X", "Y"]


def test_ranks_are_by_score_and_a_code_has_its_best() -> None:
    # Ranks 1 and 3 are the same concept under two names; rank 2 of the file scores most.
    each = prediction("d:0", "X", "Y", "X", scores=(0.5, 0.9, 0.2))
    fused = fuse_mention([each, None], AB)
    assert scores(fused) == pytest.approx({"Y": 1 / 61, "X": 1 / 62})
    assert fused.sources == ((Source("a", 1, 0.9),), (Source("a", 2, 0.5),))


def test_scores_are_weighted_sums_of_scores() -> None:
    """0 where a system lacks the code: C2 has 0.6 + 2 * 0.3, C1 0.9, C3 2 * 0.2."""
    options = FusionOptions(names=("a", "b"), weights=(1.0, 2.0), by="score")
    a = prediction("d:0", "C1", "C2", scores=(0.9, 0.6))
    b = prediction("d:0", "C2", "C3", scores=(0.3, 0.2))
    fused = fuse_mention([a, b], options).prediction
    assert [(each.concept_code, round(each.score, 9)) for each in fused.candidates] == [
        ("C2", 1.2), ("C1", 0.9), ("C3", 0.4),
    ]  # fmt: skip
    assert fuse_mention([a, None], options).prediction.candidates[0].concept_code == "C1"


def test_scores_that_are_missing_are_not_summed() -> None:
    options = FusionOptions(names=("a", "b"), by="score")
    unscored = prediction("d:0", "C1", scores=(math.nan,))
    with pytest.raises(LongbelError, match="b has candidates without a score"):
        fuse_mention([prediction("d:0", "C1"), unscored], options)


def test_weights_multiply() -> None:
    options = FusionOptions(names=("a", "b"), weights=(1.0, 3.0))
    fused = fuse_mention([prediction("d:0", "X"), prediction("d:0", "Y", "X")], options)
    assert scores(fused) == pytest.approx({"X": 1 / 61 + 3 / 62, "Y": 3 / 61})
    assert codes(fused) == ["X", "Y"]


def test_the_name_is_that_of_the_best_rank() -> None:
    first = prediction("d:0", "Z", "X")
    second = prediction("d:0", "X")
    other_name = Candidate(1, "X", "Better name", 0.9)
    second = type(second)(**{**vars(second), "candidates": (other_name,)})
    fused = fuse_mention([first, second], AB)
    assert fused.prediction.candidates[0].concept_name == "Better name"
    assert fused.sources[0] == (Source("a", 2, pytest.approx(0.8)), Source("b", 1, 0.9))


def test_of_equal_ranks_the_first_system_names_the_concept() -> None:
    first, second = prediction("d:0", "X"), prediction("d:0", "X")
    other_name = Candidate(1, "X", "Another name", 0.9)
    second = type(second)(**{**vars(second), "candidates": (other_name,)})
    for systems, name in (
        ([first, second], first.candidates[0].concept_name),
        ([second, first], "Another name"),
    ):
        assert fuse_mention(systems, AB).prediction.candidates[0].concept_name == name


def test_composite_codes_are_one_whatever_their_order() -> None:
    fused = fuse_mention([prediction("d:0", "B+A"), prediction("d:0", "A+B")], AB)
    assert codes(fused) == ["A+B"]


def test_the_limit_keeps_the_first() -> None:
    options = FusionOptions(names=("a", "b"), limit=2)
    fused = fuse_mention([prediction("d:0", "X", "Y", "Z"), prediction("d:0", "X")], options)
    assert codes(fused) == ["X", "Y"]
    assert len(fused.sources) == 2


@given(
    st.lists(st.lists(st.sampled_from("ABCDE"), unique=True, max_size=5), min_size=2, max_size=4)
)
def test_fusing_keeps_every_code_once_and_in_falling_order(systems: list[list[str]]) -> None:
    options = FusionOptions(names=tuple(map(str, range(len(systems)))))
    fused = fuse_mention([prediction("d:0", *answers) for answers in systems], options)
    assert sorted(codes(fused)) == sorted({code for answers in systems for code in answers})
    result = [candidate.score for candidate in fused.prediction.candidates]
    assert result == sorted(result, reverse=True)
    for code, sources in zip(codes(fused), fused.sources, strict=True):
        assert [int(s.system) for s in sources] == [
            index for index, answers in enumerate(systems) if code in answers
        ]


# Whole predictions ----------------------------------------------------------------------------


def test_predictions_that_cover_other_mentions_are_refused() -> None:
    each, two = [prediction("a:0", "X"), prediction("a:1", "X")], [prediction("a:0", "X")]
    with pytest.raises(LongbelError, match=r"b lacks 1 \(a:T1 the first\)") as caught:
        list(fuse([each, two], AB))
    assert caught.value.exit_code == 4
    allowed = FusionOptions(names=("a", "b"), allow_missing=True)
    assert len(list(fuse([each, two], allowed))) == 2


def test_mentions_of_a_document_stay_together() -> None:
    options = FusionOptions(names=("a", "b"), allow_missing=True)
    each = [prediction("a:0", "X"), prediction("b:0", "X")]
    two = [prediction("a:7", "X"), prediction("b:0", "X")]
    result = [
        f"{f.prediction.document_id}:{f.prediction.spans[0].start}"
        for f in fuse([each, two], options)
    ]
    assert result == ["a:0", "a:7", "b:0"]


def test_another_gold_is_an_error() -> None:
    pair = [prediction("a:0", "X", gold="X"), prediction("a:0", "X", gold="Y")]
    with pytest.raises(LongbelError, match="another gold for a:T0"):
        fuse_mention(pair, AB)
    same = [prediction("a:0", "X", gold="B+A"), prediction("a:0", "X")]
    assert fuse_mention(same, AB).prediction.gold_concept_code == "A+B"


@pytest.mark.parametrize(
    "options",
    [
        {"weights": (1.0,)},
        {"weights": (1.0, 0.0)},
        {"weights": (1.0, math.nan)},
        {"k": -1},
        {"limit": 0},
    ],
)
def test_options_that_make_no_sense(options: dict) -> None:
    with pytest.raises(LongbelError) as caught:
        FusionOptions(names=("a", "b"), **options)
    assert caught.value.exit_code == 2


# Files ----------------------------------------------------------------------------------------


def test_a_fused_file_reads_back_with_its_sources(tmp_path: Path) -> None:
    each = write_predictions(tmp_path / "one.jsonl", prediction("a:0", "X", "Y", gold="Y"))
    two = write_predictions(tmp_path / "two.jsonl", prediction("a:0", "Y", gold="Y"))
    for name, context in (("one", "short"), ("two", "hybrid_long")):
        run = tmp_path / f"{name}.jsonl.run"
        run.mkdir()
        kb = f"kb of {name}"
        facts = {"kb": kb, "model": name, "beams": 5, "context_format": context}
        (run / "run.json").write_text(json.dumps({"configuration": facts}))
    out = tmp_path / "fused.jsonl"
    assert fuse_files([each, two], out) == 1
    (line,) = [json.loads(text) for text in out.read_text().splitlines()]
    assert line["pred_concept_code"] == "Y"
    assert line["beams"][0]["sources"] == [
        {"system": "one.jsonl", "rank": 2, "beam_score": 0.8},
        {"system": "two.jsonl", "rank": 1, "beam_score": 0.9},
    ]
    assert len(read_predictions(out).predictions) == 1
    facts = run_facts(out)
    assert (facts.kb, facts.model, facts.beams) == ("mixed", "one+two", "5")
    assert facts.context_format == "short+hybrid_long"
    assert len(list(tmp_path.iterdir())) == 6  # two files with their runs, one with its record


def test_what_is_fused_may_come_on_standard_input(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    each = write_predictions(tmp_path / "one.jsonl", prediction("a:0", "X"))
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(each.read_bytes())))
    out = tmp_path / "fused.jsonl"
    assert fuse_files([each, Path("-")], out) == 1
    record = json.loads((tmp_path / "fused.jsonl.fusion.json").read_text())
    hashes = [system["sha256"] for system in record["fusion"]["systems"]]
    assert hashes == [hashlib.sha256(each.read_bytes()).hexdigest()] * 2


def test_the_data_of_an_unfinished_run_are_left_alone(tmp_path: Path) -> None:
    each = write_predictions(tmp_path / "one.jsonl", prediction("a:0", "X"))
    growing = tmp_path / "fused.jsonl.part"
    growing.write_text("linked so far")
    fuse_files([each, each], tmp_path / "fused.jsonl")
    assert growing.read_text() == "linked so far"


def test_an_existing_file_is_not_overwritten_unasked(tmp_path: Path) -> None:
    each = write_predictions(tmp_path / "one.jsonl", prediction("a:0", "X"))
    out = tmp_path / "fused.jsonl"
    out.write_text("mine")
    with pytest.raises(LongbelError, match="exists") as caught:
        fuse_files([each, each], out)
    assert caught.value.exit_code == 4
    assert out.read_text() == "mine"
    fuse_files([each, each], out, overwrite=True)
    assert "document_id" in out.read_text()


def test_a_run_under_the_name_is_kept_aside(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """What it says of itself is not said of the fusion; a refused fusion leaves it alone."""
    out = write_predictions(tmp_path / "out.jsonl", prediction("a:0", "X"))
    each = write_predictions(tmp_path / "one.jsonl", prediction("a:0", "X"))
    two = write_predictions(tmp_path / "two.jsonl", prediction("a:0", "Y"))
    other = write_predictions(tmp_path / "other.jsonl", prediction("b:0", "Y"))
    run = tmp_path / "out.jsonl.run"
    run.mkdir()
    (run / "run.json").write_text(json.dumps({"configuration": {"linker": "tfidf"}}))
    before = out.read_bytes()
    with pytest.raises(LongbelError, match="do not cover the same mentions"):
        fuse_files([each, other], out, overwrite=True)
    assert out.read_bytes() == before and run_facts(out).linker == "tfidf"

    with caplog.at_level("INFO", "longbel_cli"):
        assert fuse_files([each, two], out, overwrite=True) == 1
    assert run_facts(out).linker == "unknown"
    assert not run.exists() and "is kept in" in caplog.text and "out.jsonl.run.1" in caplog.text
    kept = tmp_path / "out.jsonl.run.1"
    assert (kept / "out.jsonl").read_bytes() == before and (kept / "run.json").exists()


def test_a_fusion_does_not_take_the_name_of_an_unfinished_run_unasked(tmp_path: Path) -> None:
    each = write_predictions(tmp_path / "one.jsonl", prediction("a:0", "X"))
    out, run = tmp_path / "out.jsonl", tmp_path / "out.jsonl.run"
    run.mkdir()
    (run / "run.json").write_text("{}")
    with pytest.raises(LongbelError, match="there is a run of that name") as caught:
        fuse_files([each, each], out)
    assert caught.value.exit_code == 4
    assert not out.exists() and (run / "run.json").exists()


def test_an_empty_code_is_not_written(tmp_path: Path) -> None:
    empty = write_predictions(tmp_path / "one.jsonl", prediction("a:0", ""))
    other = write_predictions(tmp_path / "two.jsonl", prediction("a:0", "", "X"))
    out = tmp_path / "fused.jsonl"
    assert fuse_files([empty, other], out) == 1
    (line,) = [json.loads(text) for text in out.read_text().splitlines()]
    assert [beam["pred_concept_code"] for beam in line["beams"]] == ["X"]
    assert codes(fuse_mention([prediction("a:0", " + ", "X"), prediction("a:0", "")], AB)) == ["X"]


def test_a_table_that_lacks_a_mention_id_is_not_fused(tmp_path: Path) -> None:
    table = tmp_path / "p.tsv"
    table.write_text(
        "doc_id\tmention_id\tsemantic_group\tpred_concept_code\nd\tT1\tDISO\tX\nd\t\tDISO\tX\n"
    )
    with pytest.raises(LongbelError, match="fusion needs document and mention ids"):
        fuse_files([table, table], tmp_path / "fused.jsonl")


def test_a_folder_is_no_place_for_a_fusion(tmp_path: Path) -> None:
    each = write_predictions(tmp_path / "one.jsonl", prediction("a:0", "X"))
    out = tmp_path / "fused"
    out.mkdir()
    with pytest.raises(LongbelError, match="fused is a folder") as caught:
        fuse_files([each, each], out, overwrite=True)
    assert caught.value.exit_code == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["fused", "one.jsonl"]


def test_a_refused_fusion_leaves_nothing_under_the_name(tmp_path: Path) -> None:
    each = write_predictions(tmp_path / "one.jsonl", prediction("a:0", "X"))
    two = write_predictions(tmp_path / "two.jsonl", prediction("b:0", "X"))
    with pytest.raises(LongbelError, match="do not cover the same mentions"):
        fuse_files([each, two], tmp_path / "fused.jsonl")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one.jsonl", "two.jsonl"]


def test_a_fusion_goes_to_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(LongbelError) as refused:
        fuse_files([tmp_path / "a", tmp_path / "b"], Path("-"))
    assert refused.value.exit_code == 2 and not list(tmp_path.iterdir())


def test_a_record_is_of_its_file_at_every_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ended between the record and the file, the record of what is there is still found."""
    paths = [
        write_predictions(tmp_path / f"{name}.jsonl", prediction("a:0", name)) for name in "abc"
    ]
    out = tmp_path / "fused.jsonl"
    fuse_files(paths[:2], out)
    first = read_fusion_record(out)
    assert first is not None and first["sha256"] == sha256_of_file(out)

    def killed(source: Path, target: Path) -> None:
        if target == out:
            raise KeyboardInterrupt
        source.replace(target)

    with monkeypatch.context() as patched:
        patched.setattr(DISK, "replace", killed)
        for _ in range(2):
            with pytest.raises(KeyboardInterrupt):
                fuse_files(paths, out, overwrite=True)
            assert read_fusion_record(out) == first
    fuse_files(paths, out, overwrite=True)
    last = read_fusion_record(out)
    assert last is not None and "replaced" not in last and len(last["fusion"]["systems"]) == 3
    out.write_text("another file\n")
    assert read_fusion_record(out) is None


def test_the_first_system_answers_alone_from_a_threshold_on() -> None:
    options = FusionOptions(("a", "b"), (1.0, 10.0), by="score", threshold=0.8)
    other = prediction("d:0", "Y", scores=(0.9,))
    sure = fuse_mention([prediction("d:0", "X", scores=(0.8,)), other], options)
    assert codes(sure) == ["X"] and scores(sure) == {"X": 0.8}
    unsure = fuse_mention([prediction("d:0", "X", scores=(0.79,)), other], options)
    assert codes(unsure) == ["Y", "X"]
    assert codes(fuse_mention([None, other], options)) == ["Y"]
    assert codes(fuse_mention([prediction("d:0"), other], options)) == ["Y"]
