"""`longbel check`: what it counts, what it lists, and its exit codes."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from kb_builder.build import BuildOptions, build_kb
from tests.corpora.nasty.cases import FEVER, code, entity, lines, page
from tests.support.command_line import Longbel

GOOD = page(
    entity("T1", 0, 5, "Fever", "DISO", code("C1")),
    entity("T2", 10, 15, "cough", "T184", code("C1", "C2")),
    {**entity("T3", kind="DISO"), "text": ["Fever", "cough"], "offsets": [[0, 5], [10, 15]]},
)
BAD = page(entity(end=4), entity("T2", 10, 15, "cough", "Widget"), document_id="e")


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    folder = tmp_path / "corpus"
    folder.mkdir()
    (folder / "c.jsonl").write_bytes(lines(GOOD))
    (folder / "x.txt").write_text("Fever")
    (folder / "x.ann").write_text(FEVER)
    return folder


@pytest.fixture(scope="module")
def kb(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("kb")
    names = folder / "text_to_code.json"
    names.write_text(json.dumps({"Disorders": {"Fever": "C1", "Cough": "C3"}}))
    build_kb(BuildOptions(source=names, out=folder / "kb"))
    return folder / "kb"


def test_a_clean_corpus(longbel: Longbel, corpus: Path) -> None:
    done = longbel("check", corpus, "--json")
    assert done.code == 0
    assert done.err == ""
    assert json.loads(done.out) == {
        "documents": 2,
        "mentions": 4,
        "quarantined": 0,
        "warnings": 0,
        "quarantined_documents": 0,
        "quarantined_mentions": 0,
        "characters": 31 + 5,
        "longest_document": 31,
        "discontinuous_mentions": 1,
        "abbreviated_mentions": 0,
        "mentions_with_gold": 2,
        "mentions_with_no_code": 0,
        "mentions_with_composite_gold": 1,
        "gold_not_read": 0,
        "documents_without_mentions": 0,
        "formats": {"bigbio": 1, "brat": 1},
        "types": {"DISO": 3, "T184": 1},
        "problems": [],
        "notes": [],
    }


def test_a_corpus_with_something_to_leave_out(longbel: Longbel, corpus: Path) -> None:
    (corpus / "d.jsonl").write_bytes(lines(BAD) + b"{broken\n" + lines(GOOD))
    (corpus / "notes.odd").write_bytes(b"PK")
    done = longbel("check", corpus, "--json")
    assert done.code == 5
    result: dict[str, Any] = json.loads(done.out)
    assert (result["documents"], result["mentions"]) == (3, 5)
    assert (result["quarantined"], result["warnings"]) == (3, 1)
    assert (result["quarantined_documents"], result["quarantined_mentions"]) == (2, 1)
    assert [(p["source"], p["line"], p["document_id"], p["mention_id"]) for p in
            result["problems"]] == [
        (f"{corpus}/d.jsonl", 1, "e", "T1"),
        (f"{corpus}/d.jsonl", 2, None, None),
        (f"{corpus}/d.jsonl", 3, "d", None),
    ]  # fmt: skip
    assert result["notes"][0]["source"] == f"{corpus}/notes.odd"
    assert done.err.splitlines() == [
        f"quarantined: {corpus}/d.jsonl:1: document e: mention T1: "
        "its text is not the document's at 0-4; that text stands at 0-5",
        f"quarantined: {corpus}/d.jsonl:2: broken JSON: Expecting property name enclosed in double "
        "quotes (column 2)",
        f"quarantined: {corpus}/d.jsonl:3: document d: a document with this id was read before",
        f"warning: {corpus}/notes.odd: it is no corpus file by its name; it is left out",
    ]


def test_a_file_name_that_is_not_utf_8(longbel: Longbel, corpus: Path) -> None:
    """Linux takes any bytes as a name; what is written about them must be UTF-8 all the same."""
    (corpus / os.fsdecode(b"d\xff\xc3\xa9.jsonl")).write_bytes(lines(BAD))
    for suffix, content in ((b".txt", "Fever"), (b".ann", FEVER)):
        (corpus / os.fsdecode(b"y\xe9" + suffix)).write_text(content)
    done = longbel("check", corpus, "--json")
    assert done.code == 5
    assert [(p["source"], p["document_id"]) for p in json.loads(done.out)["problems"]] == [
        (f"{corpus}/d\\xffé.jsonl", "e"),
        (f"{corpus}/y\\xe9.ann", None),
    ]
    assert f"quarantined: {corpus}/d\\xffé.jsonl:1: document e: mention T1: " in done.err
    assert f"quarantined: {corpus}/y\\xe9.ann: the file's name is not UTF-8" in done.err


def test_gold_that_is_not_read_is_counted_and_the_exit_code_stays(
    longbel: Longbel, tmp_path: Path
) -> None:
    """Also a word that stands for no concept, which nobody could know."""
    words = [entity(f"T{n}", 0, 5, normalized=code("unmapped")) for n in (1, 2)]
    (tmp_path / "c.jsonl").write_bytes(lines(page(*words), page(document_id="e")))
    (tmp_path / "x.txt").write_text("Fever")
    (tmp_path / "x.ann").write_text(FEVER + "#1\tAnnotatorNotes T1\tsee Zanthoma\n")
    done = longbel("check", tmp_path, "--json")
    assert done.code == 0
    result = json.loads(done.out)
    assert (result["gold_not_read"], result["documents_without_mentions"]) == (1, 1)
    assert [note.get("gold_not_read") for note in result["notes"]] == [1, None]
    assert "x.ann:2: document x: not read as gold" in done.err
    assert "the gold code 'unmapped' has no digit and is that of 2 mentions" in done.err
    assert "Zanthoma" not in done.err


def test_the_table(longbel: Longbel, corpus: Path) -> None:
    done = longbel("check", corpus)
    assert done.code == 0
    rows = dict(line.rsplit(None, 1) for line in done.out.splitlines())
    assert rows["documents"] == "2"
    assert rows["type DISO"] == "3"
    assert rows["format brat"] == "1"


def test_fail_stops_at_the_first_problem(longbel: Longbel, corpus: Path) -> None:
    (corpus / "d.jsonl").write_bytes(lines(BAD))
    done = longbel("check", corpus, "--on-error", "fail")
    assert done.code == 3
    assert done.out == ""
    assert f"error: {corpus}/d.jsonl:1: document e: mention T1" in done.err


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "the corpus holds no document"),
        (b"{broken\n", "no document can be read (1 left out)"),
        (b"\xff\xfe\n", "no document can be read (1 left out)"),
    ],
)
def test_an_unreadable_corpus(
    longbel: Longbel, content: bytes, reason: str, tmp_path: Path
) -> None:
    path = tmp_path / "c.jsonl"
    path.write_bytes(content)
    done = longbel("check", path, "--json")
    assert done.code == 3
    assert reason in done.err
    assert json.loads(done.out)["documents"] == 0


def test_standard_input(longbel: Longbel) -> None:
    done = longbel("check", "-", "--json", stdin=lines(GOOD, BAD).decode())
    assert done.code == 5
    assert json.loads(done.out)["documents"] == 2
    assert done.err.startswith("quarantined: -:2: document e: mention T1")


def test_types_and_codes_against_a_knowledge_base(longbel: Longbel, corpus: Path, kb: Path) -> None:
    done = longbel("check", corpus, "--kb", kb, "--json")
    assert done.code == 0
    result = json.loads(done.out)
    assert result["groups"] == {"Disorders": 4}
    assert result["unmapped_types"] == {}
    # T1 has C1, which is there; T2 has C1 and C2, which is not.
    assert (result["mentions_with_gold_in_kb"], result["gold_codes_not_in_kb"]) == (1, 1)


def test_what_has_no_code_is_counted_apart_from_what_the_knowledge_base_lacks(
    longbel: Longbel, kb: Path, tmp_path: Path
) -> None:
    codes = ("C1", "NO_CODE", "C1+NO_CODE", "-1", "-", "")
    mentions = [entity(f"T{index}", normalized=code(name)) for index, name in enumerate(codes)]
    (tmp_path / "c.jsonl").write_bytes(lines(page(*mentions)))
    done = longbel("check", tmp_path / "c.jsonl", "--kb", kb, "--json")
    assert done.code == 0
    result = json.loads(done.out)
    assert (result["mentions_with_gold"], result["mentions_with_no_code"]) == (1, 2)
    assert (result["mentions_with_gold_in_kb"], result["gold_codes_not_in_kb"]) == (1, 0)


def test_types_without_a_group_are_all_listed(longbel: Longbel, corpus: Path, kb: Path) -> None:
    odd = page(entity(kind="Widget"), entity("T2", kind="Gadget"), document_id="e")
    (corpus / "d.jsonl").write_bytes(lines(odd, {**odd, "document_id": "f"}))
    done = longbel("check", corpus, "--kb", kb, "--json")
    assert done.code == 3
    assert json.loads(done.out)["unmapped_types"] == {"Gadget": 2, "Widget": 2}
    assert "Gadget (2), Widget (2)" in done.err


def test_a_type_map_mends_them(longbel: Longbel, corpus: Path, kb: Path, tmp_path: Path) -> None:
    (corpus / "d.jsonl").write_bytes(lines(page(entity(kind="Widget"), document_id="e")))
    mapped = tmp_path / "map.tsv"
    mapped.write_text("Widget\tDISO\n")
    arguments = ("check", corpus, "--kb", kb, "--type-map", mapped)
    assert longbel(*arguments).code == 0


@pytest.mark.parametrize(
    ("arguments", "exit_code"),
    [
        (("check",), 2),
        (("check", "c", "--on-error", "shrug"), 2),
        (("check", "c", "--type-map", "map.tsv"), 2),
        (("check", ".", "--format", "wav"), 2),
        (("check", "nowhere"), 3),
        (("check", ".", "--kb", "nowhere"), 3),
    ],
)
def test_what_cannot_be_done(
    longbel: Longbel,
    arguments: tuple[str, ...],
    exit_code: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert longbel(*arguments).code == exit_code
