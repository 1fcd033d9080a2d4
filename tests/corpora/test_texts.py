"""Plain texts as a corpus: files and tables, unchanged, with ids that nobody need be ashamed of."""

from __future__ import annotations

import csv
import gzip
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kb_builder.errors import LongbelError
from longbel_cli.corpora import Corpus, Problem, ignore
from tests.support.command_line import Longbel, write_json_lines

# Line ends of all kinds, a byte order mark, NUL, a character beyond 16 bits, a no-break space.
ODD = "\ufeffFever\r\nand\rcough.\n\0 \U0001f600 a\u00a0b\u2028c\n"


def texts_of(*paths: Path, **options: object) -> dict[str, str]:
    corpus = Corpus(paths, **options)  # type: ignore[arg-type]
    return {document.id: document.text for _, document in corpus.read()}


def test_a_folder_of_texts(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    for name, text in (("b/2.txt", ODD), ("1.TXT", "One."), ("notice_1.txt", "Two.")):
        (tmp_path / name).write_bytes(text.encode())
    (tmp_path / "README.txt").write_text("Not a note.")
    said: list[Problem] = []
    corpus = Corpus([tmp_path], on_remark=said.append)
    result = {document.id: document.text for _, document in corpus.read()}
    assert result == {"1": "One.", "b/2": ODD, "notice_1": "Two."}
    assert [Path(each.source).name for each in said] == ["README.txt"]


def test_texts_named_themselves(tmp_path: Path) -> None:
    note = tmp_path / "note 1.txt"
    note.write_bytes(ODD.encode())
    assert texts_of(note) == {"note 1": ODD}
    other = tmp_path / "note.dat"
    other.write_text("Plain.")
    with pytest.raises(LongbelError, match="format cannot be told"):
        texts_of(other)
    assert texts_of(other, format="text") == {"note": "Plain."}


def table(path: Path, rows: list[dict[str, str]]) -> Path:
    suffix = path.name.removesuffix(".gz").rsplit(".")[-1]
    if suffix == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), path, row_group_size=2)
    elif suffix in ("jsonl", "json"):
        lines = [json.dumps(row) for row in rows]
        text = "\n".join(lines) if suffix == "jsonl" else f"[{','.join(lines)}]"
        path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    else:
        with path.open("w", encoding="utf-8", newline="") as file:
            delimiter = "\t" if suffix == "tsv" else ";"
            writer = csv.DictWriter(file, list(rows[0]), delimiter=delimiter)
            writer.writeheader()
            writer.writerows(rows)
    return path


ROWS = [
    {"patient_id": f"p{n}", "id": f"x{n}", "note_id": f"n{n}", "text": "no", "note_text": text}
    for n, text in enumerate([ODD, 'He said "fever";\tcough', "Third."])
]
TABLES = ("t.csv", "t.tsv", "t.jsonl", "t.json", "t.parquet", "t.jsonl.gz")


@pytest.mark.parametrize("name", TABLES)
def test_tables_of_texts(tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture) -> None:
    """note_text goes before text, note_id before id, and a patient's id is never taken."""
    caplog.set_level("INFO")
    result = texts_of(table(tmp_path / name, ROWS))
    assert result == {f"n{n}": row["note_text"] for n, row in enumerate(ROWS)}
    assert "texts from the column note_text, ids from note_id" in caplog.text
    named = texts_of(tmp_path / name, columns=("text", "id"))
    assert named == {f"x{n}": "no" for n in range(3)}


@pytest.mark.parametrize("name", TABLES)
def test_read_from_any_row(tmp_path: Path, name: str) -> None:
    corpus = Corpus([table(tmp_path / name, ROWS)])
    whole = list(corpus.read())
    for index, (position, _) in enumerate(whole):
        assert list(corpus.read(ignore, start=position)) == whole[index:]


def test_a_patient_s_id_is_no_document_s(tmp_path: Path) -> None:
    rows = [{"patient_id": "p", "mrn": "7", "person_id": "8", "text": "Fever."}]
    with pytest.raises(LongbelError) as raised:
        texts_of(table(tmp_path / "t.csv", rows))
    assert "no column note_id or document_id or id; there are patient_id, mrn, person_id, text" in (
        raised.value.message
    )
    assert "--id-column" in raised.value.message and "Fever" not in raised.value.message


def test_rows_that_cannot_be_read(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("id,text\n1,Fever.\n2\n,Cough.\n3,Cold.\n")
    problems: list[Problem] = []
    result = [document.id for _, document in Corpus([path]).read(problems.append)]
    assert result == ["1", "3"]
    assert [(each.line, each.reason) for each in problems] == [
        (3, "1 fields where the header has 2"), (4, "its id is no id"),
    ]  # fmt: skip


def test_a_table_in_another_encoding(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes("id,text\n1,Fièvre\n".encode("latin-1"))
    with pytest.raises(LongbelError, match="not UTF-8"):
        texts_of(path)
    note = tmp_path / "note.txt"
    note.write_bytes("Fièvre".encode("latin-1"))
    with pytest.raises(LongbelError, match="not UTF-8"):
        texts_of(note)


def test_texts_beside_annotated_ones_lost_theirs(tmp_path: Path) -> None:
    for name in ("a.txt", "b.txt"):
        (tmp_path / name).write_text("Fever.")
    (tmp_path / "a.ann").write_text("T1\tDisorders 0 5\tFever\n")
    problems: list[Problem] = []
    list(Corpus([tmp_path]).read(problems.append))
    assert [Path(each.source).stem for each in problems] == ["b"]


def test_from_notes_to_concepts(longbel: Longbel, tmp_path: Path) -> None:
    notes = write_json_lines(
        tmp_path / "notes.jsonl", *({"body": f"{n}: fever.", "key": f"k{n}"} for n in range(3))
    )
    out = tmp_path / "p.jsonl"
    columns = ("--text-column", "body", "--id-column", "key")
    refused = longbel("link", notes, *columns, "--linker", "exact", "--out", out)
    assert refused.code == 3
    assert "no document has a mention to link" in refused.err and "--detector" in refused.err
    assert "`longbel detect`" in refused.err
    assert longbel("check", notes, *columns).code == 0
    done = longbel(
        "link", notes, *columns, "--linker", "exact", "--detector", "dictionary", "--out", out
    )
    assert done.code == 0, done.err
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert [(line["document_id"], line["mention"]) for line in lines] == [
        (f"k{n}", "fever") for n in range(3)
    ]
    other = longbel("link", notes, "--linker", "exact", "--detector", "dictionary", "--out", out)
    assert other.code in (3, 4)
