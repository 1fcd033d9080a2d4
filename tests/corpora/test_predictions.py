"""Reading predictions: our lines, the published tables, and what may be wrong in either."""

from __future__ import annotations

import gzip
import json
import math
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kb_builder.codes import joined_code
from kb_builder.errors import LongbelError
from longbel_cli.corpora.prediction_file import distinct_names
from longbel_cli.corpora.predictions import prediction_of_line, read_predictions
from longbel_cli.types import Candidate, Concept, Prediction, Span
from tests.support.examples import some

LINE: dict[str, Any] = {
    "document_id": "d1",
    "mention_id": "T1",
    "mention": "fever",
    "semantic_group": "Disorders",
    "spans": [[0, 5]],
    "pred_concept_code": "C2",
    "pred_concept_name": "Fever",
    "beam_score": 0.8,
    "beams": [
        {"rank": 1, "pred_concept_code": "C2", "pred_concept_name": "Fever", "beam_score": 0.8},
        {"rank": 2, "pred_concept_code": "C1", "pred_concept_name": "Pyrexia", "beam_score": 0.1},
    ],
    "gold_concept_code": "C2",
}


def written(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def lines(*records: dict[str, Any]) -> str:
    return "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("C1", "C1"),
        (" C1 ", "C1"),
        ("B+A", "A+B"),
        (" B + A ", "A+B"),
        ("HP:2+HP:10", "HP:10+HP:2"),
        ("A+", "A"),
        ("A+A", "A"),
        (" + ", ""),
    ],
)
def test_parts_of_composite_codes_are_sorted(code: str, expected: str) -> None:
    assert joined_code(code) == expected


def test_a_written_prediction_is_read_back(tmp_path: Path) -> None:
    prediction = prediction_of_line(json.dumps(LINE).encode(), "LINE")
    assert prediction.to_json() == LINE
    file = read_predictions(written(tmp_path / "p.jsonl", lines(prediction.to_json())))
    assert file.predictions == (prediction,)
    assert file.notes == ()


@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbf" + lines(LINE).encode(),
        lines(LINE).replace("\n", "\r\n").encode(),
        b"\n" + lines(LINE).encode() + b"\n\n",
        gzip.compress(lines(LINE).encode(), mtime=0),
        lines(LINE).rstrip("\n").encode(),
    ],
    ids=["BOM", "CRLF", "empty lines", "gzip", "no last newline"],
)
def test_forms_of_the_same_file(tmp_path: Path, content: bytes) -> None:
    file = read_predictions(written(tmp_path / "p.jsonl", content))
    assert file.predictions == (prediction_of_line(json.dumps(LINE).encode(), "LINE"),)


def test_a_line_separator_inside_a_mention_ends_no_line(tmp_path: Path) -> None:
    record = {**LINE, "mention": "a\u2028b\u0085c"}
    file = read_predictions(written(tmp_path / "p.jsonl", lines(record)))
    assert [result.mention for result in file.predictions] == ["a\u2028b\u0085c"]


def test_candidates_are_put_in_order_of_rank(tmp_path: Path) -> None:
    record = {**LINE, "beams": LINE["beams"][::-1]}
    file = read_predictions(written(tmp_path / "p.jsonl", lines(record)))
    assert [result.rank for result in file.predictions[0].candidates] == [1, 2]


@pytest.mark.parametrize("empty", ["", " ", "+", None])
def test_an_empty_code_is_no_candidate(empty: str | None) -> None:
    beams = [{**LINE["beams"][0], "pred_concept_code": empty}, LINE["beams"][1]]
    result = prediction_of_line(json.dumps({**LINE, "beams": beams}).encode(), "LINE")
    assert result.candidates == (Candidate(2, "C1", "Pyrexia", 0.1),)
    alone = {key: value for key, value in LINE.items() if key != "beams"}
    result = prediction_of_line(json.dumps({**alone, "pred_concept_code": empty}).encode(), "LINE")
    assert result.candidates == ()


@pytest.mark.parametrize("empty", ["", " ", " + ", None])
def test_an_empty_gold_is_none(empty: str | None) -> None:
    result = prediction_of_line(json.dumps({**LINE, "gold_concept_code": empty}).encode(), "LINE")
    assert result.gold_concept_code is None


def test_duplicates_are_left_out_and_said(tmp_path: Path) -> None:
    other = {**LINE, "beams": []}
    file = read_predictions(written(tmp_path / "p.jsonl", lines(LINE, LINE, other)))
    assert file.predictions == (prediction_of_line(json.dumps(LINE).encode(), "LINE"),)
    (note,) = file.notes
    assert "2 duplicate lines left out" in note
    assert "1 said something else" in note


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (lines(LINE) + '{"document_id": "d1", "ment', "p.jsonl:2: not a whole JSON object"),
        (lines(LINE) + "[1]\n", "p.jsonl:2: a prediction must be a JSON object"),
        (lines({"document_id": "d"}), "p.jsonl:1: key 'pred_concept_code' is missing"),
        (lines({**LINE, "spans": [[1]]}), "p.jsonl:1: a value of the wrong type"),
        (lines({**LINE, "beams": "C1"}), "p.jsonl:1: a value of the wrong type"),
        (lines({**LINE, "beams": [{**LINE["beams"][0], "rank": 0}]}), "p.jsonl:1: a value of the"),
        (lines({**LINE, "beams": LINE["beams"][:1] * 2}), "p.jsonl:1: a value of the wrong type"),
        (lines({**LINE, "beams": [{**LINE["beams"][0], "rank": "1"}]}), "p.jsonl:1: a value of"),
        (lines({**LINE, "beams": [{**LINE["beams"][0], "rank": 1.5}]}), "p.jsonl:1: a value of"),
        (lines({**LINE, "beams": [{**LINE["beams"][0], "rank": True}]}), "p.jsonl:1: a value of"),
        (lines(LINE).replace("0.1}", "Infinity}"), "p.jsonl:1: a value of the wrong type"),
        (lines(LINE).replace("0.1}", "1e400}"), "p.jsonl:1: a value of the wrong type"),
        (lines(LINE).replace("0.1}", "1" * 5000 + "}"), "p.jsonl:1: a number has too many digits"),
        (lines({**LINE, "mention_id": None}), "p.jsonl:1: a value of the wrong type"),
        (lines({**LINE, "spans": [[0, 1e400]]}), "p.jsonl:1: a value of the wrong type"),
        (lines(LINE).replace("fever", "\\ud800"), "p.jsonl:1: half of a surrogate pair"),
        ('{"a":' + "[" * 100_000, "p.jsonl:1: nested too deeply"),
        (b'{"document_id": "\xff"}', "p.jsonl:1: not UTF-8"),
        ("", "p.jsonl: holds no predictions"),
        ("\n \n", "p.jsonl: holds no predictions"),
        (
            gzip.compress(lines(LINE).encode(), mtime=0)[:-20] + b"x" * 20,
            "p.jsonl: the gzip data is dama",
        ),
        (b"\x1f\x8b\x08torn", "p.jsonl: the gzip data is damaged or cut short"),
    ],
)
def test_bad_lines_name_their_place(tmp_path: Path, content: str | bytes, message: str) -> None:
    with pytest.raises(LongbelError) as caught:
        read_predictions(written(tmp_path / "p.jsonl", content))
    assert message in str(caught.value)
    assert caught.value.exit_code == 3


def test_an_unknown_score_is_written_as_null(tmp_path: Path) -> None:
    record = {**LINE, "beams": [{**LINE["beams"][0], "beam_score": None}]}
    file = read_predictions(written(tmp_path / "p.jsonl", lines(record)))
    line = file.predictions[0].to_json()
    assert math.isnan(file.predictions[0].candidates[0].score)
    assert line["beam_score"] is None and line["beams"][0]["beam_score"] is None


def test_a_folder_is_no_predictions_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(LongbelError, match=r"\.: the file cannot be read"):
        read_predictions(".")


def test_a_missing_file_points_to_an_unfinished_run(tmp_path: Path) -> None:
    with pytest.raises(LongbelError, match="cannot be read") as caught:
        read_predictions(tmp_path / "preds.jsonl")
    assert "status" not in caught.value.hint
    written(tmp_path / "preds.jsonl.part", lines(LINE))
    with pytest.raises(LongbelError) as caught:
        read_predictions(tmp_path / "preds.jsonl")
    assert "longbel status" in caught.value.hint


# Tables of the published code -----------------------------------------------------------------

HEADER = (
    "mention\tdoc_id\tmention_id\tstart_span\tend_span\tsemantic_group\tgold_concept_code\t"
    "pred_concept_name\tpred_concept_code\tscore\tbeam_score\trank\n"
)


def test_the_published_table(tmp_path: Path) -> None:
    content = (
        HEADER
        + "fever\td1\tT1\t0\t5\tDisorders\tC2\tPyrexia\tC1\t0.2\t0.1\t2\n"
        + "fever\td1\tT1\t0\t5\tDisorders\tC2\tFever\tC2\t0.3\t0.8\t1\n"
        + "ache\td2\tT1\t3\t7\tDisorders\tB+A\tPain\tA + B\t0.5\tNaN\t1\n"
    )
    file = read_predictions(written(tmp_path / "p.tsv", content))
    assert file.predictions == (
        Prediction(
            "d1",
            "T1",
            "fever",
            "Disorders",
            (Span(0, 5),),
            (Candidate(1, "C2", "Fever", 0.8), Candidate(2, "C1", "Pyrexia", 0.1)),
            "C2",
        ),
        Prediction(
            "d2",
            "T1",
            "ache",
            "Disorders",
            (Span(3, 7),),
            (Candidate(1, "A+B", "Pain", 0.5),),
            "A+B",
        ),
    )
    assert file.has_documents
    assert file.notes == ()


def test_the_older_table_has_one_rank_and_no_ids(tmp_path: Path) -> None:
    content = (
        "filename\tlabel\tstart_span\tend_span\tspan\tcode\tPredicted_code\n"
        "f1\tENFERMEDAD\t0\t5\tasma\t10\t10\n"
        "f1\tENFERMEDAD\t0\t5\tasma\t10\t10\n"
        "f1\tSINTOMA\t0\t5\tasma\t11\t\n"
    )
    file = read_predictions(written(tmp_path / "p.tsv", content))
    result = [
        (p.document_id, p.semantic_group, p.gold_concept_code, [c[:2] for c in p.candidates])
        for p in file.predictions
    ]
    assert result == [("f1", "ENFERMEDAD", "10", [(1, "10")]), ("f1", "SINTOMA", "11", [])]
    assert math.isnan(file.predictions[0].candidates[0].score)
    assert not file.has_ids
    assert "1 duplicate row left out" in file.notes[0]


def test_the_older_table_without_spans_keeps_equal_rows_apart(tmp_path: Path) -> None:
    content = "code\tPredicted_code\tlabel\tfilename\n" + "C1\tC1\tDISO\tf1\n" * 3
    file = read_predictions(written(tmp_path / "p.tsv", content))
    assert len(file.predictions) == 3
    assert len({result.mention_id for result in file.predictions}) == 3


def test_a_missing_rank_is_one(tmp_path: Path) -> None:
    content = (
        "doc_id\tmention_id\tsemantic_group\tgold_concept_code\tpred_concept_code\trank\n"
        "d\tT1\tDISO\tC1\tC1\t\n"
        "d\tT1\tDISO\tC1\tC2\t2\n"
    )
    file = read_predictions(written(tmp_path / "p.tsv", content))
    assert [c[:2] for c in file.predictions[0].candidates] == [(1, "C1"), (2, "C2")]


def test_a_blank_mention_id_is_none(tmp_path: Path) -> None:
    """Rows without an id are told apart by spans, and without spans each is a mention."""
    content = (
        HEADER
        + "fever\td1\t\t0\t5\tDisorders\tC2\tFever\tC2\t0.3\t0.8\t1\n"
        + "fever\td1\t\t0\t5\tDisorders\tC2\tPyrexia\tC1\t0.2\t0.1\t2\n"
        + "ache\td1\t \t6\t9\tDisorders\tC3\tPain\tC4\t0.5\t0.5\t1\n"
        + "flu\td1\trow1\t\t\tDisorders\tC5\tCold\tC6\t0.5\t0.5\t1\n"
        + "flu\td1\t\t\t\tDisorders\tC5\tFlu\tC5\t0.5\t0.5\t1\n"
        + "flu\td1\t\t\t\tDisorders\tC5\tFlu\tC5\t0.5\t0.5\t1\n"
    )
    file = read_predictions(written(tmp_path / "p.tsv", content))
    result = [(p.spans, [c.concept_code for c in p.candidates]) for p in file.predictions]
    assert result == [
        ((Span(0, 5),), ["C2", "C1"]), ((Span(6, 9),), ["C4"]),
        ((), ["C6"]), ((), ["C5"]), ((), ["C5"]),
    ]  # fmt: skip
    assert len({p.mention_id for p in file.predictions}) == 5
    assert file.has_ids and file.nameless == 4
    assert "4 mention(s) without an id" in file.notes[0]


def test_rows_without_a_span_are_mentions_of_their_own(tmp_path: Path) -> None:
    content = (
        "filename\tlabel\tstart_span\tend_span\tcode\tPredicted_code\n"
        + "f1\tDISO\t\t\tC1\tC1\n" * 3
    )
    assert len(read_predictions(written(tmp_path / "p.tsv", content)).predictions) == 3


def test_quotes_in_fields_are_text(tmp_path: Path) -> None:
    content = (
        HEADER
        + 'the "flu\td1\tT1\t0\t8\tDisorders\tC1\t"Flu\tC1\t1\t1\t1\n'
        + '5" needle\td1\tT2\t0\t9\tDisorders\tC1\tNeedle, 5"\tC1\t1\t1\t1\n'
        + '"a ""flu"" b"\td1\tT3\t0\t9\tDisorders\tC1\t"x" and "y"\tC1\t1\t1\t1\n'
    )
    file = read_predictions(written(tmp_path / "p.tsv", content))
    texts = [(p.mention, p.candidates[0].concept_name) for p in file.predictions]
    assert texts == [
        ('the "flu', '"Flu'),
        ('5" needle', 'Needle, 5"'),
        ('a "flu" b', '"x" and "y"'),
    ]


def test_a_table_without_documents_says_so(tmp_path: Path) -> None:
    content = (
        "mention_id\tsemantic_group\tgold_concept_code\tpred_concept_code\trank\tscore\tbeam_score\n"
        "m1\tDISO\tC1\tC1\t1\t0.5\t0.5\n"
        "m2\tDISO\tC1\tC2\t1\t0.5\t0.5\n"
    )
    file = read_predictions(written(tmp_path / "p.tsv", "\ufeff" + content))
    assert [p.document_id for p in file.predictions] == ["m1", "m2"]
    assert not file.has_documents
    assert "no document column" in file.notes[0]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (HEADER + "a\tb\n", "p.tsv:2: 2 fields where the header has 12"),
        (HEADER, "p.tsv: a header and no rows"),
        ("a\tb\nc\td\n", "p.tsv:1: neither JSON lines nor a prediction table"),
        (HEADER + "f\td\tT\t0\t5\tD\tC\tN\tC\t1\t1\tbest\n", "p.tsv:2: rank, score or span"),
        (HEADER + "f\td\tT\t0\t5\tD\tC\tN\tC\t1\t1\t1.5\n", "p.tsv:2: rank, score or span"),
        (HEADER + "f\td\tT\t0\t5\tD\tC\tN\tC\t1\t1\t0\n", "p.tsv:2: rank, score or span"),
        (HEADER + "f\td\tT\t0\t5\tD\tC\tN\tC\t1\tinf\t1\n", "p.tsv:2: rank, score or span"),
        (
            "code\tPredicted_code\tlabel\tfilename\trank\nC\tC\tD\tf\t1\nC\tB\tD\tf\t2\n",
            "p.tsv:3: rank 2 of an unknown mention",
        ),
    ],
)
def test_bad_tables_name_their_place(tmp_path: Path, content: str, message: str) -> None:
    with pytest.raises(LongbelError) as caught:
        read_predictions(written(tmp_path / "p.tsv", content))
    assert message in str(caught.value)


@settings(max_examples=some(100), deadline=None)
@given(
    st.sampled_from([lines(LINE, LINE), HEADER + "f\td\tT\t0\t5\tD\tC\tN\tC\t1\t1\t1\n" * 2]),
    st.lists(st.tuples(st.integers(0, 900), st.integers(0, 9), st.binary(max_size=6)), max_size=6),
)
def test_damage_is_read_or_named_but_never_a_crash(
    content: str, damage: list[tuple[int, int, bytes]]
) -> None:
    broken = content.encode()
    for location, length, put in damage:
        broken = broken[:location] + put + broken[location + length :]
    with tempfile.TemporaryDirectory() as folder:
        path = written(Path(folder) / "p", broken)
        try:
            file = read_predictions(path)
        except LongbelError as error:
            assert str(path) in error.message
        else:
            keys = [(result.document_id, result.mention_id) for result in file.predictions]
            assert len(keys) == len(set(keys)) > 0


def test_files_of_one_name_are_told_apart() -> None:
    paths = [Path("a/p.jsonl"), Path("b/p.jsonl"), Path("c/q.jsonl")]
    assert distinct_names(paths) == (str(paths[0]), str(paths[1]), "q.jsonl")


def test_the_concepts_of_an_answer_keep_their_names(tmp_path: Path) -> None:
    """Each once; written and read, and unknown where a file has the joined answer alone."""
    concepts = [Concept("C2", "b"), Concept("C1", "a+c"), Concept("C2", "other b")]
    candidate = Candidate.of(1, concepts, "<+>", 0.5)
    assert candidate[:3] == (1, "C1+C2", "b<+>a+c")
    assert candidate.concepts == (Concept("C2", "b"), Concept("C1", "a+c"))
    assert candidate.to_json()["concepts"] == [
        {"code": "C2", "name": "b"},
        {"code": "C1", "name": "a+c"},
    ]
    line = {"document_id": "d", "mention_id": "T1", "semantic_group": "DISO", "spans": [[0, 1]]}
    path = tmp_path / "p.jsonl"
    path.write_text(json.dumps({**line, "beams": [candidate.to_json()]}) + "\n")
    assert read_predictions(path).predictions[0].candidates == (candidate,)
    beam = {key: value for key, value in candidate.to_json().items() if key != "concepts"}
    path.write_text(json.dumps({**line, "beams": [beam]}) + "\n")
    assert read_predictions(path).predictions[0].candidates[0].concepts == ()


def test_one_concept_is_known_without_being_said() -> None:
    candidate = Candidate.of(1, [Concept("C1", "a"), Concept("C1", "b")], "<+>", 0.5)
    assert candidate == Candidate(1, "C1", "a", 0.5)
    assert candidate.concepts == (Concept("C1", "a"),)
    assert "concepts" not in candidate.to_json()
