"""Codes in one spelling: three states, databases by one table, several codes in one text."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kb_builder.codes import (
    DATABASES,
    NO_CODE,
    gold_codes,
    is_damaged,
    is_no_code,
    joined_code,
    one_code,
    plain,
    plain_numbers_meet,
)
from longbel_cli.sample_paths import sample


@pytest.mark.parametrize("text", ["", " ", "-", "-1", "NA", "n/a", "nan", "null", "None", "<NA>"])
def test_unknown_in_any_case_and_behind_any_database(text: str) -> None:
    for spelled in (text, text.upper(), text.lower(), f"MESH:{text}", f" umls: {text} "):
        assert one_code(spelled) is None
        assert gold_codes(spelled) is None
        assert joined_code(spelled) == ""


@pytest.mark.parametrize("word", ["NO_CODE", "CUI-less", "CUILESS", "NIL", "NOMAP", "UNK", "0"])
def test_no_concept_in_any_case_and_behind_any_database(word: str) -> None:
    for spelled in (word, word.upper(), word.lower(), f"UMLS:{word}", f"SNOMED CT: {word}"):
        assert one_code(spelled) == NO_CODE
        assert gold_codes(spelled) == (NO_CODE,)


CODES = [
    ("UMLS:C0011849", ("C0011849",)),
    ("umls: C0011849 ", ("C0011849",)),
    ("mesh:D003920", ("D003920",)),
    ("HP:0001250", ("HP:0001250",)),
    ("HPO:HP:0001250", ("HP:0001250",)),
    ("DOID:162", ("DOID:162",)),
    ("ORPHA:558", ("ORPHA:558",)),
    ("ICD10CM:E11.9", ("E11.9",)),
    ("8140/3/H", ("8140/3/H",)),
    ("250.0", ("250.0",)),
    ("NIL|C1", ("C1", NO_CODE)),
    ("-|C2;C1,C1+C3", ("C1", "C2", "C3")),
    ("SNOMED CT:22298006", ("SNOMEDCT:22298006",)),
    ("NCBI Gene:9606", ("NCBIGene:9606",)),
    ("1017(Tax:9606)", ("1017",)),
    ("p|SUB|P|799|L;CorrespondingGene:59341", ("p|SUB|P|799|L;CorrespondingGene:59341",)),
    ("c|SUB|C|1799|A", ("c|SUB|C|1799|A",)),
]


@pytest.mark.parametrize(("text", "codes"), CODES)
def test_codes_of_a_text(text: str, codes: tuple[str, ...]) -> None:
    assert gold_codes(text) == codes


def test_the_database_beside_a_number_counts_as_a_prefix() -> None:
    assert gold_codes("9606", database="NCBI Taxonomy") == ("NCBITaxID:9606",)
    assert gold_codes("9606", database="ncbi_gene") == ("NCBIGene:9606",)
    assert gold_codes("C0011849", database="UMLS") == ("C0011849",)
    assert gold_codes("D003920", database="OMIM") == ("D003920",)


def test_databases_of_plain_numbers_stay_where_two_of_them_meet() -> None:
    assert plain_numbers_meet(["NCBIGene:9606", "C1", "NCBITaxID:9606"])
    assert not plain_numbers_meet(["OMIM:300905", "D003920", "OMIM:1", "HP:0001250"])
    assert plain("NCBIGene:9606") == "9606"
    assert plain("OMIM:300905+D003920") == "300905+D003920"
    assert plain("HP:0001250") == "HP:0001250"


def test_a_part_without_a_concept_makes_the_whole_one_without() -> None:
    assert is_no_code("C1+NO_CODE")
    assert not is_no_code("NO_CODES")


@pytest.mark.parametrize("code", ["386661006.0", "3.86661E+08", "3e+8", "22298006.00"])
def test_what_a_spreadsheet_made_of_a_code(code: str) -> None:
    assert is_damaged(code)


@pytest.mark.parametrize("code", ["250.0", "401.9", "1E30", "8E47", "E11.9", "C0011849", "100.00"])
def test_what_looks_like_it_and_is_a_code(code: str) -> None:
    assert not is_damaged(code)


DATABASE_NAMES = [spelling for base in DATABASES for spelling in (base.name, *base.spellings)]


@given(
    st.sampled_from(["C0011849", "D003920", "HP:0001250", "22298006", "E11.9", "DOID:162"]),
    st.sampled_from(DATABASE_NAMES),
    st.sampled_from([str.lower, str.upper, str.title]),
    st.sampled_from(["", " "]),
)
def test_a_prefix_in_any_spelling_changes_no_code(
    code: str, database: str, case: object, blank: str
) -> None:
    assert callable(case)
    assert plain(joined_code(f"{case(database)}:{blank}{code}")) == code


def assert_distinct(codes: list[str]) -> None:
    written = [plain(joined_code(code)) for code in codes]
    assert len(set(written)) == len(set(codes))


def test_no_two_codes_of_the_sample_become_equal() -> None:
    codes = pq.read_table(sample("kb") / "concepts.parquet", columns=["code"])["code"].to_pylist()
    assert len(codes) > 1000
    assert_distinct(codes)


def test_no_two_codes_of_the_open_knowledge_base_become_equal() -> None:
    import gzip

    path = Path(__file__).parents[3] / "shared" / "data" / "kb" / "MRCONSO.RRF.gz"
    if not path.exists():
        pytest.skip("no open knowledge base beside the repository")
    with gzip.open(path, "rt", encoding="utf-8", newline="\n") as rows:
        codes = {row.split("|", 1)[0] for row in rows}
    assert len(codes) > 1000
    assert_distinct(sorted(codes))
