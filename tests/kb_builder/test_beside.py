"""Tables beside the names: source codes, parents and retired codes, and look-ups in them."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kb_builder.rules.normalise import tidy
from kb_builder.store.knowledge_base import KnowledgeBase
from kb_builder.store.lookup import look_up
from tests.support.examples import some
from tests.support.kb_cases import (
    build,
    conso_row,
    rel_row,
    retired_row,
    rows_of,
    sty_row,
    write_release,
)

CONSO = [
    conso_row("C2", "Asthma", ts="P", sab="SNOMEDCT_US", code="195967001"),
    conso_row("C2", "Asthma", sab="MSH", code="D001249"),
    conso_row("C2", "bronchial asthma", sab="MSH", code="D001249"),
    conso_row("C2", "ASTHMA", sab="ICD10", code="J45"),  # dropped by rule 5
    conso_row("C2", "Asma", lat="GER", sab="MSHGER", code="D001249"),
    conso_row("C2", "Obsolete asthma", sab="ICD9CM", code="493", suppress="O"),
    conso_row("C1", "Lung disease", ts="P", sab="MSH", code="D008171"),
    conso_row("C1", "Lung disease", sab="MTH", code="NOCODE"),
    conso_row("C3", "Asthma attack", ts="P", sab="SNOMEDCT_US", code="195967001"),
    conso_row("C4", "Insulin", ts="P", sab="MSH", code="D007328"),
    conso_row("C4", "Insulin", sab="RXNORM", code=""),
]
STY = [
    sty_row("C1", "T047"), sty_row("C2", "T047"), sty_row("C2", "T033"), sty_row("C3", "T184"),
    sty_row("C4", "T125"), sty_row("C4", "T123"),
]  # fmt: skip
REL = [
    rel_row("C2", "PAR", "C1"),
    rel_row("C1", "CHD", "C2", rela="isa"),
    rel_row("C3", "PAR", "C2", rela="inverse_isa"),
    rel_row("C3", "PAR", "C1", suppress="Y"),
    rel_row("C3", "RO", "C4", rela="isa"),  # no PAR or CHD
    rel_row("C2", "PAR", "C2"),
    rel_row("C1", "PAR", "C2"),  # another vocabulary has it the other way round
    rel_row("C4", "PAR", "C9"),  # not in the release
    rel_row("", "CHD", "C4"),
]
CUI = [
    retired_row("C90", "SY", "C2"),
    retired_row("C91", "RB", "C1"),
    retired_row("C91", "RO", "C4"),
    retired_row("C92", "DEL"),
    retired_row("C93", "SUBX"),
    retired_row("C90", "SY", "C3"),
    retired_row("C94", "XX", "C2"),
]


@pytest.fixture(scope="module")
def kb(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("beside")
    release = write_release(folder / "release", CONSO, STY, MRREL=REL, MRCUI=CUI)
    report = build(release, folder / "kb")
    assert [tuple(row) for row in report.quarantined] == [("MRCUI.RRF", 6, "C90 is retired twice")]
    return folder / "kb"


def test_codes_stand_by_concept_with_the_rows_of_their_names(kb: Path) -> None:
    base = KnowledgeBase.open(kb)
    named = [
        (base.concept_codes([concept])[0], source, code, None if row is None else base.name(row))
        for concept, source, code, row in rows_of(kb, "codes")
    ]
    assert named == [
        ("C1", "MSH", "D008171", "Lung disease"),
        ("C2", "ICD10", "J45", None),
        ("C2", "MSH", "D001249", "Asthma"),
        ("C2", "MSH", "D001249", "Bronchial asthma"),
        ("C2", "MSHGER", "D001249", None),
        ("C2", "SNOMEDCT_US", "195967001", "Asthma"),
        ("C3", "SNOMEDCT_US", "195967001", "Asthma attack"),
        ("C4", "MSH", "D007328", "Insulin"),
    ]


def test_parents_are_those_of_par_and_chd(kb: Path) -> None:
    assert rows_of(kb, "relations") == [
        ("C1", "C2", "parent"), ("C2", "C1", "is_a"), ("C3", "C2", "is_a"),
    ]  # fmt: skip


def test_retired_codes_and_what_they_became(kb: Path) -> None:
    assert rows_of(kb, "replaced") == [
        ("C90", "C2", "merged"), ("C91", "C1", "broader"), ("C91", "C4", "related"),
        ("C92", None, "retired"), ("C93", None, "retired"),
    ]  # fmt: skip


def test_the_description_counts_them_and_a_dry_run_does_too(kb: Path, tmp_path: Path) -> None:
    counts = json.loads((kb / "kb.json").read_text())["tables"]
    assert counts == {"codes": 8, "relations": 3, "replaced": 5}
    release = write_release(tmp_path / "release", CONSO, STY, MRREL=REL, MRCUI=CUI)
    assert build(release, tmp_path / "kb", dry_run=True).info["tables"] == counts


def test_linking_opens_none_of_them(kb: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("codes", "relations", "replaced"):
        (kb / f"{name}.parquet").rename(kb / f"{name}.away")
    try:
        base = KnowledgeBase.open(kb)
        assert base.lookup("Asthma", "Disorders") is not None
        assert look_up(base, "J45")["concepts"] == []
    finally:
        for name in ("codes", "relations", "replaced"):
            (kb / f"{name}.away").rename(kb / f"{name}.parquet")


def test_a_source_code_leads_to_its_concepts(kb: Path) -> None:
    result = look_up(KnowledgeBase.open(kb), "195967001")
    assert result["concept"] is None
    assert [card["code"] for card in result["concepts"]] == ["C2", "C3"]
    assert [(hit["match"], hit["name"]) for hit in result["names"]] == [
        ("source code", "Asthma"), ("source code", "Bronchial asthma"),
        ("source code", "Asthma attack"),
    ]  # fmt: skip
    assert result["concepts"][0] == {
        "code": "C2", "preferred_name": "Asthma", "semantic_types": ["T033", "T047"],
        "groups": ["Disorders"], "n_names": 2,
        "codes": [
            {"source": "ICD10", "source_code": "J45", "names": []},
            {"source": "MSH", "source_code": "D001249", "names": ["Asthma", "Bronchial asthma"]},
            {"source": "MSHGER", "source_code": "D001249", "names": []},
            {"source": "SNOMEDCT_US", "source_code": "195967001", "names": ["Asthma"]},
        ],
        "n_codes": 4,
        "parents": [{"code": "C1", "name": "Lung disease", "kind": "is_a"}], "n_parents": 1,
        "children": [{"code": "C1", "name": "Lung disease", "kind": "parent"},
                     {"code": "C3", "name": "Asthma attack", "kind": "is_a"}],
        "n_children": 2,
        "replaces": [{"old": "C90", "reason": "merged"}], "n_replaces": 1,
    }  # fmt: skip


def test_a_code_of_the_knowledge_base_and_a_retired_one(kb: Path) -> None:
    base = KnowledgeBase.open(kb)
    assert [card["code"] for card in look_up(base, "C2")["concepts"]] == ["C2"]
    assert look_up(base, "C90")["successors"] == [
        {"code": "C2", "name": "Asthma", "reason": "merged"}
    ]
    assert look_up(base, "C92")["successors"] == [{"code": None, "name": None, "reason": "retired"}]
    card = look_up(base, "C2", limit=1)["concepts"][0]
    assert (len(card["codes"]), card["n_codes"]) == (1, 4)


ATOM = st.tuples(
    st.sampled_from(["C1", "C2", "C3"]),
    st.sampled_from(["Flu", "flu", "FLU", "Cold", "Cough"]),
    st.sampled_from(["ENG", "GER"]),
    st.sampled_from(["MSH", "ICD10"]),
    st.sampled_from(["1", "2", "NOCODE"]),
    st.sampled_from(["N", "Y"]),
)


@settings(deadline=None, max_examples=some(40))
@given(st.lists(ATOM, min_size=1, max_size=12), st.sampled_from(["drop", "qualify", "qualify-all"]))
def test_codes_are_those_that_the_rows_say(
    tmp_path_factory: pytest.TempPathFactory, atoms: list[tuple[str, ...]], ambiguous: str
) -> None:
    atoms = [("C1", "Fever", "ENG", "MSH", "9", "N"), *atoms]
    folder = tmp_path_factory.mktemp("codes")
    conso = [conso_row(cui, text, lat, "S", sab, "SY", suppress, code)
             for cui, text, lat, sab, code, suppress in atoms]  # fmt: skip
    sty = [
        sty_row("C1", "T047"),
        sty_row("C2", "T047"),
        sty_row("C2", "T125"),
        sty_row("C3", "T125"),
    ]
    build(write_release(folder / "release", conso, sty), folder / "kb", ambiguous=ambiguous)
    base = KnowledgeBase.open(folder / "kb")
    rows: dict[tuple[str, str], list[int]] = defaultdict(list)
    for row in range(base.n_names):
        rows[base.code(row), base.name(row).split(" (")[0]].append(row)  # qualified ones too
    expected: dict[tuple[str, str, str], set[Any]] = defaultdict(set)
    for cui, text, lat, sab, code, suppress in atoms:
        if code != "NOCODE" and suppress == "N" and base.has_code(cui):
            of_name = rows[cui, tidy(text)] if lat == "ENG" else []
            expected[cui, sab, code].update(of_name)
    told: dict[tuple[str, str, str], set[Any]] = defaultdict(set)
    for concept, source, code, row in rows_of(folder / "kb", "codes"):
        told[base.concept_codes([concept])[0], source, code].add(row)
    assert dict(told) == {key: result or {None} for key, result in expected.items()}
    assert len(rows_of(folder / "kb", "codes")) == sum(map(len, told.values()))
