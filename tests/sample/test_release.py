"""The bundled release: its layout, its counts, and that the committed tables explain it."""

from __future__ import annotations

import csv
import importlib.util
import re
import sys
import unicodedata
from collections import Counter
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from types import ModuleType

import pytest

from kb_builder.semantics import SEMANTIC_TYPES
from tests.support.paths import SAMPLE

MRCONSO_WIDTH = 18
MRSTY_WIDTH = 6


def rows(name: str, width: int) -> list[list[str]]:
    """The rows of a release file without the empty field behind the closing bar."""
    result = []
    with (SAMPLE / "release" / name).open(encoding="utf-8", newline="") as lines:
        for index, line in enumerate(lines, 1):
            assert line.endswith("|\n"), f"{name}:{index}: no closing bar"
            fields = line[:-2].split("|")
            assert len(fields) == width, f"{name}:{index}: {len(fields)} columns"
            result.append(fields)
    return result


@pytest.fixture(scope="module")
def conso() -> list[list[str]]:
    return rows("MRCONSO.RRF", MRCONSO_WIDTH)


@pytest.fixture(scope="module")
def sty() -> list[list[str]]:
    return rows("MRSTY.RRF", MRSTY_WIDTH)


@pytest.fixture(scope="module")
def maker() -> Iterator[ModuleType]:
    """The script itself, which is no part of a package."""
    spec = importlib.util.spec_from_file_location("make_release", SAMPLE / "make_release.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["make_release"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["make_release"]


def table(name: str) -> list[list[str]]:
    with (SAMPLE / name).open(encoding="utf-8", newline="") as lines:
        return list(csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE))[1:]


def test_size_groups_and_languages(conso: list[list[str]], sty: list[list[str]]) -> None:
    groups = Counter(SEMANTIC_TYPES[row[1]].group_code for row in sty)
    assert len(sty) >= 5000
    assert groups["DISO"] >= 3000
    assert groups["CHEM"] >= 1000
    assert {"ANAT", "PROC", "LIVB", "PHYS", "DEVI"} <= {g for g, n in groups.items() if n >= 50}
    languages = Counter(row[1] for row in conso)
    assert set(languages) == {"ENG", "FRE", "SPA"}
    assert min(languages.values()) >= 1500
    assert (SAMPLE / "release" / "MRCONSO.RRF").stat().st_size < 5_000_000


def test_every_concept_has_one_type_and_names(conso: list[list[str]], sty: list[list[str]]) -> None:
    types = [row[0] for row in sty]
    assert len(set(types)) == len(types)
    assert set(types) == {row[0] for row in conso}
    assert types == sorted(types)
    assert all(SEMANTIC_TYPES[row[1]].name == row[3] for row in sty)
    for concept in types:
        assert re.fullmatch(r"C\d{7}|[A-Z]+_[A-Z]*\d+", concept), concept


def test_names_are_tidy_and_normalised(conso: list[list[str]]) -> None:
    for row in conso:
        text = row[14]
        assert text and text == " ".join(text.split())
        assert unicodedata.is_normalized("NFC", text)


def test_columns_hold_what_umls_puts_there(conso: list[list[str]]) -> None:
    assert len({row[7] for row in conso}) == len(conso), "AUI is unique"
    assert {row[2] for row in conso} == {"P", "S"}
    assert {row[4] for row in conso} <= {"PF", "VC", "VW", "VO", "VCW"}
    assert {row[6] for row in conso} == {"Y", "N"}
    assert {row[16] for row in conso} <= {"N", "O", "Y", "E"}
    one_string_each: dict[str, tuple[str, str]] = {}
    for row in conso:
        assert one_string_each.setdefault(row[5], (row[1], row[14])) == (row[1], row[14])


def test_each_language_of_a_concept_has_one_preferred_lexical_form(conso: list[list[str]]) -> None:
    for _, result in groupby(conso, key=lambda row: (row[0], row[1])):
        atoms = list(result)
        assert len({row[3] for row in atoms if row[2] == "P"}) == 1
        assert atoms[0][2:5:2] == ["P", "PF"]
        strings = [row[14] for row in atoms if row[6] == "Y"]
        assert len(strings) == len(set(strings)) == len({row[14] for row in atoms})


def test_rows_agree_with_the_tables(conso: list[list[str]], sty: list[list[str]]) -> None:
    concepts = table("concepts.tsv")
    codes = {(row[2], row[3]) for row in concepts}
    assert {(row[11], row[13]) for row in conso if row[11] != "LONGBEL"} == codes
    own = {(row[0], row[1], row[14]) for row in conso if row[11] == "LONGBEL"}
    given = {(row[1], row[2]) for row in table("names_fr_es.tsv")}
    assert {(lat, text) for _, lat, text in own} <= given
    everything = {(row[1], row[14]) for row in conso}
    assert given <= everything


@pytest.mark.parametrize(
    ("text", "first", "expected"),
    [
        ("Asthma", "Asthma", "PF"),
        ("asthma", "Asthma", "VC"),
        ("Cancer, Lung", "Lung Cancer", "VW"),
        ("Plasma-Cell Myeloma", "Plasma Cell Myeloma", "VO"),
    ],
)
def test_string_types(maker: ModuleType, text: str, first: str, expected: str) -> None:
    assert maker.string_type(text, first) == expected


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ('synonym: "Hay \\"fever\\"" EXACT []', ("SY", 'Hay "fever"', "N")),
        ('synonym: "Wheeze" RELATED layperson []', ("ET", "Wheeze", "N")),
        ('synonym: "Lung disease" BROAD []', ("ET", "Lung disease", "Y")),
        ('synonym: "Old name" EXACT obsolete_synonym []', ("OP", "Old name", "O")),
    ],
)
def test_hpo_synonyms(maker: ModuleType, line: str, expected: tuple[str, str, str]) -> None:
    name = maker.hpo_name(line)
    assert (name.tty, name.text, name.suppress) == expected


def test_title_is_the_label_of_most_sources(maker: ModuleType) -> None:
    atoms = [
        maker.Atom("ENG", "MSH", "MH", "D1", "Kahler Disease", "N"),
        maker.Atom("ENG", "MSH", "ET", "D1", "Multiple Myeloma", "N"),
        maker.Atom("ENG", "MONDO", "PT", "M1", "multiple myelomas", "N"),
        maker.Atom("ENG", "DO", "PT", "O1", "myeloma, multiple", "N"),
    ]
    assert maker.title_first(atoms)[0].text == "multiple myelomas"


def test_numbers_stay_when_texts_are_added(maker: ModuleType) -> None:
    few, many = maker.Numbers("S"), maker.Numbers("S")
    texts = [f"name {index}" for index in range(50)]
    assert [many[text] for text in texts][::2] == [few[text] for text in texts[::2]]
    assert len({many[text] for text in texts}) == len(texts)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("-\tT047\tMSH\tD999999\t-", "D999999 is not in the packaged sources"),
        ("-\tT999\tMSH\tD001249\t-", "type T999 is unknown"),
        ("-\tT047\tMSH", "5 columns expected, 3 found"),
    ],
)
def test_bad_table_rows_name_their_line(
    maker: ModuleType, tmp_path: Path, row: str, message: str
) -> None:
    path = tmp_path / "concepts.tsv"
    path.write_text(f"concept\tTUI\tSAB\tcode\tid_from\n{row}\n", encoding="utf-8")
    terms = {("MSH", "D001249"): maker.Term((maker.Name("MH", "Asthma"),), ("C0004096",))}
    with pytest.raises(maker.ReleaseError, match=f"concepts.tsv:2: .*{message}"):
        maker.group_concepts(path, terms)


def test_appended_rows_get_an_id(maker: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "concepts.tsv"
    lines = [
        "concept\tTUI\tSAB\tcode\tid_from",
        "-\tT047\tMSH\tD1\t-",
        "-\tT047\tMONDO\tMONDO:2\t-",
    ]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    terms = {
        ("MSH", "D1"): maker.Term((maker.Name("MH", "Asthma"),)),
        ("MONDO", "MONDO:2"): maker.Term((maker.Name("PT", "gout"),), ("C0018099",)),
    }
    atoms, types = maker.group_concepts(path, terms)
    assert set(atoms) == {"MSH_D1", "C0018099"}
    assert types == {"MSH_D1": "T047", "C0018099": "T047"}
