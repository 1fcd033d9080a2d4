"""RxNorm: its own files, normal forms as titles, parents by RELA, retired RXCUIs."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kb_builder.errors import LongbelError
from kb_builder.rules.normalise import tidy
from kb_builder.store.knowledge_base import KnowledgeBase
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


# Against an independent reading: lines split at bars ----------------------------------------------

RXCUI = st.sampled_from(["161", "313782", "5", "9"])
ATOM = st.tuples(
    RXCUI,
    st.text("aB ,\"'é/5", min_size=1, max_size=6).map(lambda text: f"x{text.strip()}x"),
    st.sampled_from(["RXNORM", "NDDF"]),
    st.sampled_from(["SCD", "SY", "PSN", "ET"]),
    st.sampled_from(["N", "N", "O", "Y", "E"]),
)


def lines_of(file: Path) -> list[list[str]]:
    return [line.split("|") for line in file.read_text(encoding="utf-8").split("\n")[:-1]]


@settings(deadline=None, max_examples=40)
@given(
    st.lists(ATOM, max_size=8),
    st.lists(st.tuples(RXCUI, st.sampled_from(["isa", "inverse_isa", "has_form"]), RXCUI),
             max_size=6),
)  # fmt: skip
def test_a_release_is_read_as_its_lines_say(
    tmp_path_factory: pytest.TempPathFactory,
    atoms: list[tuple[str, ...]],
    relations: list[tuple[str, str, str]],
) -> None:
    folder = tmp_path_factory.mktemp("rxnorm")
    source = folder / "rrf"
    source.mkdir()
    conso = [
        conso_row(cui, text, ts="", sab=sab, tty=tty, code=cui, suppress=suppress)
        for cui, text, sab, tty, suppress in [("161", "always", "RXNORM", "IN", "N"), *atoms]
    ]
    rel = [rel_row(low, "RN" if rela == "isa" else "RO", high, rela=rela)
           for low, rela, high in relations]  # fmt: skip
    sty = [sty_row(cui, "T121") for cui in ("161", "313782", "5", "9")]
    for name, rows in (("RXNCONSO", conso), ("RXNSTY", sty), ("RXNREL", rel)):
        (source / f"{name}.RRF").write_text("".join(rows), encoding="utf-8")
    build(source, folder / "kb")
    base = KnowledgeBase.open(folder / "kb")
    told = {(row["code"], row["name"]) for row in base.audit().to_pylist()}
    named = {(base.code(row), base.name(row)) for row in range(base.n_names)}
    expected = {(line[0], tidy(line[14])) for line in lines_of(source / "RXNCONSO.RRF")
                if line[16] == "N"}  # fmt: skip
    assert named | told == expected
    pairs = set()
    for line in lines_of(source / "RXNREL.RRF"):
        parent, child = (line[0], line[4]) if line[7] == "isa" else (line[4], line[0])
        if line[7] in ("isa", "inverse_isa") and parent != child:
            pairs.add((child, parent, "is_a"))
    has = base.has_code
    assert set(rows_of(folder / "kb", "relations")) == {
        pair for pair in pairs if has(pair[0]) and has(pair[1])
    }
