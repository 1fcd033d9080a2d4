"""Facts of a knowledge base for partitions and coverage, from one that is built here."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kb_builder.build import BuildOptions, build_kb
from kb_builder.errors import LongbelError
from kb_builder.store.knowledge_base import KnowledgeBase
from longbel_cli.scoring.background import kb_facts
from longbel_cli.scoring.partitions import as_kb_name
from tests.support.command_line import Longbel
from tests.support.score_cases import mention

NAMES = {
    "Disorders": {"Fever": "C1", "Pyrexia": "C1", "Cold": "C2"},
    "Phenomena": {"COLD": "C3", "Straße": "C4"},
}


@pytest.fixture(scope="module")
def kb(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("kb")
    source = folder / "text_to_code.json"
    source.write_text(json.dumps(NAMES), encoding="utf-8")
    build_kb(BuildOptions(source=source, out=folder / "kb"))
    return folder / "kb"


def test_what_a_kb_says_of_mentions(kb: Path) -> None:
    mentions = [
        mention("a:0", "C1", "C2", text="FEVER"),
        mention("a:1", "C9+C3", text="cold"),
        mention("a:2", "C4", text="straße"),
    ]
    facts = kb_facts(kb, mentions)
    assert dict(facts.groups_of) == {
        "C1": {"Disorders"},
        "C2": {"Disorders"},
        "C3": {"Phenomena"},
        "C4": {"Phenomena"},
    }
    assert facts.codes_of["fever"] == {"Disorders": {"C1"}}
    assert facts.codes_of["cold"] == {"Disorders": {"C2"}, "Phenomena": {"C3"}}
    assert facts.codes_of[as_kb_name("straße")] == {"Phenomena": {"C4"}}
    assert facts.names_of is not None
    assert sorted(facts.names_of["C1"]) == ["Fever", "Pyrexia"]
    assert facts.signature


def test_preferred_names_come_first(tmp_path: Path) -> None:
    rows = [("1", "Alpha", 0), ("1", "Mu", 0), ("1", "Zeta", 1), ("2", "Beta", 1), ("2", "Yota", 0)]
    table = "".join(f"{code}\t{name}\tDisorders\t{main}\n" for code, name, main in rows)
    (tmp_path / "names.tsv").write_text("code\tterm\tsemantic_tag\tmainterm\n" + table)
    build_kb(BuildOptions(source=tmp_path / "names.tsv", out=tmp_path / "kb"))
    facts = kb_facts(tmp_path / "kb", [mention("a:0", "1", "2")])
    assert facts.names_of == {"1": ("Zeta", "Alpha", "Mu"), "2": ("Beta", "Yota")}


def test_a_folder_that_is_no_kb(tmp_path: Path) -> None:
    with pytest.raises(LongbelError, match=r"kb\.json"):
        kb_facts(tmp_path, [mention("a:0", "C1", "C1")])


def test_a_damaged_names_table_is_named(kb: Path, tmp_path: Path) -> None:
    copy = tmp_path / "kb"
    copy.mkdir()
    for file in kb.iterdir():
        if file.is_file():
            (copy / file.name).write_bytes(file.read_bytes())
    (copy / "names.parquet").write_bytes(b"PAR1 torn")
    with pytest.raises(LongbelError, match=r"names\.parquet: cannot be read"):
        kb_facts(copy, [mention("a:0", "C1", "C1")])


def predictions(folder: Path, *gold: str) -> Path:
    """Predictions that are all right, for mentions of one document."""
    path = folder / "p.jsonl"
    beams = [{"rank": 1, "pred_concept_code": code, "beam_score": 1.0} for code in gold]
    lines = [
        {"document_id": "d", "mention_id": f"T{index}", "semantic_group": "DISO",
         "spans": [[index, index + 1]], "gold_concept_code": beam["pred_concept_code"],
         "beams": [beam]}
        for index, beam in enumerate(beams)
    ]  # fmt: skip
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def run_of(predictions: Path, kb: Path, signature: str) -> None:
    record = {"configuration": {"kb": signature}, "free": {"kb_path": str(kb)}}
    folder = predictions.with_name(f"{predictions.name}.run")
    folder.mkdir()
    (folder / "run.json").write_text(json.dumps(record))


def test_coverage_comes_first_and_parts_the_mentions(
    kb: Path, tmp_path: Path, longbel: Longbel
) -> None:
    """Of the KB that is given: C1 and C3+C4 it holds, C9 and C1+C9 it does not."""
    path = predictions(tmp_path, "C1", "C9", "C3+C4", "C1+C9")
    done = longbel("score", path, "--kb", kb, "--by", "in_kb", "--table", "markdown")
    first = done.out.splitlines()[0]
    assert first.startswith("gold in the knowledge base: 2 of 4 mentions (50.0 %)")
    rows = [[cell.strip() for cell in line.split("|")] for line in done.out.splitlines()]
    assert ["in_kb: in", "2"] in [row[1:3] for row in rows]
    assert ["in_kb: absent", "2"] in [row[1:3] for row in rows]


def test_the_knowledge_base_of_the_run_is_asked_where_it_is_the_same(
    kb: Path, tmp_path: Path, longbel: Longbel
) -> None:
    path = predictions(tmp_path, "C1", "C9")
    assert "n_gold_in_kb" not in json.loads(longbel("score", path, "--json").out)
    assert longbel("score", path, "--by", "in_kb").code == 2
    run_of(path, kb, KnowledgeBase.open(kb).signature)
    assert json.loads(longbel("score", path, "--json").out)["n_gold_in_kb"] == 1
    assert longbel("score", path, "--by", "in_kb").code == 0
    (tmp_path / "p.jsonl.run" / "run.json").unlink()
    (tmp_path / "p.jsonl.run").rmdir()
    run_of(path, kb, "of another one")
    assert "n_gold_in_kb" not in json.loads(longbel("score", path, "--json").out)
