"""The rules of a knowledge base: worked by hand, and against a plain second writing of them."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kb_builder.errors import LongbelError
from kb_builder.rules import AMBIGUOUS
from kb_builder.rules.disambiguate import disambiguate
from kb_builder.rules.normalise import tidy, tidy_column
from kb_builder.rules.pairs import RULES, Names
from kb_builder.semantics import PRESETS
from kb_builder.sources import read_terms
from kb_builder.sources.reading import Reading
from kb_builder.sources.selection import BadRows, selection_of
from kb_builder.terms import Terms
from tests.benchmarks.kb_generate import generate
from tests.support import kb_oracle
from tests.support.examples import some
from tests.support.kb_cases import (
    audit_of,
    build,
    conso_row,
    names_of,
    short_names,
    sty_row,
    write_release,
)

DISO, CHEM, PROC = "Disorders", "Chemicals & Drugs", "Procedures"


@pytest.mark.parametrize(
    ("string", "name"),
    [
        ("Asthma", "Asthma"),
        ("asthma", "Asthma"),
        ("éruption", "Éruption"),
        ("5-HT", "5-HT"),
        ("Asthma\u00a0attack", "Asthma attack"),
        ("Asthma (NOS)", "Asthma"),
        ("Asthma  (NOS)  ", "Asthma"),
        ("Asthma NOS\u2003", "Asthma"),  # a blank beyond ASCII hides the ending from the bytes
        ("Asthma(NOS)", "Asthma"),
        ("Asthma, NOS", "Asthma"),
        ("Asthma NOS", "Asthma"),
        ("Asthma NOS ", "Asthma"),
        ("Asma (SAI)", "Asma"),
        ("Asma, SAI", "Asma"),
        ("Asma SAI", "Asma"),
        ("Asthma nos", "Asthma nos"),  # case-sensitive
        ("Asthma (nos)", "Asthma (nos)"),
        ("DIAGNOS", "DIAGNOS"),  # no blank before it
        ("NOS", "NOS"),
        ("Asthma NOS (NOS)", "Asthma"),  # each ending once, in their order
        ("Asthma (NOS) NOS", "Asthma (NOS)"),  # (NOS) had its turn before it was the ending
        ("Asthma NOS NOS", "Asthma NOS"),
        ("Asma NOS SAI", "Asma NOS"),
        ("Asma SAI NOS", "Asma"),
        ("Asthma, NOS, NOS", "Asthma,"),  # the second one by the rule for ` NOS`
        ("Asthma,\u00a0NOS", "Asthma"),
        ("NOS asthma", "NOS asthma"),
        ("[X]Asthma {D}", "(X)Asthma (D)"),
        ("[x]asthma", "(x)asthma"),  # its first letter is a bracket
        ("Asthma\nattack", "Asthma attack"),
        ("Asthma ", "Asthma "),  # blanks go with an ending only
        (" asthma", " asthma"),
        ("(NOS)", ""),
        (" NOS", ""),
        ("", ""),
        ("  ", ""),
        ("ßeta", "SSeta"),
    ],
)
def test_tidying(string: str, name: str) -> None:
    assert tidy(string) == name
    assert tidy_column(pa.array([string], pa.large_string())).to_pylist() == [name]


_PIECES = [
    "NOS",
    "SAI",
    "(",
    ")",
    "[",
    "}",
    ",",
    " ",
    "\u00a0",
    "a",
    "A",
    "é",
    "ß",
    "\n",
    "\u2003",
    "\t",
]


@given(st.lists(st.lists(st.sampled_from(_PIECES), max_size=7).map("".join), max_size=30))
def test_tidying_a_column_is_tidying_each(strings: list[str]) -> None:
    column = tidy_column(pa.array(strings, pa.large_string()))
    assert column.to_pylist() == [tidy(string) for string in strings]
    assert column.to_pylist() == [kb_oracle.tidied(string) for string in strings]


# One release of 40 atoms for every rule and option. Comments say what each row is there for.
C = conso_row
CONSO = [
    # Diabetes: a name of its own; also claims "Sugar disease" with C0000002.
    C("C0000001", "diabetes mellitus", ts="P", tty="PT"),
    C("C0000001", "Diabetes mellitus", sab="NCI"),  # the same name again
    C("C0000001", "DIABETES MELLITUS", sab="NCI"),  # rule 5: goes
    C("C0000001", "Diabetes mellitus, NOS", sab="ICD10CM"),  # rule 2: the same again
    C("C0000001", "Sugar disease"),
    C("C0000001", "Diabète sucré", lat="FRE", ts="P"),
    C("C0000001", "Diabetes sacarina", lat="SPA", ts="P"),
    C("C0000001", "Diabetes [old]", suppress="O"),  # dropped unless kept
    C("C0000001", "Zuckerkrankheit", lat="GER", ts="P"),  # a language not chosen
    # C0000002 has only the shared name: rule 3, only-nameless.
    C("C0000002", "Sugar disease", ts="P"),
    # C0000003 and C0000004 have only "Cold" and "Chill": rule 3, smallest code.
    C("C0000003", "Cold", ts="P"),
    C("C0000003", "Chill"),
    C("C0000004", "cold", ts="P"),
    C("C0000004", "Chill"),
    # C0000005 and C0000006 both have names of their own: "Shock" goes to neither.
    C("C0000005", "Shock"),
    C("C0000005", "Circulatory failure", ts="P"),
    C("C0000006", "Shock"),
    C("C0000006", "Electric shock", ts="P"),
    # C0000007 is in two groups; in each its name leads to it.
    C("C0000007", "Insulin", ts="P"),
    C("C0000007", "Insulin therapy"),
    # C0000008 shares "Insulin" in Procedures only: there the name has two concepts.
    C("C0000008", "Insulin"),
    C("C0000008", "Insulin injection", ts="P"),
    # C0000009: titles. PN before MTH before TS = P; PN in German counts; MTH in Czech is a name.
    C("C0000009", "Migräne", lat="GER", tty="PN", sab="MDRGER"),
    C("C0000009", "migréna", lat="CZE", sab="MTH"),
    C("C0000009", "Migraine", ts="P"),
    # C0000010: MTH without PN; of several the shortest, then Xxx before XXX, then code points.
    C("C0000010", "fever of unknown origin", sab="MTH", tty="PT"),
    C("C0000010", "FEVER", sab="MTH", tty="PT", suppress="Y"),  # suppressed: no title
    C("C0000010", "PYREXIA", sab="MTH", tty="PT"),
    C("C0000010", "Pyrexia", sab="MTH", tty="PT"),
    C("C0000010", "Fever", ts="P"),
    # C0000011 and C0000012 claim one title, "Mirage" (PN, Italian, not a name by itself).
    C("C0000011", "Mirage", lat="ITA", tty="PN", sab="MDRITA"),
    C("C0000011", "Fata morgana"),
    C("C0000012", "mirage NOS", lat="ITA", tty="PN", sab="MDRITA"),
    C("C0000012", "Looming"),
    # C0000013: its title is C0000009's name; ALL CAPS alone stays; nothing left is dropped.
    C("C0000013", "Migraine", lat="ITA", tty="PN", sab="MDRITA"),
    C("C0000013", "AURA"),
    C("C0000013", "(NOS)"),
    # C0000014 has a type that medmentions-st21pv does not take, C0000016 one of a group that
    # quaero does not take, C0000015 none at all (see TYPES).
    C("C0000014", "Hospital [building]", ts="P"),
    C("C0000015", "Nowhere", ts="P"),
    C("C0000016", "Hospital", ts="P"),
]
TYPES = [
    *(sty_row(f"C{index:07d}", "T047", "B2.2.1.2.1") for index in (1, 2, 3, 4, 5, 6, 9, 10)),
    *(sty_row(f"C{index:07d}", "T033", "A2.2") for index in (11, 12, 13)),
    sty_row("C0000007", "T061", "B1.3.1.3"),
    sty_row("C0000007", "T125", "A1.4.1.1.3.2"),
    sty_row("C0000008", "T061", "B1.3.1.3"),
    sty_row("C0000014", "T073", "A1.3"),
    sty_row("C0000016", "T092", "A2.7"),
]
assert len(CONSO) <= 40

EXPECTED = {
    DISO: {
        "Diabetes mellitus": "C0000001",
        "Diabète sucré": "C0000001",
        "Diabetes sacarina": "C0000001",
        "Sugar disease": "C0000002",
        "Cold": "C0000003",
        "Chill": "C0000003",
        "Circulatory failure": "C0000005",
        "Electric shock": "C0000006",
        "Migréna": "C0000009",
        "Migraine": "C0000009",
        "Migräne": "C0000009",
        "Fever of unknown origin": "C0000010",
        "Pyrexia": "C0000010",
        "Fever": "C0000010",
        "Fata morgana": "C0000011",
        "Mirage": "C0000011",
        "Looming": "C0000012",
        "AURA": "C0000013",
    },
    CHEM: {"Insulin": "C0000007", "Insulin therapy": "C0000007"},
    PROC: {"Insulin therapy": "C0000007", "Insulin injection": "C0000008"},
    "Objects": {"Hospital (building)": "C0000014"},
    "Organizations": {"Hospital": "C0000016"},
}


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_release(tmp_path_factory.mktemp("release"), CONSO, TYPES)


def changed(**groups: dict[str, str | None]) -> dict[str, dict[str, str]]:
    """EXPECTED with names added or given away; None takes one out."""
    result = {group: dict(names) for group, names in EXPECTED.items()}
    for group, names in groups.items():
        result[group].update(names)  # type: ignore[arg-type]  # None is taken out below
    return {
        group: {name: code for name, code in names.items() if code is not None}
        for group, names in result.items()
    }


OPTIONS = [
    ({}, EXPECTED),
    ({"suppressible": "keep"}, changed(Disorders={"Diabetes (old)": "C0000001"})),
    # With GER alone, German names and every MTH name; titles in English come back by rule 4.
    (
        {"languages": ("GER",)},
        {
            DISO: {
                "Zuckerkrankheit": "C0000001",
                "Diabetes mellitus": "C0000001",
                "Migräne": "C0000009",
                "Migréna": "C0000009",
                "Fever of unknown origin": "C0000010",
                "Pyrexia": "C0000010",
            }
        },
    ),
    # NCI alone, with MTH as always: "DIABETES MELLITUS" still goes for the NCI spelling.
    (
        {"vocabularies": ("NCI",)},
        {
            DISO: {
                "Diabetes mellitus": "C0000001",
                "Migréna": "C0000009",
                "Fever of unknown origin": "C0000010",
                "Pyrexia": "C0000010",
            }
        },
    ),
    ({"semantic_groups": ("CHEM",)}, {CHEM: EXPECTED[CHEM]}),
    ({"semantic_groups": ("Procedures", "objects")},
     # No kept name is "Insulin" without CHEM, so rule 4 gives the title back.
     {PROC: EXPECTED[PROC] | {"Insulin": "C0000007"}, "Objects": EXPECTED["Objects"]}),
    ({"semantic_types": ("T125",)}, {CHEM: EXPECTED[CHEM]}),
    ({"semantic_types": ("Hormone",)}, {CHEM: EXPECTED[CHEM]}),
    ({"preset": "quaero"},
     {group: names for group, names in EXPECTED.items() if group != "Organizations"}),
    ({"preset": "medmentions-st21pv"},
     {group: names for group, names in EXPECTED.items() if group != "Objects"}),
    # The type stands for the title where that is no different; both names of C0000004 come back.
    (
        {"ambiguous": "qualify"},
        changed(
            Disorders={
                "Cold (Disease or Syndrome)": "C0000004",
                "Chill (Cold)": "C0000004",
            }
        ),
    ),
    # Owners keep their names; whoever claims one has it in brackets too, smaller codes first.
    (
        {"ambiguous": "qualify-all"},
        changed(
            Disorders={
                "Sugar disease (Diabetes mellitus)": "C0000001",
                "Sugar disease (Disease or Syndrome)": "C0000002",
                "Cold (Disease or Syndrome)": "C0000003",
                "Cold (C0000004)": "C0000004",
                "Chill (Cold)": "C0000003",
                "Chill (Disease or Syndrome)": "C0000004",
                "Shock (Circulatory failure)": "C0000005",
                "Shock (Electric shock)": "C0000006",
            },
            Procedures={
                "Insulin (Therapeutic or Preventive Procedure)": "C0000007",
                "Insulin (Insulin injection)": "C0000008",
            },
        ),
    ),
]  # fmt: skip


@pytest.mark.parametrize(("options", "expected"), OPTIONS, ids=lambda value: ",".join(value)[:40])
def test_every_rule_and_option_by_hand(
    release: Path, tmp_path: Path, options: dict, expected: dict
) -> None:
    build(release, tmp_path / "kb", **options)
    assert short_names(tmp_path / "kb") == expected


def test_every_type_of_a_preset_and_its_neighbours(tmp_path: Path) -> None:
    """A concept of each tree prefix, and of types beside and above them."""
    prefixes = PRESETS["medmentions-st21pv"].tree_prefixes
    others = ("A1", "A1.1", "A1.1.1", "A1.3", "A1.4", "A2.1", "A2.3", "A2.6.2", "A2.9", "B1.3",
              "B2.2", "B2.2.2")  # fmt: skip
    trees = [*prefixes, *(f"{prefix}.1.2" for prefix in prefixes), *others]
    conso = [C(f"C{index:03d}", f"Of {tree}") for index, tree in enumerate(trees)]
    sty = [sty_row(f"C{index:03d}", "T047", tree) for index, tree in enumerate(trees)]
    folder = write_release(tmp_path / "release", conso, sty)
    build(folder, tmp_path / "kb", preset="medmentions-st21pv")
    assert set(short_names(tmp_path / "kb")[DISO]) == {f"Of {tree}" for tree in trees[:42]}


def test_audit_by_hand(release: Path, tmp_path: Path) -> None:
    report = build(release, tmp_path / "kb")
    assert audit_of(tmp_path / "kb") == {
        ("empty", DISO, "", "C0000013", None),
        ("ambiguous", DISO, "Shock", "C0000005", None),
        ("ambiguous", DISO, "Shock", "C0000006", None),
        ("ambiguous", PROC, "Insulin", "C0000007", None),
        ("ambiguous", PROC, "Insulin", "C0000008", None),
        ("only-nameless", DISO, "Sugar disease", "C0000001", "C0000002"),
        ("only-nameless", DISO, "Sugar disease", "C0000002", "C0000002"),
        ("smallest-code", DISO, "Cold", "C0000003", "C0000003"),
        ("smallest-code", DISO, "Cold", "C0000004", "C0000003"),
        ("smallest-code", DISO, "Chill", "C0000003", "C0000003"),
        ("smallest-code", DISO, "Chill", "C0000004", "C0000003"),
        ("title-smallest-code", DISO, "Mirage", "C0000012", "C0000011"),
        ("title-exists", DISO, "Migraine", "C0000013", "C0000009"),
        ("title-exists", PROC, "Insulin", "C0000007", None),
        ("all-caps", DISO, "DIABETES MELLITUS", "C0000001", None),
        ("all-caps", DISO, "PYREXIA", "C0000010", None),
    }
    assert report.nameless == ["C0000004"]
    counts = report.info["counts"]
    assert counts["concepts_without_a_name"] == 1
    assert counts["concepts_without_a_type"] == report.n_untyped == 1
    assert (counts["unambiguous"], counts["only-nameless"], counts["smallest-code"]) == (21, 1, 2)
    assert (counts["ambiguous_names"], counts["ambiguous_dropped"]) == (5, 2)
    assert counts["titles_added"] == 2


def test_languages_and_preferred_names_by_hand(release: Path, tmp_path: Path) -> None:
    build(release, tmp_path / "kb")
    told = {
        name: (language, preferred) for _, name, _, language, preferred in names_of(tmp_path / "kb")
    }
    assert told["Diabetes mellitus"] == ("ENG", True)
    assert told["Diabète sucré"] == ("FRE", False)
    assert told["Migräne"] == ("GER", True)  # added by rule 4, with the title's language
    assert told["Migréna"] == ("CZE", False)
    assert told["Pyrexia"] == ("ENG", True)
    assert told["Fever"] == ("ENG", False)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"preset": "nothing"}, "unknown preset"),
        ({"languages": ("english",)}, "not a language code"),
        ({"languages": ("EN",)}, "not a UMLS language code"),
        ({"languages": ("FRA",)}, "no atom in language FRA"),
        ({"vocabularies": ("SNOMED",)}, "no atom of vocabulary SNOMED"),
        ({"semantic_groups": ("Diseases",)}, "unknown semantic group"),
        ({"semantic_types": ("T999",)}, "unknown semantic type"),
        ({"suppressible": "perhaps"}, "--suppressible"),
        ({"semantic_groups": ("GEOG",)}, "no name is left"),
    ],
)
def test_options_that_mean_nothing(
    release: Path, tmp_path: Path, options: dict, message: str
) -> None:
    with pytest.raises(LongbelError, match=message):
        build(release, tmp_path / "kb", **options)
    assert list(tmp_path.iterdir()) == []


def as_sets(names: Names, terms: Terms) -> kb_oracle.Result:
    """The outcome in memory as the oracle states it."""
    texts, codes = names.strings.to_pylist(), terms.codes.to_pylist()
    result = kb_oracle.Result(nameless={codes[concept] for concept in names.nameless()})
    for *claim, preferred in zip(*names.kept, names.preferred, strict=True):
        group, name, concept, language = (int(index) for index in claim)
        result.names.add(
            (terms.groups[group], texts[name], codes[concept], terms.languages[language],
             bool(preferred))
        )  # fmt: skip
    for group, name, concept, given_to, rule in zip(*names.audit, strict=True):
        to = None if given_to < 0 else codes[given_to]
        result.audit.add((RULES[rule], terms.groups[group], texts[name], codes[concept], to))
    return result


@pytest.mark.parametrize("atoms", [15_000, pytest.param(100_000, marks=pytest.mark.slow)])
def test_as_the_oracle_on_generated_rows(tmp_path: Path, atoms: int) -> None:
    generate(tmp_path / "release", atoms, seed=3)
    report = build(tmp_path / "release", tmp_path / "kb")
    expected = kb_oracle.build(tmp_path / "release")
    assert names_of(tmp_path / "kb") == expected.names
    assert audit_of(tmp_path / "kb") == expected.audit
    assert report.info["counts"]["concepts_without_a_name"] == len(expected.nameless)
    assert set(report.nameless) == expected.nameless


# Few words, so that names meet: cases, endings, accents, letters whose cases differ in length.
_WORDS = [
    "a",
    "A",
    "b",
    "B NOS",
    "A (NOS)",
    "AB",
    "ab",
    "Ab",
    "É",
    "é",
    "ß",
    "SS",
    "Ss",
    "(NOS)",
    "",
]
_ATOM = st.tuples(
    st.integers(1, 6),
    st.sampled_from(_WORDS),
    st.sampled_from(["ENG", "FRE", "SPA", "GER"]),
    st.sampled_from("PS"),
    st.sampled_from(["MSH", "MTH", "NCI"]),
    st.sampled_from(["PN", "SY"]),
    st.sampled_from("NNNO"),
)
_TYPE = st.tuples(st.integers(1, 6), st.sampled_from(["T047", "T191", "T121", "T061"]))


@settings(max_examples=some(80), deadline=None)
@given(
    st.lists(_ATOM, min_size=1, max_size=25),
    st.lists(_TYPE, min_size=1, max_size=10),
    st.sampled_from(sorted(AMBIGUOUS)),
    st.booleans(),
)
def test_as_the_oracle_on_crowded_releases(
    atoms: list[tuple], types: list[tuple], ambiguous: str, keep: bool
) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        folder = write_release(
            Path(scratch),
            [conso_row(f"C{atom[0]}", *atom[1:]) for atom in atoms],
            [sty_row(f"C{concept}", tui) for concept, tui in sorted(set(types))],
        )
        selection = selection_of(keep_suppressed=keep)
        terms = read_terms(Reading((folder,), selection, BadRows()))
        options = kb_oracle.Options(ambiguous=ambiguous, keep_suppressed=keep)
        expected = kb_oracle.build(folder, options)
    assert as_sets(disambiguate(terms, ambiguous), terms) == expected


def test_codes_compare_as_strings(tmp_path: Path) -> None:
    conso = [conso_row("9", "Cold"), conso_row("10", "Cold")]
    folder = write_release(
        tmp_path / "release", conso, [sty_row("9", "T047"), sty_row("10", "T047")]
    )
    build(folder, tmp_path / "kb")
    assert short_names(tmp_path / "kb") == {DISO: {"Cold": "10"}}


def test_a_title_of_several_languages_has_the_preferred_one(tmp_path: Path) -> None:
    """Whatever the order of the rows, and however many blocks they would fill."""
    title = [conso_row("C1", "Lupus", lat=lat, tty="PN") for lat in ("POR", "GER", "ITA")]
    for name, rows in (("one", title), ("two", title[::-1])):
        folder = write_release(
            tmp_path / name, [*rows, conso_row("C1", "LE")], [sty_row("C1", "T047")]
        )
        build(folder, tmp_path / f"{name}-kb")
        assert (DISO, "Lupus", "C1", "GER", True) in names_of(tmp_path / f"{name}-kb")


def test_random_order_of_rows_changes_nothing(release: Path, tmp_path: Path) -> None:
    order = np.random.default_rng(0).permutation(len(CONSO))
    shuffled = write_release(
        tmp_path / "shuffled", [CONSO[k] for k in order], list(reversed(TYPES))
    )
    build(release, tmp_path / "one")
    build(shuffled, tmp_path / "two")
    assert names_of(tmp_path / "one") == names_of(tmp_path / "two")
    assert audit_of(tmp_path / "one") == audit_of(tmp_path / "two")
