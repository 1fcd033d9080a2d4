"""Exports of annotation tools: one note with an emoji, CRLF and a no-break space in each."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from longbel_cli.corpora import Corpus, Problem, read_corpus
from longbel_cli.corpora.formats import format_by_name
from longbel_cli.types import Attributes, Document
from tests.support.command_line import Longbel

NOTE = "Temp. 38\u00a0°C \U0001f912.\r\nFever, no cough."
FEVER, COUGH = NOTE.index("Fever"), NOTE.index("cough")
# In UTF-16 the emoji counts two.
FEVER_16, COUGH_16 = FEVER + 1, COUGH + 1


def span(start: int, length: int = 5, **more: Any) -> dict[str, Any]:
    return {"start": start, "end": start + length, "label": "DISO", **more}


def region(start: int, text: str, name: str, **more: Any) -> dict[str, Any]:
    value = {"start": start, "end": start + 5, "text": text, "labels": ["DISO"]}
    return {"id": name, "from_name": "label", "to_name": "text", "type": "labels", "value": value,
            **more}  # fmt: skip


LABEL_STUDIO = {
    "id": 7, "data": {"text": NOTE},
    "annotations": [
        {"id": 1, "was_cancelled": True, "result": [region(0, "Temp.", "x")]},
        {"id": 2, "was_cancelled": False, "result": [
            region(FEVER_16, "Fever", "a"), region(COUGH_16, "cough", "b"),
            {"id": "a", "from_name": "code", "to_name": "text", "type": "textarea",
             "value": {"start": FEVER_16, "end": FEVER_16 + 5, "text": ["C0015967"]}},
            {"type": "relation", "from_id": "a", "to_id": "b", "direction": "right"},
        ]},
    ],
}  # fmt: skip
MEDCAT = {
    "projects": [{"name": "p", "documents": [
        {"id": 3, "name": "note", "text": NOTE, "annotations": [
            {"id": 11, "cui": "C0015967", "value": "Fever", "start": FEVER, "end": FEVER + 5,
             "validated": True, "correct": True, "deleted": False, "killed": False,
             "meta_anns": [{"name": "Presence", "value": "True"}]},
            {"id": 12, "cui": "C0010200", "value": "cough", "start": COUGH, "end": COUGH + 5,
             "validated": True, "correct": True, "deleted": False, "killed": False},
            {"id": 13, "cui": "C1", "value": "Temp", "start": 0, "end": 4, "validated": True,
             "correct": False, "deleted": True, "killed": False},
        ]},
    ]}],
}  # fmt: skip
# file name, content, document id, gold of fever and cough
CODES = ("C0015967",)
TOOLS: dict[str, tuple[str, Any, str, Any, Any]] = {
    "spacy": ("n.json", {"text": NOTE, "ents": [span(FEVER), span(COUGH)],
                         "spans": {"sc": [span(FEVER, kb_id="C0015967")]}, "tokens": []},
              "n", CODES, None),
    "prodigy": ("n.jsonl", {"text": NOTE, "spans": [span(FEVER, cui="C0015967"), span(COUGH)],
                            "answer": "accept", "meta": {"id": "note 1"}}, "note 1", CODES, None),
    "doccano": ("n.jsonl", {"id": 5, "text": NOTE, "label": [[FEVER, FEVER + 5, "DISO"],
                                                             [COUGH, COUGH + 5, "DISO"]]},
                "5", None, None),
    "doccano with relations": (
        "n.jsonl",
        {"id": 5, "text": NOTE, "relations": [], "entities": [
            {"id": 1, "start_offset": FEVER, "end_offset": FEVER + 5, "label": "DISO"},
            {"id": 2, "start_offset": COUGH, "end_offset": COUGH + 5, "label": "DISO"}]},
        "5", None, None),
    "label studio": ("n.json", [LABEL_STUDIO], "7", CODES, None),
    "medcat": ("n.json", MEDCAT, "note", CODES, ("C0010200",)),
    "gliner": ("n.jsonl", {"document_id": "g", "text": NOTE, "entities": [
        span(FEVER, text="Fever", score=0.9), span(COUGH, text="cough", score=0.8)]},
        "g", None, None),
}  # fmt: skip


def write(folder: Path, name: str, content: Any) -> Path:
    path = folder / name
    path.write_text(json.dumps(content) + "\n", encoding="utf-8")
    return path


@pytest.mark.parametrize("tool", TOOLS)
def test_the_same_mentions_from_each_tool(tmp_path: Path, tool: str) -> None:
    name, content, document_id, fever, cough = TOOLS[tool]
    path = write(tmp_path, name, content)
    assert format_by_name(path) == "spans"
    (document,) = read_corpus([path])
    assert (document.id, document.text) == (document_id, NOTE)
    assert [(m.start, m.end, m.text, m.gold) for m in document.mentions] == [
        (FEVER, FEVER + 5, "Fever", fever), (COUGH, COUGH + 5, "cough", cough),
    ]  # fmt: skip
    kinds = {mention.entity_type for mention in document.mentions}
    assert kinds == ({"Concept"} if tool == "medcat" else {"DISO"})


def read(folder: Path, content: Any, name: str = "n.json") -> tuple[list[Document], list[str]]:
    """The documents, and what is said of the rest."""
    said: list[Problem] = []
    documents = list(read_corpus([write(folder, name, content)], "spans", said.append,
                                 on_remark=said.append))  # fmt: skip
    return documents, [each.message for each in said]


def test_units_are_said_and_several_annotators_too(tmp_path: Path) -> None:
    again = {**LABEL_STUDIO, "id": 8, "annotations": LABEL_STUDIO["annotations"][1:] * 2}  # type: ignore[index]
    documents, said = read(tmp_path, [LABEL_STUDIO, again])
    assert [document.id for document in documents] == ["7", "8"]
    assert any("count UTF-16 code units; they are converted" in each for each in said)
    assert any("2 annotators' sets: the first is read" in each for each in said)


def test_what_annotators_did_not_accept(tmp_path: Path) -> None:
    rows = [{"text": "Fever", "spans": [span(0)], "answer": answer, "id": answer}
            for answer in ("accept", "reject", "ignore")]  # fmt: skip
    documents, said = read(tmp_path, rows)
    assert [document.id for document in documents] == ["accept"] and len(said) == 2
    assert "did not accept it (reject)" in said[0]
    _, said = read(tmp_path, MEDCAT)
    assert any("1 of its annotations were rejected or not validated" in each for each in said)


def test_what_a_span_says_of_itself(tmp_path: Path) -> None:
    row = {"text": "Fever", "spans": [span(0, negated=True, certainty="low", note=None, n=3)]}
    (document,), _ = read(tmp_path, row)
    said: Attributes = (("negated", True), ("certainty", "low"))
    assert document.mentions[0].attributes == said
    (document,), _ = read(tmp_path, MEDCAT)
    assert document.mentions[0].attributes == (("Presence", "True"),)


# a document, and what is said of it
DAMAGED = [
    ({"text": "Fever", "spans": [span(0), span(3)]}, "lies past the end"),
    ({"text": "Fever", "spans": [{"start": "0", "end": 5, "label": "X"}]}, "no whole numbers"),
    ({"text": "Fever", "spans": [{"start": 0, "end": 5}]}, "it has no label"),
    ({"text": "Fever", "entities": [span(0, text="Cough")]}, "its text is not the document's"),
    ({"text": None, "spans": []}, "its text is missing"),
    ({"data": {"n": 1}, "annotations": []}, "its text is missing"),
]


@pytest.mark.parametrize(("content", "message"), DAMAGED)
def test_damaged_documents(tmp_path: Path, content: Any, message: str) -> None:
    """Beside a good one, which is read."""
    good = {"id": "good", "text": "Fever", "spans": [span(0)]}
    documents, said = read(tmp_path, [good, content])
    assert documents[0].id == "good" and any(message in each for each in said)


WITHOUT_ID = {"text": "Fever", "spans": [span(0)]}
ROW = json.dumps(WITHOUT_ID)
# files of documents that state no id, and the ids that they have
NAMED = [
    ({"notes.json": ROW}, ["notes"]),
    ({"notes.jsonl": f"{ROW}\n{ROW}\n"}, ["notes", "notes:2"]),
    # Several on one line.
    ({"notes.json": f"[{ROW},{ROW}]"}, ["notes@1", f"notes@{2 + len(ROW)}"]),
    # Files of one name.
    ({"a/n.json": ROW, "b/n.json": ROW}, ["a/n", "b/n"]),
]


@pytest.mark.parametrize(("files", "ids"), NAMED)
def test_documents_without_ids_are_all_read(
    tmp_path: Path, files: dict[str, str], ids: list[str]
) -> None:
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content)
    corpus = Corpus([tmp_path])
    positions = {document.id: position for position, document in corpus.read()}
    assert [*positions] == ids
    for index, position in enumerate(positions.values()):  # also from the middle on
        assert [each.id for _, each in corpus.read(start=position)] == ids[index:]


def test_other_json_is_as_it_was(tmp_path: Path) -> None:
    page = {"document_id": "d", "passages": [], "entities": []}
    assert format_by_name(write(tmp_path, "a.json", page)) == "bigbio"
    assert format_by_name(write(tmp_path, "b.jsonl", {"text": "x", "id": 1})) == "texts"
    assert format_by_name(write(tmp_path, "c.json", {"documents": []})) == "bigbio"
    (tmp_path / "d.json").write_text("{broken")
    assert format_by_name(tmp_path / "d.json") == "bigbio"


def test_the_commands_take_them(longbel: Longbel, kb_folder: Path, tmp_path: Path) -> None:
    corpus = write(tmp_path, "n.json", TOOLS["spacy"][1])
    out = tmp_path / "p.jsonl"
    words = ("--kb", kb_folder, "--linker", "exact", "--unknown-group", "all", "--out", out)
    assert longbel("check", corpus).code == 0
    assert longbel("link", corpus, *words).code == 0
    assert longbel("convert", out, corpus, "--to", "bigbio", "--out", tmp_path / "b").code == 0
    scored = longbel("score", out, "--gold", corpus, "--json", "--n-boot", "5")
    assert json.loads(scored.out)["n_mentions"] == 1
