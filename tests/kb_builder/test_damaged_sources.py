"""Sources that other programs have changed: marks, backslashes, missing files, codes as numbers."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest

from kb_builder.build import BuildOptions, build_kb
from kb_builder.errors import LongbelError
from kb_builder.store.knowledge_base import KnowledgeBase

CONSO = "".join(
    f"{cui}|ENG|P|L1|PF|S1|Y|A{cui}||M1|D1|MSH|PT|D1|{name}|0|N||\n"
    for cui, name in (("C0000001", "Tremor"), ("C0000002", "Rash"))
)
STY = "".join(f"{cui}|T184|A2.2.2|Sign or Symptom|AT1||\n" for cui in ("C0000001", "C0000002"))


def release(folder: Path, conso: str = CONSO, sty: str | None = STY) -> Path:
    folder.mkdir()
    (folder / "MRCONSO.RRF").write_text(conso, encoding="utf-8")
    if sty is not None:
        (folder / "MRSTY.RRF").write_text(sty, encoding="utf-8")
    return folder


def table(folder: Path, *rows: tuple[str, str]) -> Path:
    path = folder / "names.tsv"
    lines = ["code\tname\tgroup", *(f"{code}\t{name}\tDISO" for code, name in rows)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def codes(source: Path, out: Path) -> list[str]:
    build_kb(BuildOptions(source, out))
    base = KnowledgeBase.open(out)
    return sorted(set(base.codes_of(range(base.n_names))))


def refusal(source: Path, out: Path) -> str:
    with pytest.raises(LongbelError) as caught:
        build_kb(BuildOptions(source, out))
    return f"{caught.value}\n{caught.value.hint}"


@pytest.mark.parametrize("file", ["MRCONSO.RRF", "MRSTY.RRF"])
def test_a_byte_order_mark_is_passed_over(tmp_path: Path, file: str) -> None:
    folder = release(tmp_path / "r")
    (folder / file).write_bytes(b"\xef\xbb\xbf" + (folder / file).read_bytes())
    assert codes(folder, tmp_path / "kb") == ["C0000001", "C0000002"]


def test_backslashes_in_an_archive_are_folders(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "r.zip", "w") as archive:
        archive.writestr("2024AA\\META\\MRCONSO.RRF", CONSO)
        archive.writestr("2024AA\\META\\MRSTY.RRF", STY)
    assert codes(tmp_path / "r.zip", tmp_path / "kb") == ["C0000001", "C0000002"]


def test_what_lies_beside_the_names_is_asked_for(tmp_path: Path) -> None:
    said = refusal(release(tmp_path / "r", sty=None), tmp_path / "kb")
    assert "no MRSTY.RRF in it" in said and "put MRSTY.RRF of the same release beside it" in said
    assert "MetamorphoSys" not in said


def test_all_rows_unreadable(tmp_path: Path) -> None:
    said = refusal(release(tmp_path / "r", CONSO.replace("||\n", "\n")), tmp_path / "kb")
    assert "all 2 rows are unreadable: MRCONSO.RRF:1: 16 columns instead of 18" in said
    assert "languages" not in said


def test_the_only_row_unreadable(tmp_path: Path) -> None:
    path = tmp_path / "names.tsv"
    path.write_bytes("code\tname\tgroup\nC1\tfi\u00e8vre\tDISO\n".encode("latin-1"))
    said = refusal(path, tmp_path / "kb")
    assert "the only row is unreadable: names.tsv:2: not UTF-8" in said
    assert "iconv" in said and "columns" not in said


def test_codes_of_tables_are_spelled_in_one_way(tmp_path: Path) -> None:
    rows = [("umls:C1", "a"), ("SNOMED CT: 22298006", "b"), ("HP:0001250", "c"), ("E11.9", "d"),
            ("250.0", "e"), ("1E30", "f"), ("cui-less", "g"), ("n/a", "h")]  # fmt: skip
    kept = ["1E30", "22298006", "250.0", "C1", "E11.9", "HP:0001250"]
    assert codes(table(tmp_path, *rows), tmp_path / "kb") == kept


def test_numbers_of_two_databases_stay_apart(tmp_path: Path) -> None:
    rows = [("NCBI Gene:9606", "a"), ("taxid:9606", "b")]
    kept = ["NCBIGene:9606", "NCBITaxID:9606"]
    assert codes(table(tmp_path, *rows), tmp_path / "kb") == kept


def test_codes_that_a_spreadsheet_has_changed_are_quarantined(tmp_path: Path) -> None:
    rows = [("386661006.0", "a"), ("C1", "b"), ("SNOMEDCT:3.86661E+08", "c")]
    assert codes(table(tmp_path, *rows), tmp_path / "kb") == ["C1"]
    lines = (tmp_path / "kb" / "quarantine.jsonl").read_text().splitlines()
    reason = "a code that a spreadsheet has changed"
    assert [(row["line"], row["reason"]) for row in map(json.loads, lines)] == [
        (2, reason),
        (4, reason),
    ]
