"""Predictions back into corpora: bytes kept, round trips, and ids that are no file names."""

from __future__ import annotations

import io
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kb_builder.errors import LongbelError
from longbel_cli.app import main
from longbel_cli.corpora import Corpus, Problem, read_corpus
from longbel_cli.corpora.formats import writers
from longbel_cli.corpora.writing import Answer, answers_of, safe_path
from longbel_cli.types import Candidate, Document, Prediction, Span
from tests.corpora.nasty.cases import BRAT_CASES, CASES, Case, code, entity, lines, page, passage

BRAT_TEXT = "Fever and cough after Zanthoma."


def stored(files: Mapping[str, bytes], folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder


def gold_answers(document: Document) -> dict[str, tuple[Answer, ...]]:
    """The corpus's own codes as answers, the mention standing for the name."""
    return {
        mention.id: tuple(Answer(code, mention.text) for code in mention.gold)
        for mention in document.mentions
        if mention.gold is not None
    }


def rewritten(
    source: Path, form: str, out: Path, with_gold: bool = True, told: list[Problem] | None = None
) -> Path:
    """The corpus written in a format, with its own codes as answers or with none."""
    out.mkdir()
    notes: list[Problem] = []
    writer = writers()[form](out, "UMLS", (notes if told is None else told).append)
    for read in Corpus([source]).read_whole(notes.append):
        writer.write(read, gold_answers(read.document) if with_gold else {})
    writer.close()
    return out


def content(documents: list[Document]) -> dict[str, Any]:
    """What a round trip must keep: text, mentions, types and codes."""
    return {
        document.id: (
            document.text,
            [(m.spans, m.text, m.entity_type, m.gold) for m in document.mentions],
        )
        for document in documents
    }


readable_brat = [
    case
    for case in BRAT_CASES
    if case.refused is None and not any(reason[1] is None for reason in case.left_out)
]


@pytest.mark.parametrize("case", readable_brat, ids=lambda case: case.name)
def test_brat_without_predictions_keeps_every_byte(case: Case, tmp_path: Path) -> None:
    source = stored(case.files, tmp_path / "corpus")
    out = rewritten(source, "brat", tmp_path / "out", with_gold=False)
    written = {
        str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*") if path.is_file()
    }
    pairs = {
        name: data
        for name, data in case.files.items()
        if name.endswith((".txt", ".ann")) and not name.startswith((".", "LICENSE"))
    }
    assert written == pairs


@pytest.mark.parametrize(
    ("ann", "added"),
    [
        (b"T1\tDISO 0 5\tFever\n", b"N1\tReference T1 UMLS:C9\ta name\n"),
        (b"T1\tDISO 0 5\tFever", b"\nN1\tReference T1 UMLS:C9\ta name\n"),
        (
            b"N7\tReference T1 X:1\tb\nT1\tDISO 0 5\tFever\n*\tEquiv\n",
            b"N8\tReference T1 UMLS:C9\ta name\n",
        ),
        (b"T1\tDISO 0 5\tFever\r\n", b"N1\tReference T1 UMLS:C9\ta name\r\n"),
        (b"\xef\xbb\xbfT1\tDISO 0 5\tFever\r\n\r\n", b"N1\tReference T1 UMLS:C9\ta name\r\n"),
    ],
)
def test_brat_keeps_every_line_and_adds_one_for_each_code(
    ann: bytes, added: bytes, tmp_path: Path
) -> None:
    source = stored({"x.txt": b"Fever", "x.ann": ann}, tmp_path / "corpus")
    out = tmp_path / "out"
    out.mkdir()
    writer = writers()["brat"](out, "UMLS", lambda problem: None)
    for read in Corpus([source]).read_whole():
        writer.write(read, {"T1": (Answer("C9", "a\tname"),)})
    assert (out / "x.ann").read_bytes() == ann + added
    assert (out / "x.txt").read_bytes() == b"Fever"


def test_bigbio_to_brat_by_hand(tmp_path: Path) -> None:
    fragments = {
        **entity("7_T2", kind="Sign or Symptom", normalized=code("C2", "C1")),
        "text": ["Fe", "cough"],
        "offsets": [[0, 2], [6, 11]],
    }
    pages = page(fragments, entity("7_T1", 0, 5), passages=[passage("Fever"), passage("cough", 6)])
    source = stored({"c.jsonl": lines(pages)}, tmp_path / "corpus")
    told: list[Problem] = []
    out = rewritten(source, "brat", tmp_path / "out", told=told)
    assert (out / "d.txt").read_bytes() == b"Fever cough"
    assert (out / "d.ann").read_text() == (
        "T1\tDISO 0 5\tFever\n"
        "T2\tSign_or_Symptom 0 2;6 11\tFe cough\n"
        "N1\tReference T2 UMLS:C1\tFe cough\n"
        "N2\tReference T2 UMLS:C2\tFe cough\n"
    )
    assert [problem.mention_id for problem in told] == ["7_T2"]


def test_bigbio_keeps_its_other_keys_and_replaces_its_codes(tmp_path: Path) -> None:
    value = page(
        {**entity(normalized=code("OLD")), "db_match": "x"},
        entity("T2", 10, 15, "cough", normalized=code("OLD")),
        entity("T3", 0, 4, normalized=code("OLD")),  # left out: its text is another
        relations=[{"id": "R1"}],
        language="en",
    )
    source = stored({"c.jsonl": lines(value)}, tmp_path / "corpus")
    out = tmp_path / "out"
    out.mkdir()
    writer = writers()["bigbio"](out, "OPENKB", lambda problem: None)
    for read in Corpus([source]).read_whole(lambda problem: None):
        writer.write(read, {"T1": (Answer("C1", "a"), Answer("C2", "b"))})
    writer.close()
    expected = json.loads(json.dumps(value))
    expected["entities"][0]["normalized"] = [
        {"db_name": "OPENKB", "db_id": "C1"},
        {"db_name": "OPENKB", "db_id": "C2"},
    ]
    expected["entities"][1]["normalized"] = []
    expected["entities"][2]["normalized"] = []
    assert json.loads((out / "corpus.jsonl").read_text()) == expected


FRAGMENTS = {"text": ["Fever", "cough"], "offsets": [[0, 5], [10, 15]]}


@pytest.mark.parametrize(
    ("entities", "answered"),
    [
        ([entity(), entity("T1", 10, 15, "cough")], 0),
        ([entity(), entity()], 0),
        ([entity(), entity(kind="T047")], 0),
        # The first one was left out: the answer is the second one's.
        ([entity("T1", 10, 15), entity()], 1),
        ([entity(text="cough"), entity()], 1),
        ([entity(kind=""), entity()], 1),
        ([entity(normalized=7), entity()], 1),
        ([entity(1), entity("1", 10, 15, "cough")], 0),
        ([7, entity(text=" Fever "), entity()], 1),
        ([{**entity(), **FRAGMENTS}, entity()], 0),
    ],
)
def test_of_bigbio_entities_with_one_id_only_the_kept_one_is_answered(
    entities: list[Any], answered: int, tmp_path: Path
) -> None:
    source = stored({"c.jsonl": lines(page(*entities))}, tmp_path / "corpus")
    out = tmp_path / "out"
    out.mkdir()
    writer = writers()["bigbio"](out, "UMLS", lambda problem: None)
    for read in Corpus([source]).read_whole(lambda problem: None):
        (mention,) = read.document.mentions
        writer.write(read, {mention.id: (Answer("C1", "a"),)})
    writer.close()
    written = json.loads((out / "corpus.jsonl").read_text())["entities"]
    assert len(written) == len(entities)
    for number, found in enumerate(written):
        if isinstance(found, dict):
            expected = [{"db_name": "UMLS", "db_id": "C1"}] if number == answered else []
            assert found["normalized"] == expected


def test_pubtator_by_hand(tmp_path: Path) -> None:
    fragments = {**entity("T2"), "text": ["Fever", "cough"], "offsets": [[0, 5], [10, 15]]}
    value = page(
        entity(normalized=code("C2", "C1")),
        fragments,
        document_id="a|b",
        passages=[passage("Fever\nand cough"), passage("after\tthat.", 16)],
    )
    source = stored({"c.jsonl": lines(value)}, tmp_path / "corpus")
    told: list[Problem] = []
    out = rewritten(source, "pubtator", tmp_path / "out", told=told)
    assert (out / "corpus.pubtator").read_text() == (
        "a_b|t|Fever and cough\n"
        "a_b|a|after that.\n"
        "a_b\t0\t5\tFever\tDISO\tC1|C2\n"
        "a_b\t0\t15\tFever and cough\tDISO\t-1\n"
        "\n"
    )
    assert len(told) == 2


@pytest.mark.parametrize(
    ("passages", "title", "abstract"),
    [
        ([passage("Fever. Cough.")], "Fever. Cough.", ""),
        ([passage("Fever.\nCough.\nPain.")], "Fever.", "Cough. Pain."),
        ([passage("Fever.\r\nCough.")], "Fever.", " Cough."),
        ([passage("Fever."), passage("Cough.", 7), passage("Pain.", 14)], "Fever.", "Cough. Pain."),
        ([passage("Fever."), passage("Cough.", 9)], "Fever.", "  Cough."),
        ([passage("Fever."), passage("Cough.", 6)], "Fever.Cough.", ""),
        ([passage("Fever.", 2), passage("Cough.", 9)], "  Fever.", "Cough."),
    ],
)
def test_pubtator_parts_a_text_where_one_character_can_go(
    passages: list[dict[str, Any]], title: str, abstract: str, tmp_path: Path
) -> None:
    source = stored({"c.jsonl": lines(page(passages=passages))}, tmp_path / "corpus")
    out = rewritten(source, "pubtator", tmp_path / "out")
    assert (out / "corpus.pubtator").read_text() == f"d|t|{title}\nd|a|{abstract}\n\n"


# Anything a document may be made of; surrogates alone are no text.
characters = st.characters(exclude_categories=["Cs"])
texts = st.lists(
    st.text(characters, max_size=12)
    | st.sampled_from(["\r\n", "\n", "\t", "\u2028", "\u0085", "\ufeff", "e\u0300", "\U0001f600"]),
    min_size=1,
    max_size=6,
).map("".join)


@st.composite
def pages(draw: st.DrawFn) -> dict[str, Any]:
    """A BigBio document of one to three passages with mentions of one or two fragments."""
    passages, position = [], 0
    for _ in range(draw(st.integers(1, 3))):
        text = draw(texts)
        passages.append(passage(text, position))
        position += len(text) + draw(st.integers(0, 2))
    text = "".join(
        part["text"][0] + " " * (after - part["offsets"][0][1])
        for part, after in zip(
            passages, [p["offsets"][0][0] for p in passages[1:]] + [0], strict=True
        )
    )
    inside = [
        offset
        for part in passages
        for offset in range(part["offsets"][0][0], part["offsets"][0][1])
    ]
    entities = []
    for number in range(draw(st.integers(0, 4)) if inside else 0):
        spans = []
        for _ in range(draw(st.integers(1, 2))):
            start, last = sorted((draw(st.sampled_from(inside)), draw(st.sampled_from(inside))))
            spans.append([start, last + 1])
        entities.append(
            {
                "id": f"d_T{number}",
                "type": draw(st.sampled_from(["DISO", "T047", "ENFERMEDAD", "T047,T191"])),
                "text": [text[start:end] for start, end in spans],
                "offsets": spans,
                "normalized": list(
                    code(*draw(st.lists(st.sampled_from(["C1", "C2", "HP:0001250"]), max_size=2)))
                ),
            }
        )
    return page(*entities, passages=passages)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(pages())
def test_bigbio_to_brat_to_bigbio(tmp_path_factory: pytest.TempPathFactory, value: Any) -> None:
    folder = tmp_path_factory.mktemp("trip")
    source = stored({"c.jsonl": lines(value)}, folder / "corpus")
    blank = [e for e in value["entities"] if not " ".join(e["text"]).strip()]
    told: list[Problem] = []
    first = list(read_corpus([source], on_problem=told.append))
    assert len(told) == len(blank)  # a mention of white space alone is none
    brat = rewritten(source, "brat", folder / "brat")
    back = rewritten(brat, "bigbio", folder / "back")
    assert content(list(read_corpus([brat]))) == content(first)
    assert content(list(read_corpus([back]))) == content(first)


@pytest.mark.parametrize(
    "case",
    [case for case in CASES if case.refused is None and not case.left_out and not case.warnings],
    ids=lambda case: case.name,
)
def test_every_clean_case_survives_bigbio_and_brat(case: Case, tmp_path: Path) -> None:
    source = stored(case.files, tmp_path / "corpus")
    first = content(list(read_corpus([source])))
    bigbio = rewritten(source, "bigbio", tmp_path / "bigbio")
    assert content(list(read_corpus([bigbio]))) == first
    brat = rewritten(bigbio, "brat", tmp_path / "brat")
    # A list of types is written as one type; NO_CODE is a code like any other.
    assert content(list(read_corpus([brat]))) == first


@pytest.mark.parametrize(
    ("document_id", "path"),
    [
        ("d", "d"),
        ("a/b", "a/b"),
        ("été 7", "été 7"),
        ("../../etc/passwd", "%2E%2E/%2E%2E/etc/passwd"),
        ("/etc/passwd", "%/etc/passwd"),
        ("a//b", "a/%/b"),
        (".", "%2E"),
        (".hidden", "%2Ehidden"),
        ("end.", "end%2E"),
        (" x ", "%20x%20"),
        ("a\\b:c", "a%5Cb%3Ac"),
        ("nul\x00\n", "nul%00%0A"),
        ("50%", "50%25"),
        ("", "%"),
    ],
)
def test_ids_become_safe_paths(document_id: str, path: str) -> None:
    assert safe_path(document_id).as_posix() == path


def test_a_very_long_id_is_cut_to_a_name_of_its_own() -> None:
    one, two = safe_path("é" * 400 + "1"), safe_path("é" * 400 + "2")
    assert one != two
    assert all(len(str(path).encode()) <= 180 for path in (one, two))


@given(st.text(characters, max_size=40) | st.text("./\\%~ a", max_size=12))
def test_no_id_leaves_the_folder(document_id: str) -> None:
    path = safe_path(document_id)
    assert not path.is_absolute()
    assert ".." not in path.parts
    assert not any(re.search(r"[\x00-\x1f]", part) for part in path.parts)


@given(st.sets(st.text("./%2Ea ", max_size=5), min_size=2, max_size=20))
def test_different_ids_have_different_paths(ids: set[str]) -> None:
    assert len({safe_path(document_id) for document_id in ids}) == len(ids)


def test_a_link_in_the_folder_leads_nowhere(tmp_path: Path) -> None:
    source = stored({"c.jsonl": lines(page(document_id="a/x"))}, tmp_path / "corpus")
    out, elsewhere = tmp_path / "out", tmp_path / "elsewhere"
    out.mkdir()
    elsewhere.mkdir()
    (out / "a").symlink_to(elsewhere)
    writer = writers()["brat"](out, "UMLS", lambda problem: None)
    (read,) = Corpus([source]).read_whole()
    with pytest.raises(LongbelError, match="would lie outside"):
        writer.write(read, {})
    assert list(elsewhere.iterdir()) == []


def candidate(concept_code: str, name: str) -> Prediction:
    best = Candidate(1, concept_code, name, 0.9)
    return Prediction("d", "T1", "Fever", "DISO", (Span(0, 5),), (best,))


@pytest.mark.parametrize(
    ("concept_code", "name", "answers"),
    [
        ("C1", "Fever", (("C1", "Fever"),)),
        # Cough may be C1 and Fever C2: codes are sorted, names are not.
        ("C1+C2", "Fever<+>Cough", (("C1", "Fever<+>Cough"), ("C2", "Fever<+>Cough"))),
        ("C1+C1", "Fever<+>Pyrexia", (("C1", "Fever<+>Pyrexia"),)),
    ],
)
def test_a_composite_answer_is_several_concepts(
    concept_code: str, name: str, answers: tuple[tuple[str, str], ...]
) -> None:
    assert answers_of(candidate(concept_code, name)) == answers


@pytest.mark.parametrize("candidates", [(), (Candidate(2, "C1", "Fever", 0.9),)])
def test_no_answer(candidates: tuple[Candidate, ...]) -> None:
    """A file of another tool may say at rank 1 that there is no concept, and go on."""
    found = Prediction("d", "T1", "Fever", "DISO", (Span(0, 5),), candidates)
    assert answers_of(found) == ()
    assert found.to_json()["pred_concept_code"] is None


# The command ------------------------------------------------------------------------------------


def predicted(document_id: str, mention_id: str, start: int, end: int, answer: str | None) -> str:
    best = (Candidate(1, answer, f"name of {answer}", 0.5),) if answer else ()
    prediction = Prediction(document_id, mention_id, "m", "DISO", (Span(start, end),), best)
    return json.dumps(prediction.to_json()) + "\n"


def run(*arguments: object, monkeypatch: pytest.MonkeyPatch) -> int:
    """The exit code of `longbel ARGUMENTS`."""
    monkeypatch.setattr("sys.argv", ["longbel", *map(str, arguments)])
    with pytest.raises(SystemExit) as caught:
        main()
    return caught.value.code if isinstance(caught.value.code, int) else 0


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    ann = b"T1\tDISO 0 5\tFever\nT2\tDISO 10 15\tcough\nR1\tX Arg1:T1 Arg2:T2\n"
    return stored({"a/x.txt": BRAT_TEXT.encode(), "a/x.ann": ann}, tmp_path / "corpus")


@pytest.mark.parametrize(
    ("to", "name", "content_"),
    [
        (
            "brat",
            "a/x.ann",
            "T1\tDISO 0 5\tFever\nT2\tDISO 10 15\tcough\nR1\tX Arg1:T1 Arg2:T2\n"
            "N1\tReference T1 MESH:C1\tname of C1\n",
        ),
        (
            "pubtator",
            "corpus.pubtator",
            "a/x|t|Fever and cough after Zanthoma.\na/x|a|\n"
            "a/x\t0\t5\tFever\tDISO\tC1\na/x\t10\t15\tcough\tDISO\t-1\n\n",
        ),
    ],
)
def test_convert(
    to: str,
    name: str,
    content_: str,
    corpus: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    preds = tmp_path / "preds.jsonl"
    preds.write_text(predicted("a/x", "T2", 10, 15, None) + predicted("a/x", "T1", 0, 5, "C1"))
    out = tmp_path / "out"
    code_ = run("convert", preds, corpus, "--to", to, "--out", out, "--database", "MESH",
                monkeypatch=monkeypatch)  # fmt: skip
    assert code_ == 0
    assert (out / name).read_text() == content_
    assert "1 documents, 1 of 2 mentions with a concept, 0 predictions" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["corpus", "out", "preds.jsonl"]


def test_convert_to_bigbio_reads_back_as_gold(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    preds = tmp_path / "preds.jsonl"
    preds.write_text(predicted("a/x", "T1", 0, 5, "C2+C1"))
    out = tmp_path / "out"
    assert run("convert", preds, corpus, "--to", "bigbio", "--out", out,
               monkeypatch=monkeypatch) == 0  # fmt: skip
    (document,) = read_corpus([out])
    assert [mention.gold for mention in document.mentions] == [("C1", "C2"), None]


def test_convert_reads_predictions_as_score_does(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    beam = {"rank": 1, "pred_concept_code": 42, "pred_concept_name": None, "beam_score": None}
    about = {"document_id": "a/x", "semantic_group": "Disorders"}
    records = [
        {**about, "mention_id": "T1", "spans": [["0", "5"]], "beams": [beam]},
        {**about, "mention_id": "T2", "spans": [[10, 15]], "pred_concept_code": None},
    ]
    preds = tmp_path / "preds.jsonl"
    preds.write_text("".join(json.dumps(record) + "\n" for record in records))
    out = tmp_path / "out"
    assert run("convert", preds, corpus, "--to", "bigbio", "--out", out,
               monkeypatch=monkeypatch) == 0  # fmt: skip
    (document,) = read_corpus([out])
    assert [mention.gold for mention in document.mentions] == [("42",), None]


def test_convert_leaves_the_data_of_an_unfinished_run_alone(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    preds, growing = tmp_path / "preds.jsonl", tmp_path / "out.part"
    preds.write_text(predicted("a/x", "T1", 0, 5, "C1"))
    growing.write_text("linked so far")
    assert run("convert", preds, corpus, "--to", "brat", "--out", tmp_path / "out",
               monkeypatch=monkeypatch) == 0  # fmt: skip
    assert growing.read_text() == "linked so far"


def test_pubtator_keeps_its_relations(tmp_path: Path) -> None:
    relation, mention = b"7\tCID\tD1\tD2 \xff\r\n", b"7\t0\t5\tFever\tDisease\tD1\n"
    text = b"7|t|Fever\n7|a|a\tb\tc\td\n"
    source = stored({"c.pubtator": text + relation + mention}, tmp_path / "source")
    written = rewritten(source, "pubtator", tmp_path / "out") / "corpus.pubtator"
    assert written.read_bytes() == (
        b"7|t|Fever\n7|a|a b c d\n" + mention + relation.replace(b"\r", b"") + b"\n"
    )


def test_convert_tells_predictions_without_a_place(
    corpus: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    preds = tmp_path / "preds.jsonl"
    preds.write_text(
        predicted("a/x", "T1", 0, 5, "C1")
        + predicted("b/y", "T1", 0, 5, "C1")
        + predicted("a/x", "T9", 0, 5, "C1")
        + predicted("a/x", "T2", 0, 5, "C1")
        + predicted("a/x", "T1", 0, 5, "C2")
    )
    out = tmp_path / "out"
    assert run("convert", preds, corpus, "--to", "brat", "--out", out,
               monkeypatch=monkeypatch) == 0  # fmt: skip
    told = capsys.readouterr().err
    assert "document b/y: its 1 predictions find no such document" in told
    assert "its prediction for T9 finds no such mention" in told
    assert "the prediction for T2 has other offsets" in told
    assert "a second prediction for T1 is left out" in told
    assert "4 predictions without a mention" in told
    assert (out / "a" / "x.ann").read_text().count("Reference") == 1


def test_convert_joins_fragments_in_whatever_order_they_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other tools sort the fragments of a mention that BRAT names backwards."""
    ann = b"T1\tDISO 10 15;0 5\tcough Fever\n"
    corpus = stored({"x.txt": BRAT_TEXT.encode(), "x.ann": ann}, tmp_path / "corpus")
    line = json.loads(predicted("x", "T1", 0, 5, "C1"))
    line["spans"] = [[0, 5], [10, 15]]
    preds = tmp_path / "preds.jsonl"
    preds.write_text(json.dumps(line) + "\n")
    assert run("convert", preds, corpus, "--to", "brat", "--out", tmp_path / "out",
               monkeypatch=monkeypatch) == 0  # fmt: skip
    assert (tmp_path / "out" / "x.ann").read_text().count("Reference T1 ") == 1


def test_convert_leaves_with_5_where_the_corpus_is_not_whole(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (corpus / "a" / "y.ann").write_text("T1\tDISO 0 5\tFever\n")
    preds = tmp_path / "preds.jsonl"
    preds.write_text(predicted("a/x", "T1", 0, 5, "C1"))
    assert run("convert", preds, corpus, "--to", "brat", "--out", tmp_path / "out",
               monkeypatch=monkeypatch) == 5  # fmt: skip


@pytest.mark.parametrize(
    ("preds", "reason"),
    [
        (predicted("z", "T1", 0, 5, "C1"), "none of its 1 predictions belongs"),
        # Two of one document: each of them counts as lost.
        (
            predicted("z", "T1", 0, 5, "C1") + predicted("z", "T2", 0, 5, "C1"),
            "none of its 2 predictions belongs",
        ),
        ('{"document_id": "a/x"}\n', "preds.jsonl:1: key 'pred_concept_code' is missing"),
        ('{"mention_id": "T1", "beams": []}\n', "preds.jsonl:1: key 'document_id' is missing"),
        (predicted("a/x", "T1", 0, 5, "\ud800"), "preds.jsonl:1: half of a surrogate pair"),
        ("[1]\n", "preds.jsonl:1: a prediction must be a JSON object"),
        ('{"document_id": "a/x", \n', "preds.jsonl:1: not a whole JSON object"),
        (None, "preds.jsonl: the file cannot be read (No such file or directory)"),
    ],
)
def test_convert_refuses_and_writes_nothing(
    preds: str | None,
    reason: str,
    corpus: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if preds is not None:
        (tmp_path / "preds.jsonl").write_text(preds)
    out = tmp_path / "out"
    assert run("convert", tmp_path / "preds.jsonl", corpus, "--to", "brat", "--out", out,
               monkeypatch=monkeypatch) == 3  # fmt: skip
    assert reason in capsys.readouterr().err
    assert not [path for path in tmp_path.iterdir() if path.name not in ("corpus", "preds.jsonl")]


@pytest.mark.parametrize("stream", ["-", "pipe"])
def test_convert_refuses_predictions_that_can_be_read_only_once(
    stream: str,
    corpus: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """They are read twice: the second time a stream is empty, and every answer was lost."""
    line = predicted("a/x", "T1", 0, 5, "C1").encode()
    reading, writing = os.pipe()
    os.write(writing, line)
    os.close(writing)
    preds = "-" if stream == "-" else f"/dev/fd/{reading}"  # as a shell's `<(...)`
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(line)))
    try:
        assert run("convert", preds, corpus, "--to", "brat", "--out", tmp_path / "out",
                   monkeypatch=monkeypatch) == 2  # fmt: skip
    finally:
        os.close(reading)
    told = capsys.readouterr().err
    assert f"{preds}: predictions are read twice, a stream only once" in told
    assert "Write them to a file first." in told
    assert not (tmp_path / "out").exists()


def test_convert_takes_the_empty_device_for_no_predictions(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is lost there, so a corpus goes into another format without any answers."""
    out = tmp_path / "out"
    assert run("convert", os.devnull, corpus, "--to", "bigbio", "--out", out,
               monkeypatch=monkeypatch) == 0  # fmt: skip
    assert [len(document.mentions) for document in read_corpus([out])] == [2]


def test_convert_never_writes_over_anything(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "preds.jsonl").write_text(predicted("a/x", "T1", 0, 5, "C1"))
    assert run("convert", tmp_path / "preds.jsonl", corpus, "--to", "brat", "--out", corpus,
               monkeypatch=monkeypatch) == 4  # fmt: skip
    assert sorted(path.name for path in (corpus / "a").iterdir()) == ["x.ann", "x.txt"]
