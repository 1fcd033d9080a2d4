"""RxNorm: its own files, normal forms as titles, parents by RELA, retired RXCUIs."""

from __future__ import annotations

from pathlib import Path

import pytest

from kb_builder.errors import LongbelError
from tests.support.kb_cases import build, conso_row, names_of, rel_row, rows_of, sty_row

# In RxNorm TS is empty, and codes of RxNorm's own atoms are the RXCUIs.
CONSO = [
    conso_row("161", "acetaminophen", ts="", sab="RXNORM", tty="IN", code="161"),
    conso_row("161", "Paracetamol", ts="", sab="MTHSPL", tty="SU", code="362O9ITL9D"),
    conso_row("161", "APAP", ts="", sab="RXNORM", tty="SY", code="161"),
    conso_row("161", "Old name", ts="", sab="NDDF", tty="IN", code="1", suppress="O"),
    conso_row("313782", "acetaminophen 325 MG Oral Tablet", ts="", sab="RXNORM", tty="SCD",
              code="313782"),
    conso_row("313782", "APAP 325 MG Oral Tablet", ts="", sab="RXNORM", tty="PSN", code="313782"),
    conso_row("1156277", "acetaminophen Pill", ts="", sab="RXNORM", tty="SCDG", code="1156277"),
]  # fmt: skip
STY = [sty_row("161", "T121"), sty_row("313782", "T200"), sty_row("1156277", "T200")]
REL = [
    rel_row("1156277", "RN", "313782", rela="isa"),  # the second is a kind of the first
    rel_row("313782", "RB", "1156277", rela="inverse_isa"),
    rel_row("161", "RO", "313782", rela="ingredient_of"),
    rel_row("", "PAR", "", rela="isa"),  # between atoms
]
RETIRED = ["202433|20050101|20080101|1|161|\n", "999|20050101|20080101|1|999|\n", "5|x|\n"]


@pytest.fixture
def release(tmp_path: Path) -> Path:
    folder = tmp_path / "rrf"
    folder.mkdir()
    files = {"RXNCONSO": CONSO, "RXNSTY": STY, "RXNREL": REL, "RXNCUI": RETIRED}
    for name, rows in files.items():
        (folder / f"{name}.RRF").write_text("".join(rows), encoding="utf-8")
    return folder


def test_a_release_of_rxnorm(release: Path, tmp_path: Path) -> None:
    report = build(release, tmp_path / "kb")
    drugs = "Chemicals & Drugs"
    assert names_of(tmp_path / "kb") == {
        (drugs, "Acetaminophen", "161", "ENG", True),
        (drugs, "Paracetamol", "161", "ENG", False),
        (drugs, "APAP", "161", "ENG", False),
        (drugs, "Acetaminophen 325 MG Oral Tablet", "313782", "ENG", True),
        (drugs, "APAP 325 MG Oral Tablet", "313782", "ENG", False),
        (drugs, "Acetaminophen Pill", "1156277", "ENG", True),
    }
    assert [tuple(row) for row in report.quarantined] == [
        ("RXNCUI.RRF", 3, "2 columns instead of 5")
    ]


def test_codes_parents_and_retired_ones(release: Path, tmp_path: Path) -> None:
    build(release, tmp_path / "kb")
    assert [(source, code) for _, source, code, _ in rows_of(tmp_path / "kb", "codes")] == [
        ("RXNORM", "1156277"), ("MTHSPL", "362O9ITL9D"), ("RXNORM", "161"), ("RXNORM", "161"),
        ("RXNORM", "313782"), ("RXNORM", "313782"),
    ]  # fmt: skip
    assert rows_of(tmp_path / "kb", "relations") == [("313782", "1156277", "is_a")]
    assert rows_of(tmp_path / "kb", "replaced") == [
        ("202433", "161", "merged"), ("999", None, "retired"),
    ]  # fmt: skip


def test_the_options_of_a_release_apply(release: Path, tmp_path: Path) -> None:
    build(release, tmp_path / "kb", vocabularies=("MTHSPL",), suppressible="keep")
    assert {row[1] for row in names_of(tmp_path / "kb")} == {"Paracetamol"}
    with pytest.raises(LongbelError, match="--domains does not apply to an RxNorm release"):
        build(release, tmp_path / "no", domains=("Drug",))
    (release / "RXNSTY.RRF").unlink()
    with pytest.raises(LongbelError, match=r"no RXNSTY\.RRF in it"):
        build(release, tmp_path / "no")
