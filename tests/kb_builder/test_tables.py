"""Tables of names as they come: other headers, several files, quotes and line ends inside."""

from __future__ import annotations

import csv
import gzip
import io
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kb_builder.errors import LongbelError
from kb_builder.sources.tables import columns_of
from tests.support.examples import some
from tests.support.kb_cases import build, rows_of, short_names

ICD = (
    "ICD10,Description,chapter\n"
    'J45,"Asthma, ""bronchial""",X\n'
    "I10,Essential hypertension,IX\n"
)  # fmt: skip


def written(folder: Path, name: str, text: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_usual_headers_are_known_and_a_group_may_be_given(tmp_path: Path) -> None:
    build(written(tmp_path, "icd.csv", ICD), tmp_path / "kb", group="DISO")
    assert short_names(tmp_path / "kb") == {
        "Disorders": {'Asthma, "bronchial"': "J45", "Essential hypertension": "I10"}
    }


@pytest.mark.parametrize("delimiter", ["\t", ",", ";", "|"])
@pytest.mark.parametrize("name", ["t.csv", "t.tsv", "t.txt", "t.csv.gz"])
def test_the_header_says_what_parts_fields(tmp_path: Path, name: str, delimiter: str) -> None:
    others = "".join(sorted({*",;|"} - {delimiter}))
    rows = [["code", "name", "group"], ["J45", f"Asthma{others} bronchial", "DISO"]]
    data = "".join(delimiter.join(row) + "\n" for row in rows).encode()
    path = written(tmp_path, name, gzip.compress(data) if name.endswith(".gz") else data)
    build(path, tmp_path / "kb")
    assert short_names(tmp_path / "kb") == {"DISO": {f"Asthma{others} bronchial": "J45"}}


def test_what_parts_fields_may_stand_in_a_quoted_value(tmp_path: Path) -> None:
    text = '"code";"name";"group";"a, b, c, d"\nJ45;"Asthma; bronchial";DISO;x\n'
    build(written(tmp_path, "t.csv", text), tmp_path / "kb")
    assert short_names(tmp_path / "kb") == {"DISO": {"Asthma; bronchial": "J45"}}


def test_the_columns_that_were_there_are_listed(tmp_path: Path) -> None:
    path = written(tmp_path, "t.csv", "kode;tekst;A patient of 40, seen twice: well\n1;2;3\n")
    with pytest.raises(LongbelError, match=r"no column for the code .* columns: kode, tekst\n"):
        build(path, tmp_path / "kb")


def test_columns_are_called_as_one_says(tmp_path: Path) -> None:
    text = "Kode\tTekst\tKapittel\tname\nJ45\tAstma\tLunge\tx\n"
    columns = columns_of("code=KODE, name=Tekst,group=Kapittel")
    build(written(tmp_path, "t.tsv", text), tmp_path / "kb", columns=columns)
    assert short_names(tmp_path / "kb") == {"Lunge": {"Astma": "J45"}}
    with pytest.raises(LongbelError, match="no column for the name \\(Navn\\)"):
        build(tmp_path / "t.tsv", tmp_path / "no", columns={**columns, "name": "Navn"})


@pytest.mark.parametrize("text", ["code", "kode=x", "code=", "code=a,"])
def test_columns_that_say_nothing(text: str) -> None:
    with pytest.raises(LongbelError, match="not a pair such as code=ICD10") as raised:
        columns_of(text)
    assert raised.value.exit_code == 2


def test_several_tables_are_one(tmp_path: Path) -> None:
    first = written(tmp_path, "a.tsv", "code\tname\tgroup\tlang\nC1\tFlu\tDISO\tENG\n")
    second = written(tmp_path, "b.csv", 'code,term,group\nC1,Influenza,DISO\nC2,"A, b",DISO\n')
    report = build((first, second), tmp_path / "kb")
    assert short_names(tmp_path / "kb") == {"DISO": {"Flu": "C1", "Influenza": "C1", "A, b": "C2"}}
    source = report.info["source"]
    assert source["name"] == "a.tsv, b.csv"
    assert [(file["name"], file["rows"]) for file in source["files"]] == [
        ("a.tsv", 1),
        ("b.csv", 2),
    ]
    build((second, first), tmp_path / "turned")
    assert short_names(tmp_path / "turned") == short_names(tmp_path / "kb")


def test_sources_of_two_kinds_or_twice_the_same(tmp_path: Path) -> None:
    table = written(tmp_path, "a.tsv", "code\tname\tgroup\nC1\tFlu\tDISO\n")
    checkpoint = written(tmp_path, "text_to_code.json", '{"DISO": {"Flu": "C1"}}')
    for sources, message in (
        ((table, checkpoint), "a.tsv is a table of names, .*text_to_code.json is text_to_code"),
        ((table, table), "named twice"),
        ((checkpoint, checkpoint), "only one text_to_code source"),
    ):
        with pytest.raises(LongbelError, match=message) as raised:
            build(sources, tmp_path / "kb")
        assert raised.value.exit_code == 2


def test_a_table_may_say_from_which_vocabulary_a_name_is(tmp_path: Path) -> None:
    text = (
        "code\tname\tgroup\tvocabulary\tsource_code\n"
        "C1\tFlu\tDISO\tSNOMED\t6142004\nC1\tInfluenza\tDISO\tICD10\tJ11\nC1\tGrippe\tDISO\t\t\n"
        "C2\tCold\tDISO\tICD10\t\n"
    )
    build(written(tmp_path, "t.tsv", text), tmp_path / "kb")
    names = ["Cold", "Flu", "Grippe", "Influenza"]
    told = [
        (source, code, names[row]) for _, source, code, row in rows_of(tmp_path / "kb", "codes")
    ]
    assert told == [
        ("ICD10", "J11", "Influenza"), ("SNOMED", "6142004", "Flu"), ("ICD10", "C2", "Cold"),
    ]  # fmt: skip


def test_lines_are_those_of_the_file_also_after_values_of_several(tmp_path: Path) -> None:
    text = (
        "code,name,group\n"
        'C1,"two\nlines",DISO\n'  # 2 and 3
        "C2,too,few,columns\n"  # 4
        'C3,"tab\tand ""quote""",DISO\n'
        'C4,"a\n\nb",DISO,"and\nmore"\n'  # 6 to 9
        "C5,lost,\n"  # 10
    )
    report = build(written(tmp_path, "t.csv", text), tmp_path / "kb")
    assert [tuple(row) for row in report.quarantined] == [
        ("t.csv", 4, "4 columns instead of 3"),
        ("t.csv", 6, "4 columns instead of 3"),
        ("t.csv", 10, "no group"),
    ]
    assert short_names(tmp_path / "kb") == {"DISO": {"Two lines": "C1", 'Tab\tand "quote"': "C3"}}


def test_a_tab_inside_a_value_is_a_column_too_many(tmp_path: Path) -> None:
    text = 'code\tname\tgroup\nC1\t"a\tb"\tDISO\nC2\t"quoted"\tDISO\n'
    report = build(written(tmp_path, "t.tsv", text), tmp_path / "kb")
    assert [tuple(row) for row in report.quarantined] == [("t.tsv", 2, "4 columns instead of 3")]
    assert short_names(tmp_path / "kb") == {"DISO": {'"quoted"': "C2"}}


@pytest.mark.parametrize("name", ["t.tsv", "t.csv"])
def test_a_row_that_is_not_utf8(tmp_path: Path, name: str) -> None:
    data = b"code,name,group\nC1,Flu,DISO\nC2,Gr\xffppe,DISO\nC3,Cold,DISO\n"
    data = data.replace(b",", b"\t") if name == "t.tsv" else data
    report = build(written(tmp_path, name, data), tmp_path / "kb")
    assert [tuple(row) for row in report.quarantined] == [(name, 3, "not UTF-8")]
    assert short_names(tmp_path / "kb") == {"DISO": {"Flu": "C1", "Cold": "C3"}}


def test_tables_of_many_blocks(tmp_path: Path) -> None:
    """More than what is read at once: rows on the border of two blocks are whole."""
    rows = [f"C{index}\tName {index} {'x' * 90}\tDISO" for index in range(120_000)]
    text = "\n".join(["code\tname\tgroup", *rows]) + "\n"
    build(written(tmp_path, "t.tsv.gz", gzip.compress(text.encode(), 1)), tmp_path / "tsv")
    build(written(tmp_path, "t.csv", text.replace("\t", ",")), tmp_path / "csv")
    names = short_names(tmp_path / "tsv")
    assert len(names["DISO"]) == 120_000
    assert names["DISO"][f"Name 77777 {'x' * 90}"] == "C77777"
    assert short_names(tmp_path / "csv") == names


CELL = st.text('ab,"\t\n é', min_size=1, max_size=5).map(lambda text: f"x{text}x")


@settings(deadline=None, max_examples=some(60))
@given(st.lists(CELL, min_size=1, max_size=8), st.integers(0, 3))
def test_csv_is_read_as_pythons_own_reader_reads_it(
    tmp_path_factory: pytest.TempPathFactory, cells: list[str], n_bad: int
) -> None:
    folder = tmp_path_factory.mktemp("csv")
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["code", "name", "group"])
    for index, cell in enumerate(cells):
        writer.writerow([f"C{index:02}", cell, "DISO"])
        if index < n_bad:
            writer.writerow([f"C{index:02}", cell])
    report = build(written(folder, "t.csv", stream.getvalue()), folder / "kb", ambiguous="qualify")
    reader = csv.reader(io.StringIO(stream.getvalue()))
    expected, begin = [], 1
    for fields in reader:
        if len(fields) != 3:
            expected.append(begin)
        begin = reader.line_num + 1
    assert [row.line for row in report.quarantined] == expected
