"""Perfect predictions score 100 % however codes are spelled; what cannot meet is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kb_builder.errors import LongbelError
from longbel_cli.corpora import read_corpus
from longbel_cli.corpora.predictions import read_predictions
from longbel_cli.scoring.evaluation import Evaluation, evaluate_files
from longbel_cli.scoring.metrics import ScoreOptions
from longbel_cli.scoring.request import ScoreRequest

OPTIONS = ScoreOptions(n_boot=10)


def write_gold(folder: Path, *normalized: list[dict[str, str]]) -> Path:
    """A document `d` of one mention `T0`, `T1`, ... for each list of codes."""
    text = " ".join(["Fever"] * len(normalized))
    entities = [
        {
            "id": f"T{index}",
            "type": "DISO",
            "text": ["Fever"],
            "offsets": [[6 * index, 6 * index + 5]],
            "normalized": codes,
        }
        for index, codes in enumerate(normalized)
    ]
    document = {
        "id": "1",
        "document_id": "d",
        "passages": [{"id": "p", "type": "t", "text": [text], "offsets": [[0, len(text)]]}],
        "entities": entities,
    }
    path = folder / "gold.jsonl"
    path.write_text(json.dumps(document) + "\n")
    return path


def write_predictions(folder: Path, *codes: str) -> Path:
    path = folder / "p.jsonl"
    lines = [
        {
            "document_id": "d",
            "mention_id": f"T{index}",
            "semantic_group": "DISO",
            "spans": [[6 * index, 6 * index + 5]],
            "beams": [{"rank": 1, "pred_concept_code": code, "beam_score": 0.5}],
        }
        for index, code in enumerate(codes)
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def evaluated(folder: Path, gold: list[dict[str, str]], code: str) -> Evaluation:
    request = ScoreRequest(
        write_predictions(folder, code), gold=(write_gold(folder, gold),), options=OPTIONS
    )
    return evaluate_files(request)


@pytest.mark.parametrize(
    ("database", "code", "predicted"),
    [
        ("UMLS", "C0015967", "UMLS:C0015967"),
        ("UMLS", "umls:C0015967", "C0015967"),
        ("SNOMED CT", "386661006", "386661006"),
        ("", "SNOMEDCT_US:386661006", "sctid:386661006"),
        ("", "MESH:D005334", "D005334"),
        ("NCBI Gene", "59341", "59341"),
        ("HPO", "HP:0001945", "HP:0001945"),
    ],
)
def test_one_code_in_two_spellings(
    tmp_path: Path, database: str, code: str, predicted: str
) -> None:
    result = evaluated(tmp_path, [{"db_name": database, "db_id": code}], predicted)
    assert result.first.score.overall["recall@1"].value == 1.0


def test_plain_numbers_of_two_databases_stay_apart(tmp_path: Path) -> None:
    gene = [{"db_name": "NCBI Gene", "db_id": "9606"}]
    species = [{"db_name": "NCBI Taxonomy", "db_id": "9606"}]
    (document,) = read_corpus([write_gold(tmp_path, gene, species)])
    assert [each.gold for each in document.mentions] == [("NCBIGene:9606",), ("NCBITaxID:9606",)]
    (alone,) = read_corpus([write_gold(tmp_path, gene, gene)])
    assert [each.gold for each in alone.mentions] == [("9606",), ("9606",)]


@pytest.mark.parametrize(
    ("gold", "predicted", "words"),
    [
        ("C0015967", "XYZ:C0015967", "without the part before the colon"),
        ("C0015967", "http://example.org/C0015967", "without the part before the slash"),
        ("C0015967", "c0015967", "in capitals"),
        ("E11", "E11.0", "without `.0` at the end"),
        ("1234", "001234", "without leading zeros"),
    ],
)
def test_a_score_that_could_only_be_nothing_stops(
    tmp_path: Path, gold: str, predicted: str, words: str
) -> None:
    with pytest.raises(LongbelError, match=words):
        evaluated(tmp_path, [{"db_name": "", "db_id": gold}], predicted)


def test_a_wrong_answer_of_the_same_number_is_wrong(tmp_path: Path) -> None:
    result = evaluated(tmp_path, [{"db_name": "", "db_id": "HP:0000001"}], "DOID:0000001")
    assert result.first.score.overall["recall@1"].value == 0.0


TABLES = {
    "filename\tmark\tlabel\toff0\toff1\tspan\tcode\nd\tT0\tDISO\t0\t5\tFever\tC0015967\n": 1,
    "filename\tlabel\tstart_span\tend_span\ttext\tcode\nd\tDISO\t0\t5\tFever\tC0015967\n": 1,
    "document_id\tspans\trank\tprediction\nd\t0-5\t1\tC0015967\nd\t0-5\t2\tC1\n": 2,
}


@pytest.mark.parametrize("table", TABLES)
def test_tables_of_shared_tasks_are_predictions(tmp_path: Path, table: str) -> None:
    path = tmp_path / "run.tsv"
    path.write_text(table)
    (read,) = read_predictions(path).predictions
    assert len(read.candidates) == TABLES[table]
    assert read.gold_concept_code is None
    gold = write_gold(tmp_path, [{"db_name": "UMLS", "db_id": "C0015967"}])
    result = evaluate_files(ScoreRequest(path, gold=(gold,), options=OPTIONS))
    assert result.first.score.overall["recall@1"].value == 1.0


@pytest.mark.parametrize("delimiter", [",", ";", "|"])
def test_the_header_of_a_table_says_what_parts_its_fields(tmp_path: Path, delimiter: str) -> None:
    path = tmp_path / "run.csv"
    rows = [["document_id", "spans", "rank", "prediction"], ["d", '"0-5"', "1", "C0015967"]]
    path.write_text("".join(delimiter.join(row) + "\n" for row in rows))
    (read,) = read_predictions(path).predictions
    assert (read.spans, read.candidates[0].concept_code) == (((0, 5),), "C0015967")


def test_fragments_of_a_table_in_any_order(tmp_path: Path) -> None:
    path = tmp_path / "run.tsv"
    path.write_text("document_id\tspans\trank\tprediction\nd\t19-24,9-14\t1\tC1\n")
    (read,) = read_predictions(path).predictions
    assert read.spans == ((9, 14), (19, 24))


def test_an_answer_without_a_concept_is_no_candidate(tmp_path: Path) -> None:
    (read,) = read_predictions(write_predictions(tmp_path, "CUI-less")).predictions
    assert read.candidates == ()


def test_a_code_changed_by_a_spreadsheet_is_refused_with_its_row(tmp_path: Path) -> None:
    path = tmp_path / "run.tsv"
    path.write_text("document_id\tspans\trank\tprediction\nd\t0-5\t1\t386661006.0\n")
    with pytest.raises(LongbelError, match=r"run.tsv:2: 386661006.0 .* spreadsheet"):
        read_predictions(path)
    with pytest.raises(LongbelError, match=r"p.jsonl:1: 3.9E\+08 .* spreadsheet"):
        read_predictions(write_predictions(tmp_path, "3.9E+08"))
