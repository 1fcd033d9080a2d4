"""Predictions back into corpora: bytes kept, round trips, and ids that are no file names."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from bioc import pubtator
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from kb_builder.errors import LongbelError
from longbel_cli.corpora import Corpus, Problem, ignore, read_corpus
from longbel_cli.corpora.formats import writers
from longbel_cli.corpora.writing import Answer, answers_of, safe_path
from longbel_cli.types import Candidate, Document, Prediction, Span, extent
from tests.corpora.nasty.cases import (
    BRAT_CASES,
    CASES,
    Case,
    code,
    entity,
    lines,
    page,
    passage,
)
from tests.support.examples import some
from tests.support.files import stored


def gold_answers(document: Document) -> dict[str, tuple[Answer, ...]]:
    """The corpus's own codes as answers, the mention standing for the name."""
    return {
        mention.id: tuple(Answer(code, mention.text) for code in mention.gold)
        for mention in document.mentions
        if mention.gold is not None
    }


def rewritten(source: Path, form: str, out: Path, with_gold: bool = True) -> Path:
    """The corpus written in a format, with its own codes as answers or with none."""
    out.mkdir()
    writer = writers()[form](out, "UMLS")
    for read in Corpus([source]).read_whole(ignore):
        writer.write(read, gold_answers(read.document) if with_gold else {})
    writer.close()
    return out


def content(documents: list[Document]) -> dict[str, Any]:
    """What a round trip must keep: text, mentions, types and codes, in the order of the document,
    where a mention begins after the line ends that BRAT cannot hold."""
    return {
        document.id: (
            document.text,
            sorted(
                (
                    (parted(m.spans, document.text), m.text.split(), m.entity_type, m.gold)
                    for m in document.mentions
                ),
                key=lambda result: extent(result[0]),
            ),
        )
        for document in documents
    }


BREAK = r"\t\n\v\f\r\x1c-\x1e\x85\u2028\u2029"


def parted(spans: Sequence[Span], text: str) -> list[Span]:
    """Spans without the tabs and line ends in them: BRAT has fragments there."""
    parts = [
        Span(start + result.start(), start + result.end())
        for start, end in spans
        for result in re.finditer(f"[^{BREAK}]+", text[start:end])
    ]
    return [part for part in parts if text[slice(*part)].strip()] or list(spans)


def assert_brat(folder: Path) -> None:
    """The rules that brat publishes and its server holds to. Lines end as Unicode's do. T lines:
    three columns, spans in the text, the fragments' texts joined by a blank. N lines: kind, target
    and reference without blanks, the database before the first colon."""
    for path in folder.rglob("*.ann"):
        text = path.with_suffix(".txt").read_bytes().decode()
        ids = []
        for line in path.read_bytes().decode().splitlines():
            id_, middle, stated = line.split("\t")
            ids.append(id_)
            if id_.startswith("N"):
                result = re.fullmatch(r"(\S+) (\S+) (\S+?):(\S+)", middle)
                assert result is not None and result[2] in ids
                continue
            assert id_.startswith("T")
            kind, _, offsets = middle.partition(" ")
            assert re.fullmatch(r"\S+", kind)
            spans = [tuple(map(int, pair.split(" "))) for pair in offsets.split(";")]
            assert all(0 <= start < end <= len(text) for start, end in spans)
            assert stated == " ".join(text[start:end] for start, end in spans)
        assert len(ids) == len(set(ids))


def assert_pubtator(folder: Path) -> None:
    """What the bioc package reads of PubTator is what we read, but for blanks at its lines' ends:
    it strips them."""
    with (folder / "corpus.pubtator").open(encoding="utf-8") as handle:
        theirs = {document.pmid: document for document in pubtator.load(handle)}
    ours = {document.id.strip(): document for document in read_corpus([folder])}
    assert {id_ for id_, document in ours.items() if document.text.strip()} == theirs.keys()
    for id_, their in theirs.items():
        passages = [passage.text for passage in ours[id_].passages]
        assert [their.title.rstrip(), (their.abstract or "").rstrip()] == [
            text.rstrip() for text in passages
        ]
        assert [
            (note.start, note.end, note.text, note.type, note.id) for note in their.annotations
        ] == [
            (m.start, m.end, m.text, m.entity_type, "|".join(m.gold or ("-1",)))
            for m in ours[id_].mentions
        ]  # fmt: skip


def test_a_line_end_or_tab_in_a_mention_parts_it(tmp_path: Path) -> None:
    text = "Type 2 diabetes\r\nmellitus, \tlow mood"
    value = page(
        entity("T1", 7, 25, text[7:25]),
        entity("T2", 26, 36, text[26:36]),
        passages=[passage(text)],
    )
    (tmp_path / "c.jsonl").write_bytes(lines(value))
    out = rewritten(tmp_path / "c.jsonl", "brat", tmp_path / "out", with_gold=False)
    assert (out / "d.ann").read_text() == (
        "T1\tDISO 7 15;17 25\tdiabetes mellitus\nT2\tDISO 28 36\tlow mood\n"
    )
    assert_brat(out)


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
    writer = writers()["brat"](out, "UMLS")
    for read in Corpus([source]).read_whole():
        writer.write(read, {"T1": (Answer("C9", "a\tname"),)})
    assert (out / "x.ann").read_bytes() == ann + added
    assert (out / "x.txt").read_bytes() == b"Fever"


def test_bigbio_to_brat_by_hand(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    fragments = {
        **entity("7_T2", kind="Sign or Symptom", normalized=code("C2", "C1")),
        "text": ["Fe", "cough"],
        "offsets": [[0, 2], [6, 11]],
    }
    pages = page(fragments, entity("7_T1", 0, 5), passages=[passage("Fever"), passage("cough", 6)])
    source = stored({"c.jsonl": lines(pages)}, tmp_path / "corpus")
    out = rewritten(source, "brat", tmp_path / "out")
    assert (out / "d.txt").read_bytes() == b"Fever cough"
    assert (out / "d.ann").read_text() == (
        "T1\tDISO 0 5\tFever\n"
        "T2\tSign_or_Symptom 0 2;6 11\tFe cough\n"
        "N1\tReference T2 UMLS:C1\tFe cough\n"
        "N2\tReference T2 UMLS:C2\tFe cough\n"
    )
    (warning,) = caplog.messages
    assert "mention 7_T2: blanks in its type" in warning


@pytest.mark.parametrize("replace_gold", [True, False])
def test_bigbio_keeps_its_other_keys_and_its_codes_unless_they_are_replaced(
    tmp_path: Path, replace_gold: bool
) -> None:
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
    writer = writers()["bigbio"](out, "OPENKB", replace_gold)
    for read in Corpus([source]).read_whole(ignore):
        writer.write(read, {"T1": (Answer("C1", "a"), Answer("C2", "b"))})
    writer.close()
    expected = json.loads(json.dumps(value))
    answers = [{"db_name": "OPENKB", "db_id": "C1"}, {"db_name": "OPENKB", "db_id": "C2"}]
    expected["entities"][0]["normalized" if replace_gold else "predicted"] = answers
    if replace_gold:
        expected["entities"][1]["normalized"] = []
        expected["entities"][2]["normalized"] = []
    assert json.loads((out / "corpus.jsonl").read_text()) == expected


def test_what_json_cannot_say_is_null_in_bigbio(tmp_path: Path) -> None:
    """Parquet has NaN in keys of its own, and so do lines of other writers."""
    value = page(entity(), scores=[float("nan"), {"a": float("inf")}, 0.5])
    source = stored({"c.jsonl": lines(value)}, tmp_path / "corpus")
    writer = writers()["bigbio"](tmp_path, "UMLS")
    for read in Corpus([source]).read_whole(ignore):
        writer.write(read, {})
    writer.close()
    written = json.loads((tmp_path / "corpus.jsonl").read_text())
    assert written["scores"] == [None, {"a": None}, 0.5]


def test_brat_has_no_blanks_in_a_reference(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source = stored({"c.jsonl": lines(page(entity()))}, tmp_path / "corpus")
    writer = writers()["brat"](tmp_path, "SNOMED CT: a")
    for read in Corpus([source]).read_whole(ignore):
        writer.write(read, {"T1": (Answer("C 1:2", "Fever\u2028x"),)})
    writer.close()
    reference = "N1\tReference T1 SNOMED_CT__a:C_1:2\tFever x\n"
    assert (tmp_path / "d.ann").read_text() == f"T1\tDISO 0 5\tFever\n{reference}"
    assert_brat(tmp_path)
    assert "mention T1: blanks in its code" in caplog.text


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
    writer = writers()["bigbio"](out, "UMLS", replace_gold=True)
    for read in Corpus([source]).read_whole(ignore):
        (mention,) = read.document.mentions
        writer.write(read, {mention.id: (Answer("C1", "a"),)})
    writer.close()
    written = json.loads((out / "corpus.jsonl").read_text())["entities"]
    assert len(written) == len(entities)
    for index, result in enumerate(written):
        if isinstance(result, dict):
            expected = [{"db_name": "UMLS", "db_id": "C1"}] if index == answered else []
            assert result["normalized"] == expected


def test_pubtator_by_hand(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    fragments = {**entity("T2"), "text": ["Fever", "cough"], "offsets": [[0, 5], [10, 15]]}
    value = page(
        entity(normalized=code("C2", "C1")),
        fragments,
        document_id="a|b",
        passages=[passage("Fever\nand cough"), passage("after\tthat.", 16)],
    )
    source = stored({"c.jsonl": lines(value)}, tmp_path / "corpus")
    out = rewritten(source, "pubtator", tmp_path / "out")
    assert (out / "corpus.pubtator").read_text() == (
        "a_b|t|Fever and cough\n"
        "a_b|a|after that.\n"
        "a_b\t0\t5\tFever\tDISO\tC1|C2\n"
        "a_b\t0\t15\tFever and cough\tDISO\t-1\n"
        "\n"
    )
    assert [message.rpartition(": ")[2] for message in caplog.messages] == [
        "bars, tabs or line ends in its id became `_`",
        "line ends or tabs in the text became blanks",
        "fragments became one stretch",
    ]


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
    for index in range(draw(st.integers(0, 4)) if inside else 0):
        spans = []
        for _ in range(draw(st.integers(1, 2))):
            start, last = sorted((draw(st.sampled_from(inside)), draw(st.sampled_from(inside))))
            spans.append([start, last + 1])
        entities.append(
            {
                "id": f"d_T{index}",
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
    max_examples=some(60),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(pages())
@example(  # in BRAT the longer mention begins where the shorter one does, and comes after it
    {
        "id": "1",
        "document_id": "d",
        "passages": [{"id": "p0", "type": "document", "text": ["\r00"], "offsets": [[0, 3]]}],
        "entities": [
            {"id": "T0", "type": "DISO", "text": ["0"], "offsets": [[1, 2]], "normalized": []},
            {"id": "T1", "type": "DISO", "text": ["\r00"], "offsets": [[0, 3]], "normalized": []},
        ],
        "events": [],
        "coreferences": [],
        "relations": [],
    }
)
def test_bigbio_to_brat_to_bigbio(tmp_path_factory: pytest.TempPathFactory, value: Any) -> None:
    folder = tmp_path_factory.mktemp("trip")
    source = stored({"c.jsonl": lines(value)}, folder / "corpus")
    blank = [e for e in value["entities"] if not " ".join(e["text"]).strip()]
    told: list[Problem] = []
    first = list(read_corpus([source], on_problem=told.append))
    assert len(told) == len(blank)  # a mention of white space alone is none
    brat = rewritten(source, "brat", folder / "brat")
    assert_brat(brat)
    back = rewritten(brat, "bigbio", folder / "back")
    assert content(list(read_corpus([brat]))) == content(first)
    assert content(list(read_corpus([back]))) == content(first)
    assert_pubtator(rewritten(source, "pubtator", folder / "pubtator"))


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
        ("a.txt/b.txt", "a%2Etxt/b.txt"),
        ("a.ANN/b", "a%2EANN/b"),
        ("x\udcff", "x%DCFF"),
        ("", "%"),
    ],
)
def test_ids_become_safe_paths(document_id: str, path: str) -> None:
    assert safe_path(document_id).as_posix() == path


def test_a_very_long_id_is_cut_to_a_name_of_its_own() -> None:
    single, two = safe_path("é" * 400 + "1"), safe_path("é" * 400 + "2")
    assert single != two
    assert all(len(str(path).encode()) <= 180 for path in (single, two))


@given(st.text(characters, max_size=40) | st.text("./\\%~ a", max_size=12))
def test_no_id_leaves_the_folder(document_id: str) -> None:
    path = safe_path(document_id)
    assert not path.is_absolute()
    assert ".." not in path.parts
    assert not any(re.search(r"[\x00-\x1f]", part) for part in path.parts)


@given(st.sets(st.text("./%2Ea ", max_size=5), min_size=2, max_size=20))
def test_different_ids_have_different_paths(ids: set[str]) -> None:
    assert len({safe_path(document_id) for document_id in ids}) == len(ids)


@given(st.sets(st.text("a./tx", max_size=12) | st.sampled_from(["a", "a.txt/b", "a.ann/b"])))
def test_no_document_s_file_is_another_s_folder(ids: set[str]) -> None:
    paths = [safe_path(document_id) for document_id in ids]
    files = {path.with_name(path.name + suffix) for path in paths for suffix in (".txt", ".ann")}
    folders = {parent for path in paths for parent in path.parents}
    assert len(files) == 2 * len(ids) and not files & folders


def test_ids_that_look_like_each_other_s_files_are_written(tmp_path: Path) -> None:
    pages = [page(document_id=name) for name in ("a", "a.txt/b", "a.ann/c", "a.txt")]
    source = stored({"c.jsonl": lines(*pages)}, tmp_path / "corpus")
    out = rewritten(source, "brat", tmp_path / "out")
    assert len(list(out.rglob("*.txt"))) == 4


def test_a_link_in_the_folder_leads_nowhere(tmp_path: Path) -> None:
    source = stored({"c.jsonl": lines(page(document_id="a/x"))}, tmp_path / "corpus")
    out, elsewhere = tmp_path / "out", tmp_path / "elsewhere"
    out.mkdir()
    elsewhere.mkdir()
    (out / "a").symlink_to(elsewhere)
    writer = writers()["brat"](out, "UMLS")
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
    result = Prediction("d", "T1", "Fever", "DISO", (Span(0, 5),), candidates)
    assert answers_of(result) == ()
    assert result.to_json()["pred_concept_code"] is None


def test_pubtator_keeps_its_relations(tmp_path: Path) -> None:
    relation, mention = b"7\tCID\tD1\tD2 \xff\r\n", b"7\t0\t5\tFever\tDisease\tD1\n"
    text = b"7|t|Fever\n7|a|a\tb\tc\td\n"
    source = stored({"c.pubtator": text + relation + mention}, tmp_path / "source")
    written = rewritten(source, "pubtator", tmp_path / "out") / "corpus.pubtator"
    assert written.read_bytes() == (
        b"7|t|Fever\n7|a|a b c d\n" + mention + relation.replace(b"\r", b"") + b"\n"
    )
