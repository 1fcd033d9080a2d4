"""`longbel build-kb` of sources of all kinds, and `longbel kb search` and `diff`, as typed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.kb_builder.test_beside import CONSO, CUI, REL, STY
from tests.kb_builder.test_omop import HEADERS, concept
from tests.support.command_line import Longbel
from tests.support.kb_cases import conso_row, short_names, sty_row, write_release

CORPUS = [
    {"id": "d1", "document_id": "d1",
     "passages": [{"id": "p", "type": "t", "text": ["Ague and asthma"], "offsets": [[0, 15]]}],
     "entities": [
         {"id": "m1", "type": "DISO", "text": ["Ague"], "offsets": [[0, 4]],
          "normalized": [{"db_name": "UMLS", "db_id": "C90"}]},
         {"id": "m2", "type": "DISO", "text": ["asthma"], "offsets": [[9, 15]],
          "normalized": [{"db_name": "UMLS", "db_id": "C2"}]}],
     "events": [], "coreferences": [], "relations": []},
]  # fmt: skip
PREDICTION = {
    "document_id": "d1", "mention_id": "m1", "mention": "Ague", "semantic_group": "Disorders",
    "spans": [[0, 4]], "pred_concept_code": "C77", "pred_concept_name": "Ague", "beam_score": 0.5,
    "beams": [{"rank": 1, "pred_concept_code": "C77", "pred_concept_name": "Ague",
               "beam_score": 0.5}],
    "gold_concept_code": "C90+C4",
}  # fmt: skip


@pytest.fixture
def two(longbel: Longbel, tmp_path: Path) -> tuple[Path, Path]:
    """A knowledge base, and the one that its release became."""
    old = write_release(tmp_path / "r1", [*CONSO, conso_row("C90", "Ague"),
                                          conso_row("C77", "Gone")],
                        [*STY, sty_row("C90", "T047"), sty_row("C77", "T047")])  # fmt: skip
    new = write_release(tmp_path / "r2", CONSO, STY, MRREL=REL, MRCUI=CUI)
    assert longbel("build-kb", old, "--out", tmp_path / "old").code == 0
    assert longbel("build-kb", new, "--out", tmp_path / "new").code == 5
    return tmp_path / "old", tmp_path / "new"


def test_search_shows_what_stands_beside_names(longbel: Longbel, two: tuple[Path, Path]) -> None:
    result = longbel("kb", "search", two[1], "195967001").out
    for told in ("concept C2: Asthma; T033, T047; 2 names", "parent C1: Lung disease (is_a)",
                 "child C3: Asthma attack (is_a)", "in place of C90 (merged)", "D001249",
                 "concept C3"):  # fmt: skip
        assert told in result
    assert "C90 is retired (merged): C2, Asthma" in longbel("kb", "search", two[1], "C90").out
    assert "C92 is retired; no successor is named" in longbel("kb", "search", two[1], "C92").out
    info = longbel("kb", "info", two[1]).out
    for told in ("source codes of names and concepts", "parents of concepts", "retired codes"):
        assert told in info
    assert "parents of concepts" not in longbel("kb", "info", two[0]).out


def test_a_difference_as_a_table_and_as_json(longbel: Longbel, two: tuple[Path, Path]) -> None:
    done = longbel("kb", "diff", *two)
    assert done.code == 0
    for told in ("retired: C77", "replaced: C90 by C2", "Disorders", "to another"):
        assert told in done.out
    result = json.loads(longbel("kb", "diff", *two, "--json").out)
    assert (result["added"], result["retired"]) == ([], ["C77"])
    assert result["replaced"] == [{"old": "C90", "new": "C2", "reason": "merged"}]
    assert result["total"]["names_dropped"] == 2
    assert {"old", "new", "groups", "moved", "without_names", "knows_successors"} <= set(result)
    turned = longbel("kb", "diff", *two[::-1]).out
    assert "added: C77, C90" in turned and "keeps no retired codes" in turned


def test_codes_of_a_corpus_and_of_predictions(
    longbel: Longbel, two: tuple[Path, Path], tmp_path: Path
) -> None:
    corpus, predictions = tmp_path / "corpus.jsonl", tmp_path / "preds.jsonl"
    corpus.write_text("".join(json.dumps(row) + "\n" for row in CORPUS))
    predictions.write_text(json.dumps(PREDICTION) + "\n")
    result = json.loads(longbel("kb", "diff", *two, "--codes", corpus, "--json").out)["codes"]
    assert result == [
        {"code": "C90", "gold": 1, "predicted": 0, "status": "replaced", "becomes": "C2",
         "reason": "merged"}
    ]  # fmt: skip
    result = json.loads(longbel("kb", "diff", *two, "--codes", predictions, "--json").out)["codes"]
    assert [(row["code"], row["gold"], row["predicted"], row["status"]) for row in result] == [
        ("C77", 0, 1, "retired"), ("C90", 1, 0, "replaced"),
    ]  # fmt: skip
    table = longbel("kb", "diff", *two, "--codes", predictions).out
    assert "2 codes that are affected" in table and "C2 (merged)" in table
    predictions.write_text(json.dumps(PREDICTION | {"pred_concept_code": "C2", "beams": [],
                                                    "gold_concept_code": "C4"}) + "\n")  # fmt: skip
    assert "have all of the codes" in longbel("kb", "diff", *two, "--codes", predictions).out


def test_the_options_of_sources(longbel: Longbel, tmp_path: Path) -> None:
    table = tmp_path / "icd.csv"
    table.write_text("ICD10,Text\nJ45,Asthma\n")
    words = ("--columns", "code=ICD10,name=Text", "--group", "DISO")
    assert longbel("build-kb", table, "--out", tmp_path / "kb", *words).code == 0
    assert short_names(tmp_path / "kb") == {"Disorders": {"Asthma": "J45"}}
    obo = tmp_path / "t.obo"
    obo.write_text("format-version: 1.4\n\n[Term]\nid: T:1\nname: fever\n"
                   'synonym: "heat" BROAD []\n')  # fmt: skip
    words = ("--synonyms", "exact,broad", "--group-by", "root", "--overwrite")
    assert longbel("build-kb", obo, "--out", tmp_path / "kb", *words).code == 0
    assert short_names(tmp_path / "kb") == {"fever": {"Fever": "T:1", "Heat": "T:1"}}
    for wrong in (("--synonyms", "close"), ("--group-by", "size"), ("--columns", "x=y"),
                  ("--code", "id"), ("--domains", "Drug")):  # fmt: skip
        assert longbel("build-kb", obo, "--out", tmp_path / "no", *wrong).code == 2
    owl = tmp_path / "t.owl"
    owl.write_text("<rdf:RDF/>")
    done = longbel("build-kb", owl, "--out", tmp_path / "no")
    assert done.code == 3 and "robot convert --input t.owl --output t.obo" in done.err


_OMOP = "\n".join([HEADERS["CONCEPT"], concept(1, "Fever"), concept(2, "Cough", "Sorrow"), ""])
_OMOP_FILES = {
    "v/CONCEPT.csv": _OMOP.replace("Sorrow", "Condition"),
    "v/CONCEPT_SYNONYM.csv": HEADERS["CONCEPT_SYNONYM"] + "\n",
    "v/CONCEPT_RELATIONSHIP.csv": HEADERS["CONCEPT_RELATIONSHIP"] + "\n",
}
_STANZA = "format-version: 1.4\n\n[Term]\nid: T:1\nname: fever\n"
BAD_SOURCES = {
    "a broken stanza": ({"t.obo": _STANZA + 'synonym: "heat BROAD\n'}, "t.obo:6: synonym"),
    "a cycle": (
        {"t.obo": _STANZA + "is_a: T:2\n\n[Term]\nid: T:2\nname: heat\nis_a: T:1\n"},
        "t.obo:3: T:1 is below itself, by way of T:2",
    ),
    "retired twice": (
        {"t.obo": "".join(
            _STANZA.replace("T:1", f"T:{index}") + "alt_id: T:9\n\n" for index in (1, 2)
        ).replace("\nformat-version: 1.4\n", "")},
        "T:9 is retired twice",
    ),
    "a missing file": (
        {name: text for name, text in _OMOP_FILES.items() if "SYNONYM" not in name},
        "CONCEPT_SYNONYM.csv: the file is missing",
    ),
    "an unknown domain": (_OMOP_FILES | {"v/CONCEPT.csv": _OMOP}, "CONCEPT.csv:3: unknown domain"),
    "a tab inside": (
        {"t.tsv": 'code\tname\tgroup\nC1\t"a\tb"\tDISO\nC2\tb\tDISO\n'},
        "t.tsv:2: 4 columns instead of 3",
    ),
    "a line end inside": (
        {"t.tsv": "code\tname\tgroup\nC1\ta\nb\tDISO\nC2\tb\tDISO\n"},
        "t.tsv:2: 2 columns instead of 3",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD_SOURCES)
def test_what_of_a_source_cannot_be_read_is_said_with_its_line(
    longbel: Longbel, tmp_path: Path, case: str
) -> None:
    files, message = BAD_SOURCES[case]
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    source = tmp_path / next(iter(files)).split("/")[0]
    done = longbel("build-kb", source, "--out", tmp_path / "kb")
    assert done.code == 5
    assert message in done.err.replace("\n", " ")
    reasons = (tmp_path / "kb" / "quarantine.jsonl").read_text(encoding="utf-8")
    assert json.loads(reasons.split("\n")[0])["reason"] in done.err


def test_names_from_a_corpus(longbel: Longbel, tmp_path: Path) -> None:
    release = write_release(tmp_path / "r", CONSO, STY)
    document = json.dumps(CORPUS[0])
    rows = document.replace("C90", "C2"), document.replace("d1", "d2").replace("C90", "C2+C1")
    train, test = tmp_path / "train.jsonl", tmp_path / "test.jsonl"
    train.write_text("".join(f"{row}\n" for row in rows))
    words = ("build-kb", release, "--out", tmp_path / "kb", "--names-from", train)
    done = longbel(*words)
    assert done.code == 0
    assert "holds words of the corpus train.jsonl (2 documents)" in done.out
    assert short_names(tmp_path / "kb")["Disorders"]["Ague"] == "C2"
    info = longbel("kb", "info", tmp_path / "kb").out
    assert "holds words of the corpus train.jsonl" in info and "train.jsonl=" in info
    result = json.loads(longbel("kb", "search", tmp_path / "kb", "C2", "--json").out)
    assert {"source": "corpus:train.jsonl", "source_code": "C2", "names": ["Ague", "Asthma"]} in (
        result["concepts"][0]["codes"]
    )
    link = ("link", "--linker", "exact", "--kb", tmp_path / "kb", "--out", tmp_path / "preds.jsonl")
    for to in ((), ("--dry-run",)):
        refused = longbel(*link, train, *to)
        assert refused.code == 2
        assert "document d1: names of the knowledge base came from it" in refused.err
    test.write_text(json.dumps(CORPUS[0]).replace("d1", "d9") + "\n")
    assert longbel(*link, test).code == 0
    assert (
        json.loads((tmp_path / "preds.jsonl").read_text().split("\n")[0])["pred_concept_code"]
        == "C2"
    )
    few = ("--names-min-documents", 2, "--overwrite")
    assert longbel(*words, *few).code == 0  # "asthma" is in both
    assert "Ague" not in short_names(tmp_path / "kb")["Disorders"]
    assert (
        longbel("build-kb", release, "--out", tmp_path / "x", "--names-min-documents", 2).code == 2
    )
