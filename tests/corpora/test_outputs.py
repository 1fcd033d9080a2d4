"""Outputs of one file: BioC collections and tables, against worked rows and other readers."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from bioc import biocjson, biocxml
from hypothesis import HealthCheck, given, settings

from kb_builder.build import BuildOptions, build_kb
from kb_builder.errors import LongbelError
from longbel_cli.corpora import Corpus, ignore, read_corpus
from longbel_cli.corpora.file_writing import OutputOptions
from longbel_cli.corpora.outputs import FILE_OUTPUTS
from longbel_cli.types import Candidate, Document, Prediction
from tests.corpora.nasty.cases import lines
from tests.corpora.test_write import pages
from tests.support.command_line import Longbel, write_json_lines
from tests.support.examples import some
from tests.support.files import stored
from tests.support.kb_cases import conso_row, sty_row, write_release

# BioC -------------------------------------------------------------------------------------------


def answered(document: Document) -> dict[str, Prediction]:
    """Each mention with an answer of its own: a code, or a composite one."""
    return {
        mention.id: Prediction.of(
            document, mention, (Candidate(1, f"C{index}+D", "one<+>two", 0.5),) if index else ()
        )
        for index, mention in enumerate(document.mentions)
    }


def bioc(source: Path, out: Path) -> list[Document]:
    """The corpus as BioC, each document as it was read first."""
    writer = FILE_OUTPUTS["bioc"].open(out, out.suffix, OutputOptions())
    documents = []
    for read in Corpus([source]).read_whole(ignore):
        documents.append(read.document)
        writer.write(read, answered(read.document))
    writer.close()
    return documents


def spelled(text: str) -> str:
    """What is left of a text in XML."""
    return "".join(
        letter if letter in "\t\n\r" or (letter >= " " and letter not in "\ufffe\uffff")
        else "\ufffd" for letter in text
    )  # fmt: skip


@pytest.mark.parametrize("suffix", [".json", ".xml"])
@settings(
    max_examples=some(60),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(value=pages())
def test_bioc_comes_back(
    tmp_path_factory: pytest.TempPathFactory, suffix: str, value: dict[str, Any]
) -> None:
    """Text, passages, mentions, types, answers: by our reader, and by the format's own library."""
    folder = tmp_path_factory.mktemp("bioc")
    source = stored({"c.jsonl": lines(value)}, folder / "corpus")
    try:
        documents = bioc(source, folder / f"out{suffix}")
    except LongbelError:
        return  # no document can be read
    change = spelled if suffix == ".xml" else str
    back = list(read_corpus([folder / f"out{suffix}"], on_problem=ignore))
    assert [document.id for document in back] == [change(document.id) for document in documents]
    for first, second in zip(documents, back, strict=True):
        assert second.text == change(first.text)
        result = {mention.id: mention for mention in second.mentions}
        for index, mention in enumerate(first.mentions):
            assert sorted(result[change(mention.id)].spans) == sorted(mention.spans)
            assert result[change(mention.id)].entity_type == change(mention.entity_type)
            assert result[change(mention.id)].gold == ((f"C{index}", "D") if index else None)
    text = (folder / f"out{suffix}").read_bytes().decode()
    theirs = (biocjson if suffix == ".json" else biocxml).loads(text)
    assert [len(d.passages) for d in theirs.documents] == [len(d.passages) for d in documents]


# Tables -----------------------------------------------------------------------------------------


def entity(start: int, text: str, **more: object) -> dict[str, Any]:
    end = start + len(text)
    return {"id": f"T{start}", "type": "DISO", "text": [text], "offsets": [[start, end]],
            "normalized": [], **more}  # fmt: skip


PAGE = {
    "id": "d", "document_id": "=d",
    "passages": [{"id": "p", "type": "text", "text": ["fever, cold; cough"], "offsets": [[0, 18]]}],
    "entities": [
        entity(0, "fever", attributes={"Negation": True}, normalized=[{"db_id": "C0000001"}]),
        {**entity(7, "cold"), "text": ["cold", "cough"], "offsets": [[7, 11], [13, 18]]},
        entity(13, "cough"),
    ],
    "events": [], "coreferences": [], "relations": [],
}  # fmt: skip
ANSWERS = (
    ("T0", [[0, 5]], [("C0000001", "Fever", 0.9), ("C0000002", "Cold", 0.25)]),
    ("T7", [[7, 11], [13, 18]], [("C0000001+C0000002", "Fever<+>Cold", 0.5)]),
    ("T13", [[13, 18]], []),
)


def lines_of_answers() -> Iterator[dict[str, Any]]:
    for mention_id, spans, beams in ANSWERS:
        rows = [
            {
                "rank": rank,
                "pred_concept_code": code,
                "pred_concept_name": name,
                "beam_score": score,
            }
            for rank, (code, name, score) in enumerate(beams, start=1)
        ]  # fmt: skip
        yield {"document_id": "=d", "mention_id": mention_id, "mention": "m", "spans": spans,
               "semantic_group": "Disorders", "beams": rows}  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_json_lines(tmp_path / "corpus.jsonl", PAGE)
    write_json_lines(tmp_path / "preds.jsonl", *lines_of_answers())
    return tmp_path


@pytest.fixture(scope="module")
def kb(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("facts")
    rows = [
        conso_row("C0000001", "Fever", ts="P", sab="SNOMEDCT_US", code="386661006"),
        conso_row("C0000001", "Pyrexia", sab="SNOMEDCT_US", code="0123"),
        conso_row("C0000001", "Febrile", sab="ICD10CM", code="R50"),
        conso_row("C0000002", "Cold", ts="P", sab="ICD10CM", code="J00"),
    ]
    types = [sty_row("C0000001", "T184"), sty_row("C0000002", "T047")]
    build_kb(BuildOptions(write_release(folder / "release", rows, types), folder / "kb"))
    return folder / "kb"


def table(longbel: Longbel, folder: Path, name: str, *flags: object) -> Path:
    out = folder / name
    done = longbel("convert", folder / "preds.jsonl", folder / "corpus.jsonl", "--to", "table",
                   "--out", out, *flags)  # fmt: skip
    assert done.code == 0, done.err
    assert "1 documents, 2 of 3 mentions with a concept" in done.err
    return out


def test_a_row_a_mention(longbel: Longbel, folder: Path) -> None:
    assert table(longbel, folder, "a.csv").read_text() == (
        "document_id,mention_id,start,end,spans,semantic_group,code,name,score,review,gold,attributes\n"
        '=d,T0,0,5,0-5,Disorders,C0000001,Fever,0.9,,C0000001,"{""Negation"": true}"\n'
        "=d,T7,7,18,7-11;13-18,Disorders,C0000001+C0000002,Fever<+>Cold,0.5,,,\n"
        "=d,T13,13,18,13-18,Disorders,,,,,,\n"
    )
    assert (folder / "a.csv").stat().st_mode & 0o077 == 0


def test_all_columns(longbel: Longbel, folder: Path, kb: Path) -> None:
    """Codes of vocabularies are text, also those that look like numbers; several joined by `|`."""
    out = table(longbel, folder, "a.parquet", "--candidates", "5", "--text", "--types", "--kb", kb,
                "--vocabularies", "SNOMEDCT_US,ICD10CM")  # fmt: skip
    result = pq.read_table(out)
    assert result.schema.names == [
        "document_id", "mention_id", "start", "end", "spans", "semantic_group", "text", "rank",
        "code", "name", "score", "review", "gold", "attributes", "SNOMEDCT_US", "ICD10CM",
        "semantic_types",
    ]  # fmt: skip
    kinds = {field.name: field.type for field in result.schema}
    assert (kinds["start"], kinds["score"], kinds["rank"], kinds["review"]) == (
        pa.int64(), pa.float64(), pa.int32(), pa.bool_(),
    )  # fmt: skip
    assert kinds["SNOMEDCT_US"] == kinds["code"] == pa.string()
    columns = ("mention_id", "rank", "code", "text", "SNOMEDCT_US", "ICD10CM", "semantic_types")
    assert [tuple(row[name] for name in columns) for row in result.to_pylist()] == [
        ("T0", 1, "C0000001", "fever", "386661006|0123", "R50", "Sign or Symptom"),
        ("T0", 2, "C0000002", "fever", None, "J00", "Disease or Syndrome"),
        ("T7", 1, "C0000001+C0000002", "cold cough", "386661006|0123", "R50|J00",
         "Sign or Symptom|Disease or Syndrome"),
        ("T13", None, None, "cough", None, None, None),
    ]  # fmt: skip


def test_a_threshold(longbel: Longbel, folder: Path) -> None:
    out = folder / "a.tsv"
    done = longbel("convert", folder / "preds.jsonl", folder / "corpus.jsonl", "--to", "table",
                   "--out", out, "--nil-score", "0.6")  # fmt: skip
    rows = list(csv.DictReader(io.StringIO(out.read_text()), delimiter="\t"))
    assert [row["code"] for row in rows] == ["C0000001", "", ""]
    assert "1 answers below --nil-score" in done.err
    bigbio = folder / "bigbio"
    longbel("convert", folder / "preds.jsonl", folder / "corpus.jsonl", "--to", "bigbio",
            "--out", bigbio, "--nil-score", "0.9", "--replace-gold")  # fmt: skip
    entities = json.loads((bigbio / "corpus.jsonl").read_text())["entities"]
    assert [bool(each["normalized"]) for each in entities] == [True, False, False]


def test_cells_that_would_be_computed(longbel: Longbel, folder: Path) -> None:
    assert table(longbel, folder, "a.csv", "--for-spreadsheet").read_text().count("'=d") == 3


def test_many_rows_are_written_in_batches(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("longbel_cli.corpora.file_writing._BATCH", 2)
    writer = FILE_OUTPUTS["table"].open(folder / "t.parquet", ".parquet", OutputOptions())
    for _ in range(3):
        for read in Corpus([folder / "corpus.jsonl"]).read_whole(ignore):
            writer.write(read, {})
    writer.close()
    assert pq.read_table(folder / "t.parquet")["mention_id"].to_pylist() == ["T0", "T7", "T13"] * 3


# Flags and what is missing -----------------------------------------------------------------------

WRONG = [
    (("--to", "table", "--out", "a.xlsx"), 2, "ends in .csv, .tsv or .parquet"),
    (("--to", "bioc", "--out", "a"), 2, "ends in .json or .xml"),
    (("--to", "bioc", "--out", "a.xml", "--text"), 2, "--text does not go with --to bioc"),
    (("--to", "table", "--out", "a.csv", "--database", "X"), 2, "--database does not go with"),
    (("--to", "brat", "--out", "a", "--candidates", "3"), 2, "--candidates does not go with"),
    (("--to", "table", "--out", "a.csv", "--types"), 2, "--kb"),
    (("--to", "table", "--out", "preds.jsonl"), 2, "which is read"),
    (("--to", "table", "--out", "taken.csv"), 4, "taken.csv exists"),
    (("--to", "table", "--out", "no/a.csv"), 3, "cannot be written"),
    (("--to", "table", "--out", "a.csv", "--kb", "KB", "--vocabularies", "LNC"), 2,
     "It has ICD10CM or SNOMEDCT_US"),
]  # fmt: skip


@pytest.mark.parametrize(("words", "code", "message"), WRONG)
def test_wrong_flags(
    longbel: Longbel, folder: Path, kb: Path, monkeypatch: pytest.MonkeyPatch,
    words: tuple[str, ...], code: int, message: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(folder)
    (folder / "taken.csv").write_text("mine")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    filled = [str(kb) if word == "KB" else word for word in words]
    done = longbel("convert", "preds.jsonl", "corpus.jsonl", *filled)
    assert done.code == code and message in done.err, done.err
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_nothing_is_half_written(longbel: Longbel, folder: Path) -> None:
    """Predictions of another corpus: told, and no file."""
    write_json_lines(folder / "other.jsonl", {**PAGE, "document_id": "e"})
    done = longbel("convert", folder / "preds.jsonl", folder / "other.jsonl", "--to", "table",
                   "--out", folder / "a.csv")  # fmt: skip
    assert done.code == 3 and "none of its 3 predictions" in done.err
    assert not (folder / "a.csv").exists() and not list(folder.glob("*a.csv*"))
