"""NOTE_NLP against the published list of its fields, worked rows, and a database."""

from __future__ import annotations

import datetime
import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kb_builder.build import BuildOptions, build_kb
from kb_builder.errors import LongbelError
from longbel_cli.corpora.omop_concepts import (
    ConceptIds,
    GivenMap,
    SourceCode,
    map_through,
    read_map,
    read_note_ids,
)
from longbel_cli.corpora.omop_writer import NOTE_NLP
from tests.support.command_line import Longbel, write_json_lines
from tests.support.kb_cases import conso_row, sty_row, write_release

# From OHDSI's field list of the CDM 5.4: name, type, whether it is required.
SPECIFIED = """\
note_nlp_id integer yes
note_id integer yes
section_concept_id integer no
snippet varchar(250) no
offset varchar(50) no
lexical_variant varchar(250) yes
note_nlp_concept_id integer no
note_nlp_source_concept_id integer no
nlp_system varchar(250) no
nlp_date date yes
nlp_datetime datetime no
term_exists varchar(1) no
term_temporal varchar(50) no
term_modifiers varchar(2000) no
"""


def test_the_fields_are_those_of_the_specification() -> None:
    listed = [
        f"{field.name} {f'varchar({field.length})' if field.kind == 'text' else field.kind} "
        f"{'yes' if field.required else 'no'}\n"
        for field in NOTE_NLP
    ]
    assert "".join(listed) == SPECIFIED


def entity(start: int, text: str, **attributes: object) -> dict[str, Any]:
    end = start + len(text)
    return {"id": f"T{start}", "type": "DISO", "text": [text], "offsets": [[start, end]],
            "normalized": [], "attributes": attributes}  # fmt: skip


def page(document: str, *entities: dict[str, Any]) -> dict[str, Any]:
    text = "fever, cold; cough" + "x" * 300
    return {
        "id": document, "document_id": document,
        "passages": [{"id": "p", "type": "t", "text": [text], "offsets": [[0, len(text)]]}],
        "entities": [*entities], "events": [], "coreferences": [], "relations": [],
    }  # fmt: skip


def line(document: str, start: int, end: int, *codes: str) -> dict[str, Any]:
    beams = [
        {"rank": rank, "pred_concept_code": code, "pred_concept_name": f"name of {code}",
         "beam_score": 0.5}
        for rank, code in enumerate(codes, start=1)
    ]  # fmt: skip
    return {"document_id": document, "mention_id": f"T{start}", "spans": [[start, end]],
            "mention": "m", "semantic_group": "Disorders", "beams": beams}  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two notes: answers with and without a concept of OMOP, composite, missing, and a long one."""
    monkeypatch.chdir(tmp_path)
    write_json_lines(
        tmp_path / "notes.jsonl",
        page("12", entity(0, "fever", Negation=True, Certainty="low"), entity(7, "cold")),
        page("7", entity(7, "cold", historical=True), entity(13, "cough"),
             entity(17, "h" + "x" * 299, Assertion="present")),
    )  # fmt: skip
    write_json_lines(
        tmp_path / "preds.jsonl",
        line("12", 0, 5, "C0000001"), line("12", 7, 11, "C0000002"),
        line("7", 7, 11, "C0000001+C0000002"), line("7", 13, 18), line("7", 17, 317, "C0000009"),
    )  # fmt: skip
    (tmp_path / "map.csv").write_text("code,concept_id\nC0000001,437663\nC0000009,5\n")
    return tmp_path


OMOP = ("convert", "preds.jsonl", "notes.jsonl", "--to", "omop", "--date", "2026-03-01")


def test_rows_worked_by_hand(longbel: Longbel, folder: Path) -> None:
    done = longbel(*OMOP, "--concept-map", "map.csv", "--first-id", "100", "--out", "n.parquet")
    assert done.code == 0, done.err
    table = pq.read_table("n.parquet")
    assert table.schema.field("note_id").type == pa.int32()
    assert table.schema.field("nlp_date").type == pa.date32()
    assert [field.nullable for field in table.schema] == [not each.required for each in NOTE_NLP]
    rows = table.to_pylist()
    first = rows[0]
    assert first.pop("nlp_system").startswith("longbel ")
    assert first == {
        "note_nlp_id": 100, "note_id": 12, "section_concept_id": None, "snippet": None,
        "offset": "0", "lexical_variant": "fever", "note_nlp_concept_id": 437663,
        "note_nlp_source_concept_id": 0, "nlp_date": datetime.date(2026, 3, 1),
        "nlp_datetime": None, "term_exists": "N", "term_temporal": None,
        "term_modifiers": "Negation; Certainty=low",
    }  # fmt: skip
    assert [row["note_nlp_id"] for row in rows] == [100, 101, 102, 103, 104]
    assert [row["note_nlp_concept_id"] for row in rows] == [437663, 0, 0, 0, 5]
    assert [row["term_exists"] for row in rows] == ["N", None, None, None, "Y"]
    assert [row["term_temporal"] for row in rows] == [None, None, "historical", None, None]
    assert rows[4]["lexical_variant"] == "h" + "x" * 249
    for said in ("1 values of lexical_variant were cut to 250", "1 mentions have no answer",
                 "1 answers have several concepts", "1 answers have no OMOP concept",
                 "confidential"):  # fmt: skip
        assert said in done.err
    assert Path("n.parquet").stat().st_mode & 0o077 == 0


def test_into_a_database(longbel: Longbel, folder: Path) -> None:
    """With the types of the specification, as a hospital would load it."""
    done = longbel(*OMOP, "--concept-map", "map.csv", "--out", "n.parquet")
    assert done.code == 0
    columns = [each.split() for each in SPECIFIED.splitlines()]
    fields = (f'"{name}" {kind}' + (" NOT NULL" if required == "yes" else "")
              for name, kind, required in columns)  # fmt: skip
    database = sqlite3.connect(":memory:")
    database.execute(f"CREATE TABLE note_nlp ({', '.join(fields)})")
    rows = [
        tuple(value.isoformat() if isinstance(value, datetime.date) else value
              for value in row.values())
        for row in pq.read_table("n.parquet").to_pylist()
    ]  # fmt: skip
    database.executemany(f"INSERT INTO note_nlp VALUES ({','.join('?' * len(columns))})", rows)
    count = (
        "SELECT count(*), count(DISTINCT note_nlp_id) FROM note_nlp WHERE note_nlp_concept_id > 0"
    )
    assert database.execute(count).fetchone() == (2, 2)


def test_without_text(longbel: Longbel, folder: Path) -> None:
    done = longbel(*OMOP, "--concept-map", "map.csv", "--no-text", "--out", "n.csv")
    assert done.code == 0 and "confidential" not in done.err
    written = Path("n.csv").read_text()
    assert "name of C0000001" in written and "fever" not in written and "cough" not in written
    assert "names in place of text" in written


def test_note_ids_of_a_table(longbel: Longbel, folder: Path) -> None:
    Path("ids.tsv").write_text("document_id\tnote_id\n12\t3000000000\n7\t8\n")
    words = (*OMOP, "--concept-map", "map.csv", "--note-ids", "ids.tsv", "--out", "n.parquet")
    refused = longbel(*words)
    assert refused.code == 3 and "document 12: note_id 3000000000 is no 32-bit" in refused.err
    assert not Path("n.parquet").exists()
    assert longbel(*words, "--bigint").code == 0
    table = pq.read_table("n.parquet")
    assert table["note_id"].to_pylist() == [3000000000] * 2 + [8] * 3
    assert table.schema.field("note_id").type == pa.int64()


def test_ids_that_are_no_numbers(longbel: Longbel, folder: Path) -> None:
    write_json_lines(folder / "notes.jsonl", page("note-1", entity(0, "fever")))
    write_json_lines(folder / "preds.jsonl", line("note-1", 0, 5, "C0000001"))
    done = longbel(*OMOP, "--out", "n.csv")
    assert done.code == 3 and "document note-1" in done.err and "--note-ids" in done.err
    assert not Path("n.csv").exists()


def test_the_day_of_the_run(longbel: Longbel, folder: Path) -> None:
    words = [word for word in OMOP if word not in ("--date", "2026-03-01")]
    unknown = longbel(*words, "--out", "n.csv")
    assert unknown.code == 2 and "--date" in unknown.err
    wrong = longbel(*words, "--date", "1.3.2026", "--out", "n.csv")
    assert wrong.code == 2 and "no date" in wrong.err
    run = folder / "preds.jsonl.run"
    run.mkdir()
    record = {"provenance": {"created": "2026-02-03T23:59:00+00:00"}, "configuration": {"kb": "K"}}
    (run / "run.json").write_text(json.dumps(record))
    done = longbel(*words, "--out", "n.csv")
    assert done.code == 0 and "2026-02-03" in Path("n.csv").read_text()
    assert "kb K" in Path("n.csv").read_text() and "0 everywhere" in done.err


# Maps ---------------------------------------------------------------------------------------------

MAPS = [
    ("code,concept_id\nC1,5\nUMLS:C2,6\nC3,\n", {"C1": ConceptIds(5, 0), "C2": ConceptIds(6, 0)}),
    (
        "source_code\tsource_concept_id\ttarget_concept_id\tinvalid_reason\n"
        "C1\t2000000001\t5\t\nC1\t0\t7\tD\nC2\t0\t0\t\n",
        {"C1": ConceptIds(5, 2000000001), "C2": ConceptIds(0, 0)},
    ),
]


@pytest.mark.parametrize(("text", "expected"), MAPS)
def test_maps(tmp_path: Path, text: str, expected: dict[str, ConceptIds]) -> None:
    (tmp_path / "map").write_text(text)
    read = read_map(tmp_path / "map")
    assert {code: read.ids_of(code) for code in expected} == expected
    assert read.ids_of("C9") == ConceptIds(0, 0)


WRONG_MAPS = [
    ("code,concept_id\nC1,5\nC1,6\n", ":3: C1 has two targets, 5 and 6"),
    ("code,concept_id\nC1,x\n", ":2: a concept id is no whole number"),
    ("code,target\nC1,5\n", "(code, target) are no map"),
]


@pytest.mark.parametrize(("text", "message"), WRONG_MAPS)
def test_wrong_maps(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "map").write_text(text)
    with pytest.raises(LongbelError) as caught:
        read_map(tmp_path / "map")
    assert message in caught.value.message


WRONG_IDS = [
    ("document_id,note_id\na,1\na,2\n", "document a has two note ids"),
    ("document_id,note_id\na,1\nb,1\n", "two documents have the same note_id"),
    ("document_id,note_id\na,x\n", "no whole number"),
    ("id,note\na,1\n", "are not document_id and note_id"),
]


@pytest.mark.parametrize(("text", "message"), WRONG_IDS)
def test_wrong_note_ids(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "ids").write_text(text)
    with pytest.raises(LongbelError) as caught:
        read_note_ids(tmp_path / "ids")
    assert message in caught.value.message


CONCEPT = """\
concept_id\tconcept_name\tdomain_id\tvocabulary_id\tconcept_class_id\tstandard_concept\tconcept_code\tvalid_start_date\tvalid_end_date\tinvalid_reason
437663\tFever\tCondition\tSNOMED\tClinical Finding\tS\t386661006\t19700101\t20991231\t
45533094\t"Fever" in ICD\tCondition\tICD10CM\t3-char\t\tR50\t19700101\t20991231\t
900\tOld\tCondition\tICD10CM\t3-char\t\tR50\t19700101\t20001231\tD
901\tCold\tCondition\tICD10CM\t3-char\t\tJ00\t19700101\t20991231\t
902\tRetired\tCondition\tSNOMED\tClinical Finding\t\t82272006\t19700101\t20001231\tU
903\tNobody's\tCondition\tMeSH\tMain\t\tD1\t19700101\t20991231\t
"""
RELATIONSHIP = """\
concept_id_1\tconcept_id_2\trelationship_id\tvalid_start_date\tvalid_end_date\tinvalid_reason
45533094\t437663\tMaps to\t19700101\t20991231\t
901\t260428\tMaps to\t19700101\t20991231\t
901\t260427\tMaps to\t19700101\t20991231\t
901\t1\tMaps to\t19700101\t20991231\tD
901\t2\tIs a\t19700101\t20991231\t
902\t260427\tMaps to\t19700101\t20991231\t
"""


@pytest.fixture
def vocabulary(tmp_path: Path) -> Path:
    folder = tmp_path / "vocabulary"
    folder.mkdir()
    (folder / "CONCEPT.csv").write_text(CONCEPT)
    (folder / "concept_relationship.csv").write_text(RELATIONSHIP)
    return folder


def codes(*pairs: tuple[str, str]) -> Iterator[SourceCode]:
    return (SourceCode(*pair) for pair in pairs)


# source codes of a concept, and its ids
THROUGH = [
    ([("ICD10CM", "R50"), ("SNOMEDCT_US", "386661006")], ConceptIds(437663, 437663)),
    ([("ICD10CM", "R50")], ConceptIds(437663, 45533094)),  # the valid one of two
    ([("ICD10CM", "J00")], ConceptIds(260427, 901)),  # the smallest of two targets
    ([("SNOMEDCT_US", "82272006")], ConceptIds(260427, 902)),  # retired, and mapped
    ([("MSH", "D1")], ConceptIds(0, 903)),  # known, and mapped to nothing
    ([("MSH", "D1"), ("ICD10CM", "J00")], ConceptIds(260427, 901)),
    ([("MSH", "R50")], ConceptIds(0, 0)),  # a code of another vocabulary
    ([], ConceptIds(0, 0)),
]


@pytest.mark.parametrize(("sources", "expected"), THROUGH)
def test_through_a_vocabulary(
    vocabulary: Path, sources: list[tuple[str, str]], expected: ConceptIds
) -> None:
    assert map_through(vocabulary, {"C1": codes(*sources)}).ids_of("C1") == expected


def test_a_folder_without_its_tables(vocabulary: Path) -> None:
    (vocabulary / "CONCEPT.csv").write_text("concept_id\tname\n1\tx\n")
    with pytest.raises(LongbelError, match="cannot be read as a table"):
        map_through(vocabulary, {})
    (vocabulary / "CONCEPT.csv").unlink()
    with pytest.raises(LongbelError, match=r"no CONCEPT\.csv in it"):
        map_through(vocabulary, {})


def test_the_command_through_a_vocabulary(longbel: Longbel, folder: Path, vocabulary: Path) -> None:
    rows = [conso_row("C0000001", "Fever", ts="P", sab="ICD10CM", code="R50"),
            conso_row("C0000002", "Cold", ts="P", sab="ICD10CM", code="J00")]  # fmt: skip
    types = [sty_row("C0000001", "T184"), sty_row("C0000002", "T047")]
    build_kb(BuildOptions(write_release(folder / "release", rows, types), folder / "kb"))
    words = (*OMOP, "--omop-vocabulary", vocabulary, "--out", "n.parquet")
    assert longbel(*words).code == 2
    done = longbel(*words, "--kb", "kb")
    assert done.code == 0, done.err
    rows_of = pq.read_table("n.parquet").to_pylist()
    assert [(row["note_nlp_concept_id"], row["note_nlp_source_concept_id"]) for row in rows_of] == [
        (437663, 45533094), (260427, 901), (0, 0), (0, 0), (0, 0),
    ]  # fmt: skip


def test_a_knowledge_base_of_concept_ids(longbel: Longbel, folder: Path, vocabulary: Path) -> None:
    """Its codes are the concepts; with the vocabulary beside it they become standard."""
    build_kb(BuildOptions(vocabulary, folder / "kb"))
    write_json_lines(folder / "notes.jsonl", page("1", entity(0, "fever"), entity(7, "cold")))
    answers = (line("1", 0, 5, "437663"), line("1", 7, 11, "45533094"))
    write_json_lines(folder / "preds.jsonl", *answers)

    def ids(name: str) -> list[tuple[int, int]]:
        rows = pq.read_table(name).to_pylist()
        return [(row["note_nlp_concept_id"], row["note_nlp_source_concept_id"]) for row in rows]

    done = longbel(*OMOP, "--kb", "kb", "--out", "n.parquet")
    assert done.code == 0 and "that are not standard" in done.err
    assert ids("n.parquet") == [(437663, 437663), (45533094, 45533094)]
    mapped = (*OMOP, "--kb", "kb", "--omop-vocabulary", vocabulary, "--out", "m.parquet")
    assert longbel(*mapped).code == 0
    assert ids("m.parquet") == [(437663, 437663), (437663, 45533094)]
    build_kb(BuildOptions(vocabulary, folder / "standard", standard_only=True))
    done = longbel(*OMOP, "--kb", "standard", "--out", "s.parquet")
    assert done.code == 0 and "that are not standard" not in done.err


def test_no_map_has_nothing() -> None:
    assert GivenMap({}).ids_of("C1") == ConceptIds(0, 0)
