"""An OMOP vocabulary folder: concepts by domain, vocabulary and standing, and their relations."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kb_builder.errors import LongbelError
from kb_builder.rules.normalise import tidy
from kb_builder.semantics import GROUP_NAMES
from kb_builder.sources.omop_domains import GROUP_OF_CLASS, GROUP_OF_DOMAIN
from kb_builder.store.knowledge_base import KnowledgeBase
from kb_builder.store.lookup import look_up
from tests.support.examples import some
from tests.support.kb_cases import build, names_of, rows_of, short_names

HEADERS = {
    "CONCEPT": "concept_id\tconcept_name\tdomain_id\tvocabulary_id\tconcept_class_id\t"
    "standard_concept\tconcept_code\tvalid_start_date\tvalid_end_date\tinvalid_reason",
    "CONCEPT_SYNONYM": "concept_id\tconcept_synonym_name\tlanguage_concept_id",
    "CONCEPT_RELATIONSHIP": "concept_id_1\tconcept_id_2\trelationship_id\tvalid_start_date\t"
    "valid_end_date\tinvalid_reason",
    "VOCABULARY": "vocabulary_id\tvocabulary_name\tvocabulary_reference\tvocabulary_version\t"
    "vocabulary_concept_id",
}
ENGLISH, FRENCH, CHINESE = "4180186", "4180190", "4182948"


def concept(
    index: int,
    name: str,
    domain: str = "Condition",
    vocabulary: str = "SNOMED",
    kind: str = "Clinical Finding",
    standard: str = "S",
    code: str = "",
    invalid: str = "",
) -> str:
    code = code or f"c{index}"
    fields = [str(index), name, domain, vocabulary, kind, standard, code, "19700101", "20991231",
              invalid]  # fmt: skip
    return "\t".join(fields)


def related(first: int, kind: str, second: int, invalid: str = "") -> str:
    return f"{first}\t{second}\t{kind}\t19700101\t20991231\t{invalid}"


CONCEPTS = [
    concept(317009, "Asthma", code="195967001"),
    concept(255573, 'Disorder of "lung"', code="19829001"),
    concept(45769350, "asthma, old", code="old", invalid="U", standard=""),
    concept(999, "Deleted disorder", code="del", invalid="D", standard=""),
    concept(45583938, "Asthma", vocabulary="ICD10CM", kind="3-char nonbill code", standard="",
            code="J45"),
    concept(1125315, "acetaminophen", "Drug", "RxNorm", "Ingredient", code="161"),
    concept(4000, "Mycobacterium", "Observation", kind="Organism", code="113858008"),
    concept(4001, "Never smoker", "Observation", kind="Undefined", code="266919005"),
    concept(44819000, "Has relation", "Metadata", "None", "Undefined", code="m"),
]  # fmt: skip
SYNONYMS = [
    f"317009\tbronchial asthma\t{ENGLISH}", f"317009\tAsthme\t{FRENCH}",
    f"317009\t哮喘\t{CHINESE}", f"45769350\tGone\t{ENGLISH}", f"1125315\tParacetamol\t{ENGLISH}",
    f"12345\tNobody's\t{ENGLISH}", "255573\tKlingon\t77777",
]  # fmt: skip
RELATIONSHIPS = [
    related(317009, "Is a", 255573), related(255573, "Subsumes", 317009),
    related(4001, "Is a", 255573, invalid="D"), related(317009, "Maps to", 317009),
    related(45769350, "Concept replaced by", 317009), related(45769350, "Is a", 255573),
]  # fmt: skip
VOCABULARIES = ["SNOMED\tS\t\t2026\t1", "None\tOMOP\t\tv5.0 31-AUG-26\t2"]
FILES = {
    "CONCEPT": CONCEPTS, "CONCEPT_SYNONYM": SYNONYMS, "CONCEPT_RELATIONSHIP": RELATIONSHIPS,
    "VOCABULARY": VOCABULARIES,
}  # fmt: skip


def folder_of(folder: Path, files: dict[str, list[str]]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in files.items():
        text = "\n".join([HEADERS[name], *rows]) + "\n"
        (folder / f"{name}.csv").write_text(text, encoding="utf-8", newline="")
    return folder


@pytest.fixture
def omop(tmp_path: Path) -> Path:
    return folder_of(tmp_path / "vocabulary", FILES)


DISORDERS, DRUGS, LIVING, IDEAS = (GROUP_NAMES[code] for code in ("DISO", "CHEM", "LIVB", "CONC"))


def test_names_in_the_groups_of_their_domains(omop: Path, tmp_path: Path) -> None:
    report = build(omop, tmp_path / "kb")
    assert names_of(tmp_path / "kb") == {
        (DISORDERS, "Bronchial asthma", "317009", "ENG", False),
        (DISORDERS, "Asthme", "317009", "FRE", False),
        (DISORDERS, "Asthma", "45583938", "ENG", True),  # rule 3: it has no other name
        (DISORDERS, 'Disorder of "lung"', "255573", "ENG", True),
        (DRUGS, "Acetaminophen", "1125315", "ENG", True),
        (DRUGS, "Paracetamol", "1125315", "ENG", False),
        (LIVING, "Mycobacterium", "4000", "ENG", True),
        (IDEAS, "Never smoker", "4001", "ENG", True),
    }
    counts = report.info["counts"]
    told = ("terms", "obsolete", "other_domain", "other_language", "other_vocabulary")
    assert [counts[key] for key in told] == [9, 2, 1, 2, 0]
    assert report.info["source"]["release"] == "v5.0 31-AUG-26"
    assert report.n_unreadable == 0


@pytest.mark.parametrize(
    ("options", "codes"),
    [
        ({"standard_only": True}, {"317009", "255573", "1125315", "4000", "4001"}),
        ({"domains": ("condition", "Metadata")}, {"317009", "255573", "45583938", "44819000"}),
        ({"vocabularies": ("RxNorm", "ICD10CM")}, {"1125315", "45583938"}),
        ({"semantic_groups": ("LIVB",)}, {"4000"}),
        ({"code": "concept_code", "vocabularies": ("RxNorm",)}, {"161"}),
        ({"code": "concept_code", "domains": ("Condition",)},
         {"SNOMED:195967001", "SNOMED:19829001", "ICD10CM:J45"}),
        ({"code": "concept_code", "domains": ("Condition",), "standard_only": True},
         {"195967001", "19829001"}),
    ],
)  # fmt: skip
def test_options(omop: Path, tmp_path: Path, options: dict[str, Any], codes: set[str]) -> None:
    build(omop, tmp_path / "kb", **options)
    assert {code for _, _, code, _, _ in names_of(tmp_path / "kb")} == codes


def test_one_group_for_all_but_what_is_administrative(omop: Path, tmp_path: Path) -> None:
    build(omop, tmp_path / "kb", group="DISO")
    assert set(short_names(tmp_path / "kb")) == {DISORDERS}
    assert "44819000" not in short_names(tmp_path / "kb")[DISORDERS].values()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"domains": ("Disease",)}, "CONCEPT.csv has no domain disease"),
        ({"vocabularies": ("MSH",)}, "CONCEPT.csv has no vocabulary MSH"),
        ({"languages": ("GER",)}, "no name in language GER"),
        ({"code": "id"}, "choose concept_id or concept_code"),
        ({"synonyms": ("exact",)}, "--synonyms does not apply to an OMOP vocabulary folder"),
    ],
)
def test_options_that_are_wrong(
    omop: Path, tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(LongbelError, match=message):
        build(omop, tmp_path / "kb", **options)


def test_codes_parents_and_retired_concepts(omop: Path, tmp_path: Path) -> None:
    build(omop, tmp_path / "kb")
    base = KnowledgeBase.open(tmp_path / "kb")
    codes = [
        (base.concept_codes([concept])[0], source, code, None if row is None else base.name(row))
        for concept, source, code, row in rows_of(tmp_path / "kb", "codes")
    ]
    assert codes == [
        ("1125315", "RxNorm", "161", "Acetaminophen"), ("1125315", "RxNorm", "161", "Paracetamol"),
        ("255573", "SNOMED", "19829001", 'Disorder of "lung"'),
        ("317009", "SNOMED", "195967001", "Asthme"),
        ("317009", "SNOMED", "195967001", "Bronchial asthma"),
        ("4000", "SNOMED", "113858008", "Mycobacterium"),
        ("4001", "SNOMED", "266919005", "Never smoker"),
        ("45583938", "ICD10CM", "J45", "Asthma"),
    ]  # fmt: skip
    assert rows_of(tmp_path / "kb", "relations") == [("317009", "255573", "is_a")]
    assert rows_of(tmp_path / "kb", "replaced") == [
        ("45769350", "317009", "replaced"), ("999", None, "retired"),
    ]  # fmt: skip
    assert [card["code"] for card in look_up(base, "J45")["concepts"]] == ["45583938"]


def test_the_same_in_an_archive_and_by_its_file(omop: Path, tmp_path: Path) -> None:
    build(omop, tmp_path / "folder")
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for file in sorted(omop.iterdir()):
            archive.writestr(file.name, file.read_bytes())
    (tmp_path / "athena.zip").write_bytes(stream.getvalue())
    for name, source in (("zip", tmp_path / "athena.zip"), ("file", omop / "CONCEPT.csv")):
        build(source, tmp_path / name)
        assert names_of(tmp_path / name) == names_of(tmp_path / "folder")


def test_missing_files_are_said_and_the_rest_is_built(omop: Path, tmp_path: Path) -> None:
    (omop / "CONCEPT_SYNONYM.csv").unlink()
    (omop / "CONCEPT_RELATIONSHIP.csv").unlink()
    report = build(omop, tmp_path / "kb")
    assert [tuple(row) for row in report.quarantined] == [
        ("CONCEPT_SYNONYM.csv", 0, "the file is missing"),
        ("CONCEPT_RELATIONSHIP.csv", 0, "the file is missing"),
    ]
    assert not (tmp_path / "kb" / "relations.parquet").exists()
    assert rows_of(tmp_path / "kb", "replaced") == [
        ("45769350", None, "retired"), ("999", None, "retired"),
    ]  # fmt: skip
    (omop / "CONCEPT.csv").unlink()
    with pytest.raises(LongbelError, match=r"no MRCONSO\.RRF in it"):
        build(omop, tmp_path / "no")


def test_rows_that_cannot_be_used(tmp_path: Path) -> None:
    bad = [
        concept(1, "Fever"),
        concept(2, "Cough", domain="Sorrow"),
        concept(3, "a\ttab"),
        concept(4, "Chill").replace("4\t", "four\t", 1),
        concept(1, "Fever again"),
        concept(5, "Gr\udcffppe"),
        concept(6, "Six"),
        concept(7, 'Seven "" , x'),
    ]
    relationships = [
        related(6, "Is a", 7), related(7, "Is a", 6), related(6, "Is a", 1), related(1, "Is a", 1),
        related(1, "Is a", 6).replace("Is a", "Is\ta"),
    ]  # fmt: skip
    folder = folder_of(tmp_path / "v", {"CONCEPT_SYNONYM": [f"6\tSechs\t{ENGLISH}\t"],
                                       "CONCEPT_RELATIONSHIP": relationships})  # fmt: skip
    text = "\n".join([HEADERS["CONCEPT"], *bad]) + "\n"
    (folder / "CONCEPT.csv").write_bytes(text.encode("utf-8", "surrogateescape"))
    report = build(folder, tmp_path / "kb")
    assert [tuple(row) for row in report.quarantined] == [
        ("CONCEPT.csv", 4, "11 columns instead of 10"),
        ("CONCEPT.csv", 7, "not UTF-8"),
        ("CONCEPT.csv", 5, "an id that is no number"),
        ("CONCEPT.csv", 3, "unknown domain Sorrow"),
        ("CONCEPT.csv", 6, "a concept_id that stands twice"),
        ("CONCEPT_SYNONYM.csv", 2, "4 columns instead of 3"),
        ("CONCEPT_RELATIONSHIP.csv", 6, "7 columns instead of 6"),
        ("CONCEPT_RELATIONSHIP.csv", 2, "a concept below itself"),
        ("CONCEPT_RELATIONSHIP.csv", 3, "a concept below itself"),
        ("CONCEPT_RELATIONSHIP.csv", 5, "a concept below itself"),
    ]
    assert short_names(tmp_path / "kb") == {
        DISORDERS: {"Fever": "1", "Six": "6", 'Seven "" , x': "7"}
    }
    assert rows_of(tmp_path / "kb", "relations") == [("6", "1", "is_a")]
    build(folder, tmp_path / "all", group="DISO")  # no domain needs to be known
    assert short_names(tmp_path / "all")[DISORDERS]["Cough"] == "2"


def test_a_concept_that_is_retired_twice(tmp_path: Path) -> None:
    files = {
        "CONCEPT": [concept(1, "One"), concept(2, "Two"), concept(3, "Three", invalid="U")],
        "CONCEPT_SYNONYM": [],
        "CONCEPT_RELATIONSHIP": [
            related(3, "Concept replaced by", 1), related(3, "Concept replaced by", 2),
            related(2, "Concept replaced by", 1),
        ],
    }  # fmt: skip
    report = build(folder_of(tmp_path / "v", files), tmp_path / "kb")
    assert [tuple(row) for row in report.quarantined] == [
        ("CONCEPT_RELATIONSHIP.csv", 3, "3 is retired twice"),
        ("CONCEPT_RELATIONSHIP.csv", 4, "2 is retired and in use"),
    ]
    assert rows_of(tmp_path / "kb", "replaced") == [("3", "1", "replaced")]


def test_a_file_with_other_columns(omop: Path, tmp_path: Path) -> None:
    path = omop / "CONCEPT.csv"
    path.write_text(path.read_text(encoding="utf-8").replace("\t", ","), encoding="utf-8")
    with pytest.raises(LongbelError, match=r"CONCEPT\.csv:1: no column concept_id"):
        build(omop, tmp_path / "kb")


def test_every_group_of_a_domain_is_one_of_umls() -> None:
    groups = {*GROUP_OF_DOMAIN.values(), *GROUP_OF_CLASS.values()} - {None}
    assert groups <= set(GROUP_NAMES)


# Against an independent reading: pyarrow's, with quoting, escaping and nulls off ------------------


def read(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as stream:
        names = stream.readline().rstrip("\n").split("\t")
    table = pyarrow.csv.read_csv(
        path,
        parse_options=pyarrow.csv.ParseOptions(
            delimiter="\t", quote_char=False, double_quote=False, escape_char=False
        ),
        convert_options=pyarrow.csv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False
        ),
    )
    return table.to_pylist()


TEXT = st.text('ab" ,\\é', min_size=1, max_size=5).map(lambda text: f"x{text.strip()}x")
CONCEPT = st.tuples(
    st.integers(1, 12),
    TEXT,
    st.sampled_from(["Condition", "Drug", "Metadata"]),
    st.sampled_from(["SNOMED", "ICD10"]),
    st.sampled_from(["S", ""]),
    st.sampled_from(["", "", "", "D"]),
)


@settings(deadline=None, max_examples=some(40))
@given(
    st.lists(CONCEPT, min_size=1, max_size=8, unique_by=lambda row: row[0]),
    st.lists(st.tuples(st.integers(1, 12), TEXT, st.sampled_from([ENGLISH, FRENCH, "5"])),
             max_size=6),
    st.lists(st.tuples(st.integers(1, 12), st.sampled_from(["Is a", "Subsumes"]),
                       st.integers(1, 12)), max_size=6),
    st.booleans(),
)  # fmt: skip
def test_a_folder_is_read_as_pyarrow_reads_it(
    tmp_path_factory: pytest.TempPathFactory,
    concepts: Sequence[Any],
    synonyms: Sequence[Any],
    relationships: Sequence[Any],
    standard_only: bool,
) -> None:
    folder = tmp_path_factory.mktemp("omop")
    rows = [concept(n, name, domain, vocabulary, "Undefined", standard, invalid=invalid)
            for n, name, domain, vocabulary, standard, invalid in concepts]  # fmt: skip
    files = {
        "CONCEPT": [*rows, concept(100, "Always there")],
        "CONCEPT_SYNONYM": ["\t".join(map(str, row)) for row in synonyms],
        "CONCEPT_RELATIONSHIP": [related(min(low, high), kind, max(low, high) + 1)
                                 for low, kind, high in relationships],
    }  # fmt: skip
    source = folder_of(folder / "v", files)
    build(source, folder / "kb", standard_only=standard_only)
    wanted = {
        row["concept_id"]: row["concept_name"]
        for row in read(source / "CONCEPT.csv")
        if row["invalid_reason"] == "" and row["domain_id"] != "Metadata"
        and (row["standard_concept"] == "S" or not standard_only)
    }  # fmt: skip
    expected = {(code, tidy(name)) for code, name in wanted.items()}
    for row in read(source / "CONCEPT_SYNONYM.csv"):
        if row["concept_id"] in wanted and row["language_concept_id"] in (ENGLISH, FRENCH):
            expected.add((row["concept_id"], tidy(row["concept_synonym_name"])))
    base = KnowledgeBase.open(folder / "kb")
    told = {(row["code"], row["name"]) for row in base.audit().to_pylist()}
    assert {(base.code(row), base.name(row)) for row in range(base.n_names)} | told == expected
    assert set(rows_of(folder / "kb", "relations")) == {
        (row["concept_id_1"], row["concept_id_2"], "is_a")
        for row in read(source / "CONCEPT_RELATIONSHIP.csv")
        if row["relationship_id"] == "Is a"
        and {row["concept_id_1"], row["concept_id_2"]} <= set(wanted)
    }  # fmt: skip
    codes = {
        (row["concept_id"], row["vocabulary_id"], row["concept_code"])
        for row in read(source / "CONCEPT.csv")
        if row["concept_id"] in wanted and base.has_code(row["concept_id"])
    }
    assert codes == {
        (base.concept_codes([concept])[0], vocabulary, code)
        for concept, vocabulary, code, _ in rows_of(folder / "kb", "codes")
    }
