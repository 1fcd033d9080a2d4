"""`longbel check`: what it counts, what it lists, and its exit codes."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path
from typing import Any

import pytest

from kb_builder.build import BuildOptions, build_kb
from longbel_cli.app import main
from longbel_cli.corpora.records import Problem
from tests.corpora.nasty.cases import FEVER, code, entity, lines, page

GOOD = page(
    entity("T1", 0, 5, "Fever", "DISO", code("C1")),
    entity("T2", 10, 15, "cough", "T184", code("C1", "C2")),
    {**entity("T3", kind="DISO"), "text": ["Fever", "cough"], "offsets": [[0, 5], [10, 15]]},
)
BAD = page(entity(end=4), entity("T2", 10, 15, "cough", "Widget"), document_id="e")


def run(*arguments: object, monkeypatch: pytest.MonkeyPatch) -> int:
    """The exit code of `longbel ARGUMENTS`."""
    monkeypatch.setattr("sys.argv", ["longbel", *map(str, arguments)])
    monkeypatch.delenv("LONGBEL_KB", raising=False)
    with pytest.raises(SystemExit) as caught:
        main()
    return caught.value.code if isinstance(caught.value.code, int) else 0


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


def test_a_clean_corpus(
    corpus: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("check", corpus, "--json", monkeypatch=monkeypatch) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    assert json.loads(captured.out) == {
        "documents": 2,
        "mentions": 4,
        "quarantined": 0,
        "warnings": 0,
        "quarantined_documents": 0,
        "quarantined_mentions": 0,
        "characters": 31 + 5,
        "longest_document": 31,
        "discontinuous_mentions": 1,
        "mentions_with_gold": 2,
        "mentions_with_no_code": 0,
        "mentions_with_composite_gold": 1,
        "formats": {"bigbio": 1, "brat": 1},
        "types": {"DISO": 3, "T184": 1},
        "problems": [],
        "notes": [],
    }


def test_a_corpus_with_something_to_leave_out(
    corpus: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (corpus / "d.jsonl").write_bytes(lines(BAD) + b"{broken\n" + lines(GOOD))
    (corpus / "notes.docx").write_bytes(b"PK")
    assert run("check", corpus, "--json", monkeypatch=monkeypatch) == 5
    captured = capsys.readouterr()
    found: dict[str, Any] = json.loads(captured.out)
    assert (found["documents"], found["mentions"]) == (3, 5)
    assert (found["quarantined"], found["warnings"]) == (3, 1)
    assert (found["quarantined_documents"], found["quarantined_mentions"]) == (2, 1)
    assert [(p["source"], p["line"], p["document_id"], p["mention_id"]) for p in
            found["problems"]] == [
        (f"{corpus}/d.jsonl", 1, "e", "T1"),
        (f"{corpus}/d.jsonl", 2, None, None),
        (f"{corpus}/d.jsonl", 3, "d", None),
    ]  # fmt: skip
    assert found["notes"][0]["source"] == f"{corpus}/notes.docx"
    assert captured.err.splitlines() == [
        f"left out: {corpus}/d.jsonl:1: document e: mention T1: "
        "its text is not the document's at 0-4; that text stands at 0-5",
        f"left out: {corpus}/d.jsonl:2: broken JSON: Expecting property name enclosed in double "
        "quotes (column 2)",
        f"left out: {corpus}/d.jsonl:3: document d: a document with this id was read before",
        f"warning: {corpus}/notes.docx: it is no corpus file by its name; it is left out",
    ]


def test_a_file_name_that_is_not_utf_8(
    corpus: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Linux takes any bytes as a name; what is written about them must be UTF-8 all the same."""
    (corpus / os.fsdecode(b"d\xff\xc3\xa9.jsonl")).write_bytes(lines(BAD))
    for suffix, content in ((b".txt", "Fever"), (b".ann", FEVER)):
        (corpus / os.fsdecode(b"y\xe9" + suffix)).write_text(content)
    assert run("check", corpus, "--json", monkeypatch=monkeypatch) == 5
    captured = capsys.readouterr()
    assert [(p["source"], p["document_id"]) for p in json.loads(captured.out)["problems"]] == [
        (f"{corpus}/d\\xffé.jsonl", "e"),
        (f"{corpus}/y\\xe9.ann", None),
    ]
    assert f"left out: {corpus}/d\\xffé.jsonl:1: document e: mention T1: " in captured.err
    assert f"left out: {corpus}/y\\xe9.ann: the file's name is not UTF-8" in captured.err


def test_the_table(
    corpus: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("check", corpus, monkeypatch=monkeypatch) == 0
    rows = dict(line.rsplit(None, 1) for line in capsys.readouterr().out.splitlines())
    assert rows["documents"] == "2"
    assert rows["type DISO"] == "3"
    assert rows["format brat"] == "1"


def test_fail_stops_at_the_first_problem(
    corpus: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (corpus / "d.jsonl").write_bytes(lines(BAD))
    assert run("check", corpus, "--on-error", "fail", monkeypatch=monkeypatch) == 3
    captured = capsys.readouterr()
    assert captured.out == ""
    assert f"error: {corpus}/d.jsonl:1: document e: mention T1" in captured.err


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "the corpus holds no document"),
        (b"{broken\n", "no document can be read (1 left out)"),
        (b"\xff\xfe\n", "no document can be read (1 left out)"),
    ],
)
def test_an_unreadable_corpus(
    content: bytes,
    reason: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = tmp_path / "c.jsonl"
    path.write_bytes(content)
    assert run("check", path, "--json", monkeypatch=monkeypatch) == 3
    captured = capsys.readouterr()
    assert reason in captured.err
    assert json.loads(captured.out)["documents"] == 0


def test_standard_input(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stream = io.TextIOWrapper(io.BufferedReader(io.BytesIO(lines(GOOD, BAD))))
    monkeypatch.setattr("sys.stdin", stream)
    assert run("check", "-", "--json", monkeypatch=monkeypatch) == 5
    captured = capsys.readouterr()
    assert json.loads(captured.out)["documents"] == 2
    assert captured.err.startswith("left out: -:2: document e: mention T1")


def test_types_and_codes_against_a_knowledge_base(
    corpus: Path, kb: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("check", corpus, "--kb", kb, "--json", monkeypatch=monkeypatch) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["groups"] == {"Disorders": 4}
    assert found["unmapped_types"] == {}
    # T1 has C1, which is there; T2 has C1 and C2, which is not.
    assert (found["mentions_with_gold_in_kb"], found["gold_codes_not_in_kb"]) == (1, 1)


def test_what_has_no_code_is_counted_apart_from_what_the_knowledge_base_lacks(
    kb: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    codes = ("C1", "NO_CODE", "C1+NO_CODE", "-1", "-", "")
    mentions = [entity(f"T{number}", normalized=code(name)) for number, name in enumerate(codes)]
    (tmp_path / "c.jsonl").write_bytes(lines(page(*mentions)))
    assert run("check", tmp_path / "c.jsonl", "--kb", kb, "--json", monkeypatch=monkeypatch) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["mentions_with_gold"], found["mentions_with_no_code"]) == (1, 2)
    assert (found["mentions_with_gold_in_kb"], found["gold_codes_not_in_kb"]) == (1, 0)


def test_types_without_a_group_are_all_listed(
    corpus: Path, kb: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    odd = page(entity(kind="Widget"), entity("T2", kind="Gadget"), document_id="e")
    (corpus / "d.jsonl").write_bytes(lines(odd, {**odd, "document_id": "f"}))
    assert run("check", corpus, "--kb", kb, "--json", monkeypatch=monkeypatch) == 3
    captured = capsys.readouterr()
    assert json.loads(captured.out)["unmapped_types"] == {"Gadget": 2, "Widget": 2}
    assert "Gadget (2), Widget (2)" in captured.err


def test_a_type_map_mends_them(
    corpus: Path, kb: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (corpus / "d.jsonl").write_bytes(lines(page(entity(kind="Widget"), document_id="e")))
    mapped = tmp_path / "map.tsv"
    mapped.write_text("Widget\tDISO\n")
    arguments = ("check", corpus, "--kb", kb, "--type-map", mapped)
    assert run(*arguments, monkeypatch=monkeypatch) == 0


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
    arguments: tuple[str, ...], exit_code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(*arguments, monkeypatch=monkeypatch) == exit_code


@pytest.mark.parametrize(
    ("problem", "message"),
    [
        (Problem("a.ann", 3, "a", "T1", "why", False), "a.ann:3: document a: mention T1: why"),
        (Problem("a.jsonl", None, None, None, "why", True), "a.jsonl: why"),
    ],
)
def test_a_problem_in_words_and_as_json(problem: Problem, message: str) -> None:
    assert problem.message == message
    assert Problem(**problem.to_json()) == problem


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("été", "été"),
        (os.fsdecode(b"\xe9t\xc3\xa9"), "\\xe9té"),
        ("\ud800", "\\ud800"),  # JSON may write half of a surrogate pair into an id
        ("\ud800\udcff", "\\ud800\\udcff"),
    ],
)
def test_a_problem_can_be_written_whatever_its_names_are(name: str, written: str) -> None:
    problem = Problem(name, 3, name, name, "why", True)
    assert problem.message == f"{written}:3: document {written}: mention {written}: why"
    # As errors.jsonl is written.
    line = json.dumps(problem.to_json(), ensure_ascii=False).encode()
    assert json.loads(line) == Problem(written, 3, written, written, "why", True).to_json()
