"""What decides how hard a corpus is, worked by hand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kb_builder.store.knowledge_base import KnowledgeBase
from longbel_cli.scoring.difficulty import Difficulty, difficulty
from longbel_cli.scoring.gold import GoldMention
from longbel_cli.scoring.partitions import TrainingFacts
from longbel_cli.types import Span
from tests.support.baseline_cases import small_kb
from tests.support.command_line import Longbel, write_json_lines


def gold(
    document: str, start: int, text: str, code: str | None, group: str = "DISO"
) -> GoldMention:
    return GoldMention(document, f"T{start}", text, group, (Span(start, start + 1),), code)


SEEN = TrainingFacts(frozenset({"C1", "C2"}), frozenset({"cold", "cough"}))
MENTIONS = [
    gold("d", 0, "Cold", "C1"),  # seen both ways, recurs
    gold("d", 2, "coryza", "C1"),  # recurs
    gold("d", 4, "cough", "C9"),  # seen as a text alone
    gold("e", 0, "x", "C1+C2"),  # composite: a concept of its own
    gold("e", 2, "y", None),  # without gold: not counted
    gold("f", 0, "z", "NO_CODE"),
]


def test_without_a_knowledge_base() -> None:
    assert difficulty(MENTIONS, SEEN, None, str) == Difficulty(
        4 / 2,
        {"concept_recurs": 2 / 4, "composite": 1 / 4, "concept_seen": 2 / 4, "mention_seen": 2 / 4},
    )


def test_nothing_with_gold() -> None:
    result = difficulty(MENTIONS[4:], SEEN, None, str)
    assert result.mentions_per_document is None and set(result.shares.values()) == {None}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> KnowledgeBase:
    return small_kb(tmp_path_factory.mktemp("difficulty"))


def test_with_a_knowledge_base(base: KnowledgeBase) -> None:
    """A name of its own group, a text that is none, and a code that the knowledge base lacks."""
    rows = base.rows_of_group("Disorders")
    name, code = base.names_of([rows.start])[0], base.codes_of([rows.start])[0]
    mentions = [gold("d", 0, name.upper(), code), gold("d", 2, "no such name", "C0000000")]
    result = difficulty(mentions, None, base, {"DISO": "Disorders"}.__getitem__)
    assert result.shares["gold_in_kb"] == result.shares["kb_name"] == 0.5
    assert "concept_seen" not in result.shares


def page(document: str, *mentions: tuple[int, str, str]) -> dict[str, object]:
    return {
        "id": document, "document_id": document,
        "passages": [{"id": "p", "type": "text", "text": ["cold cough"], "offsets": [[0, 10]]}],
        "entities": [
            {"id": f"T{start}", "type": "DISO", "text": [text],
             "offsets": [[start, start + len(text)]],
             "normalized": [{"db_name": "UMLS", "db_id": code}]}
            for start, text, code in mentions
        ],
        "events": [], "coreferences": [], "relations": [],
    }  # fmt: skip


def test_the_command(longbel: Longbel, base: KnowledgeBase, tmp_path: Path) -> None:
    write_json_lines(tmp_path / "train.jsonl", page("t", (0, "cold", "C1")))
    write_json_lines(tmp_path / "dev.jsonl", page("d", (0, "cold", "C1"), (5, "cough", "C7")))
    words = ("check", tmp_path / "dev.jsonl", "--train", tmp_path / "train.jsonl")
    actual = json.loads(longbel(*words, "--json").out)["difficulty"]
    assert actual == {"mentions_per_document": 2, "concept_recurs": 0, "composite": 0,
                     "concept_seen": 0.5, "mention_seen": 0.5}  # fmt: skip
    with_kb = longbel(*words, "--kb", base.path)
    assert with_kb.code == 0 and "mention is a KB name of its group" in with_kb.out
    lacking = longbel("check", tmp_path / "dev.jsonl", "--train", tmp_path / "none.jsonl")
    assert lacking.code == 3 and "none.jsonl" in lacking.err
