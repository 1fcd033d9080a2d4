"""The signature line, and where a run's facts come from."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from longbel_cli.runs.facts import RunFacts, run_facts
from longbel_cli.scoring.signature import gold_hash, signature
from tests.support.score_cases import mention

FACTS = RunFacts("kb1", "m1", "5", "hybrid_long", "0.1.0")


def test_the_line() -> None:
    line = signature(FACTS, "g1", (1, 5), 1000, 42, "exact", "0.1.0")
    assert line == (
        "R@1,5|kb:kb1|model:m1|beams:5|ctx:hybrid_long|gold:g1|boot:1000|seed:42|v:0.1.0"
    )
    assert "|match:any|" in signature(FACTS, "g1", (1,), 1000, 42, "any", "0.1.0")


def test_facts_of_a_run(tmp_path: Path) -> None:
    run = tmp_path / "p.jsonl.run"
    run.mkdir()
    configuration = {"kb": "k", "model": "m", "beams": 5, "context_format": "long"}
    record = {"configuration": {**configuration, "longbel version": "1", "linker": "tfidf"}}
    (run / "run.json").write_text(json.dumps(record))
    assert run_facts(tmp_path / "p.jsonl") == RunFacts("k", "m", "5", "long", "1", "tfidf")


@pytest.mark.parametrize(
    "content",
    [None, "torn {", "[]", '{"configuration": {"kb": null, "beams": true}}', '{"kb": "k"}'],
)
def test_what_is_not_known_is_unknown(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        run = tmp_path / "p.jsonl.run"
        run.mkdir()
        (run / "run.json").write_text(content)
    assert run_facts(tmp_path / "p.jsonl") == RunFacts()


def test_long_hashes_are_cut_and_bars_end_no_field(tmp_path: Path) -> None:
    run = tmp_path / "p.jsonl.run"
    run.mkdir()
    configuration = {"kb": "sha256:" + "0123456789abcdef" * 4, "model": "a|b"}
    (run / "run.json").write_text(json.dumps({"configuration": configuration}))
    facts = run_facts(tmp_path / "p.jsonl")
    assert (facts.kb, facts.model) == ("0123456789ab", "a/b")


def test_the_gold_hash_is_of_the_gold_alone() -> None:
    first = [mention("a:0", "X", "X"), mention("b:0", "Y", "X")]
    same = [mention("b:0", "Y"), mention("a:0", "X", "Q", "X", group="Anatomy")]
    other = [mention("a:0", "X", "X"), mention("b:0", "Z", "X")]
    assert gold_hash(first) == gold_hash(same)
    assert gold_hash(first) != gold_hash(other)
