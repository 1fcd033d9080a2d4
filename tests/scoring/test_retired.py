"""Retired codes: tables and knowledge bases of successors, and what they change."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kb_builder.build import BuildOptions, build_kb
from kb_builder.errors import LongbelError
from longbel_cli.corpora.prediction_file import PredictionFile
from longbel_cli.scoring.retired import Retired, read_retired
from longbel_cli.types import Document, Mention, Passage, Span
from tests.support.command_line import Longbel, write_json_lines
from tests.support.score_cases import prediction, write_predictions

# a table, and the successors that it gives
TABLES = [
    ("old,new\nC1,C2\n", {"C1": "C2"}),
    ("C1\tC2\nC3\tC4\n", {"C1": "C2", "C3": "C4"}),
    ("\ufeffCUI1;NEW\nC1;C2\n", {"C1": "C2"}),
    ("old,new\nC1,C2\nC2,C3\n", {"C1": "C3", "C2": "C3"}),  # followed to the last
    ("old,new\nC1,\nC2,NO_CODE\nC3,C4\n", {"C3": "C4"}),  # retired without a successor
    ("old,new\nC1,C2\nC2,\n", {"C1": "C2"}),
    ("old,new\n\nC1,C2\nC1,C2\n", {"C1": "C2"}),
    ("old,new,reason\nC1,C2,merged\n", {"C1": "C2"}),
    ("old,new\nUMLS:C1,UMLS:C2\n", {"C1": "C2"}),
    ("", {}),
]


@pytest.mark.parametrize(("text", "expected"), TABLES)
def test_tables(tmp_path: Path, text: str, expected: dict[str, str]) -> None:
    (tmp_path / "retired.txt").write_text(text, encoding="utf-8")
    assert read_retired(tmp_path / "retired.txt").successors == expected


# a table, and what is said of it
WRONG = [
    ("old,new\nC1,C2\nC1,C3\n", ":3: C1 has two successors, C2 and C3"),
    ("old,new\nC1,C2\nC2,C1\n", "C1 is its own successor in the end"),
    ("old,new\nC1,C1\n", "C1 is its own successor in the end"),
    ("old,new\nC1\n", ":2: no row of two codes"),
    ("old,new\n386661006.0,C1\n", ":2: 386661006.0 was a code before a spreadsheet changed it"),
]


@pytest.mark.parametrize(("text", "message"), WRONG)
def test_wrong_tables(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "retired.csv").write_text(text, encoding="utf-8")
    with pytest.raises(LongbelError) as caught:
        read_retired(tmp_path / "retired.csv")
    assert message in caught.value.message and caught.value.exit_code == 3


def test_what_is_no_table(tmp_path: Path) -> None:
    (tmp_path / "latin").write_bytes("ancré,né\n".encode("latin-1"))
    for path in (tmp_path / "latin", tmp_path / "none"):
        with pytest.raises(LongbelError, match="cannot be read"):
            read_retired(path)


OBO = """format-version: 1.2
ontology: t

[Term]
id: T:2
name: fever
alt_id: T:1

[Term]
id: T:3
name: old fever
is_obsolete: true
replaced_by: T:2

[Term]
id: T:4
name: gone
is_obsolete: true
"""


@pytest.fixture
def kb(tmp_path: Path) -> Path:
    (tmp_path / "t.obo").write_text(OBO)
    build_kb(BuildOptions(tmp_path / "t.obo", tmp_path / "kb", group="DISO"))
    return tmp_path / "kb"


def test_a_knowledge_base(kb: Path, kb_folder: Path) -> None:
    assert read_retired(kb).successors == {"T:1": "T:2", "T:3": "T:2"}
    with pytest.raises(LongbelError, match="keeps no retired codes"):
        read_retired(kb_folder)


def test_gold_of_documents() -> None:
    retired = Retired({"C1": "C3", "C2": "C3"})
    golds = [("C1",), ("C1", "C2"), ("C1", "C9"), ("C9",), None]
    mentions = tuple(
        Mention(f"T{index}", (Span(index, index + 1),), "x", "DISO", "DISO", gold)
        for index, gold in enumerate(golds)
    )
    (document,) = retired.documents([Document("d", (Passage("xxxxx"),), mentions)])
    assert [mention.gold for mention in document.mentions] == [
        ("C3",), ("C3",), ("C3", "C9"), ("C9",), None,
    ]  # fmt: skip
    assert retired.counts["gold"] == 3 and document.text == "xxxxx"


def test_codes_of_predictions() -> None:
    retired = Retired({"C1": "C3", "C4": "C2"})
    rows = (prediction("d:0", "C1", "C5", gold="C4+C9"), prediction("d:2", "C9+C1", gold="C3"))
    file = retired.predictions(PredictionFile(Path("p"), rows))
    assert [[c.concept_code for c in p.candidates] for p in file.predictions] == [
        ["C3", "C5"], ["C3+C9"],
    ]  # fmt: skip
    assert [p.gold_concept_code for p in file.predictions] == ["C2+C9", "C3"]
    assert retired.counts == {"gold": 1, "predicted": 2}


def page(gold: str) -> dict[str, object]:
    return {
        "id": "d", "document_id": "d",
        "passages": [{"id": "p", "type": "text", "text": ["fever"], "offsets": [[0, 5]]}],
        "entities": [{"id": "T0", "type": "Disorders", "text": ["f"], "offsets": [[0, 1]],
                      "normalized": [{"db_name": "HPO", "db_id": gold}]}],
        "events": [], "coreferences": [], "relations": [],
    }  # fmt: skip


def test_score_says_what_was_retired(longbel: Longbel, kb: Path, tmp_path: Path) -> None:
    """Gold of an old release is met by the answer of a new one, and the signature differs."""
    write_json_lines(tmp_path / "gold.jsonl", page("T:1"))
    path = write_predictions(tmp_path / "p.jsonl", prediction("d:0", "T:2"))
    words = ("score", path, "--gold", tmp_path / "gold.jsonl", "--n-boot", "5")
    plain = json.loads(longbel(*words, "--json").out)
    done = longbel(*words, "--json", "--retired", kb)
    mapped = json.loads(done.out)
    assert plain["recall@1"]["value"] == 0 and mapped["recall@1"]["value"] == 1
    assert mapped["retired"] == {"gold": 1, "predicted": 0}
    assert "1 of gold mentions, 0 of first answers" in done.err
    digest = read_retired(kb).sha256[:12]
    assert f"|retired:{digest}" in mapped["signature"] and "retired" not in plain["signature"]
    (tmp_path / "old-new.csv").write_text("T:3,T:2\nT:1,T:2\n")  # the same, as a table
    assert (
        json.loads(longbel(*words, "--json", "--retired", tmp_path / "old-new.csv").out)[
            "signature"
        ]
        == mapped["signature"]
    )


def test_check_counts_what_is_retired(longbel: Longbel, kb: Path, tmp_path: Path) -> None:
    write_json_lines(tmp_path / "gold.jsonl", page("T:1"))
    words = ("check", tmp_path / "gold.jsonl", "--kb", kb, "--json")
    assert json.loads(longbel(*words).out)["mentions_with_gold_in_kb"] == 0
    result = json.loads(longbel(*words, "--retired", kb).out)
    assert result["mentions_with_gold_in_kb"] == result["mentions_with_retired_gold"] == 1
    assert "with retired gold" in longbel(*words[:-1], "--retired", kb).out
