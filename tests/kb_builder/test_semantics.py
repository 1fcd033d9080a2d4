"""What a corpus's type means to a knowledge base."""

from __future__ import annotations

import pytest

from kb_builder.semantics import (
    GROUP_NAMES,
    PRESETS,
    SEMANTIC_TYPES,
    Preset,
    group_of_tui,
    resolve_group,
)
from tests.support.paths import SHARED

UMLS = ("Chemicals & Drugs", "Disorders", "Procedures")
OWN = ("ENFERMEDAD", "PROCEDIMIENTO")
CODES = ("CHEM", "DISO")


@pytest.mark.parametrize(
    ("text", "groups", "group"),
    [
        ("Disorders", UMLS, "Disorders"),
        ("disorders", UMLS, "Disorders"),
        ("DISO", UMLS, "Disorders"),
        ("diso", UMLS, "Disorders"),
        ("T047", UMLS, "Disorders"),
        ("t047", UMLS, "Disorders"),
        (" T047 ", UMLS, "Disorders"),
        ("Disease or Syndrome", UMLS, "Disorders"),
        ("Amino Acid, Peptide, or Protein", UMLS, "Chemicals & Drugs"),  # a name with commas
        ("T047,T191", UMLS, "Disorders"),
        ("T047, DISO,Neoplastic Process", UMLS, "Disorders"),
        ("T047,T121", UMLS, None),  # two groups
        ("T047,T999", UMLS, None),
        ("Anatomy", UMLS, None),  # not in this knowledge base
        ("T017", UMLS, None),
        ("T999", UMLS, None),
        ("", UMLS, None),
        (",", UMLS, None),
        ("ENFERMEDAD", OWN, "ENFERMEDAD"),
        ("enfermedad", OWN, "ENFERMEDAD"),
        ("DISO", OWN, None),
        ("Disorders", CODES, "DISO"),
        ("T047", CODES, "DISO"),
        ("DISO", CODES, "DISO"),
        ("T047", (), None),
        ("Plant", ("Plant",), "Plant"),  # a group of its own before a type of UMLS
        ("plant", ("Living Beings", "Plant"), "Plant"),
    ],
)
def test_resolve_group(text: str, groups: tuple[str, ...], group: str | None) -> None:
    assert resolve_group(text, groups) == group


def test_the_table() -> None:
    assert len(SEMANTIC_TYPES) == 127
    assert len(GROUP_NAMES) == 15
    assert group_of_tui("T184") == "Disorders"
    assert group_of_tui("T000") is None


def test_the_presets_are_the_published_ones() -> None:
    groups = "ANAT CHEM DEVI DISO GEOG LIVB OBJC PHEN PHYS PROC"
    trees = (
        "A1.1.4 A1.1.2 A1.2 A2.1.4.1 A1.4.2 A2.2 B2.3 B2.2.1 B1.3.1 B1.3.2 A1.3.1 A2.1.5 A2.6.1 "
        "A2.7 A2.9.1 A2.9.2 A1.4.1 A1.4.3 A2.4 A2.3.1 A1.1.3"
    )
    assert {
        "quaero": Preset(group_codes=tuple(groups.split())),
        "medmentions-st21pv": Preset(tree_prefixes=tuple(trees.split())),
    } == PRESETS


def test_the_table_is_the_published_one() -> None:
    published = SHARED / "SemGroups.txt"
    if not published.is_file():
        pytest.skip("the published table is not at hand")
    rows = {tuple(line.split("|")) for line in published.read_text().splitlines() if line}
    ours = {
        (kind.group_code, GROUP_NAMES[kind.group_code], tui, kind.name)
        for tui, kind in SEMANTIC_TYPES.items()
    }
    assert ours == rows
