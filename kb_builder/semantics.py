"""UMLS semantic types and groups, and how a corpus's type leads to a knowledge base's group.

Knows the published table of types (TUI, name) and groups (code, name), the two presets of the
method, and nothing of any release or corpus. Source of the table: NLM's semantic groups file.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

GROUP_NAMES: dict[str, str] = {
    "ACTI": "Activities & Behaviors",
    "ANAT": "Anatomy",
    "CHEM": "Chemicals & Drugs",
    "CONC": "Concepts & Ideas",
    "DEVI": "Devices",
    "DISO": "Disorders",
    "GENE": "Genes & Molecular Sequences",
    "GEOG": "Geographic Areas",
    "LIVB": "Living Beings",
    "OBJC": "Objects",
    "OCCU": "Occupations",
    "ORGA": "Organizations",
    "PHEN": "Phenomena",
    "PHYS": "Physiology",
    "PROC": "Procedures",
}

_TYPES_OF_GROUP = {
    "ACTI": """
        51 Event
        52 Activity
        53 Behavior
        54 Social Behavior
        55 Individual Behavior
        56 Daily or Recreational Activity
        57 Occupational Activity
        64 Governmental or Regulatory Activity
        66 Machine Activity
        """,
    "ANAT": """
        17 Anatomical Structure
        18 Embryonic Structure
        21 Fully Formed Anatomical Structure
        22 Body System
        23 Body Part, Organ, or Organ Component
        24 Tissue
        25 Cell
        26 Cell Component
        29 Body Location or Region
        30 Body Space or Junction
        31 Body Substance
        """,
    "CHEM": """
        103 Chemical
        104 Chemical Viewed Structurally
        109 Organic Chemical
        114 Nucleic Acid, Nucleoside, or Nucleotide
        116 Amino Acid, Peptide, or Protein
        120 Chemical Viewed Functionally
        121 Pharmacologic Substance
        122 Biomedical or Dental Material
        123 Biologically Active Substance
        125 Hormone
        126 Enzyme
        127 Vitamin
        129 Immunologic Factor
        130 Indicator, Reagent, or Diagnostic Aid
        131 Hazardous or Poisonous Substance
        192 Receptor
        195 Antibiotic
        196 Element, Ion, or Isotope
        197 Inorganic Chemical
        200 Clinical Drug
        """,
    "CONC": """
        77 Conceptual Entity
        78 Idea or Concept
        79 Temporal Concept
        80 Qualitative Concept
        81 Quantitative Concept
        82 Spatial Concept
        89 Regulation or Law
        102 Group Attribute
        169 Functional Concept
        170 Intellectual Product
        171 Language
        185 Classification
        """,
    "DEVI": """
        74 Medical Device
        75 Research Device
        203 Drug Delivery Device
        """,
    "DISO": """
        19 Congenital Abnormality
        20 Acquired Abnormality
        33 Finding
        37 Injury or Poisoning
        46 Pathologic Function
        47 Disease or Syndrome
        48 Mental or Behavioral Dysfunction
        49 Cell or Molecular Dysfunction
        50 Experimental Model of Disease
        184 Sign or Symptom
        190 Anatomical Abnormality
        191 Neoplastic Process
        """,
    "GENE": """
        28 Gene or Genome
        85 Molecular Sequence
        86 Nucleotide Sequence
        87 Amino Acid Sequence
        88 Carbohydrate Sequence
        """,
    "GEOG": """
        83 Geographic Area
        """,
    "LIVB": """
        1 Organism
        2 Plant
        4 Fungus
        5 Virus
        7 Bacterium
        8 Animal
        10 Vertebrate
        11 Amphibian
        12 Bird
        13 Fish
        14 Reptile
        15 Mammal
        16 Human
        96 Group
        97 Professional or Occupational Group
        98 Population Group
        99 Family Group
        100 Age Group
        101 Patient or Disabled Group
        194 Archaeon
        204 Eukaryote
        """,
    "OBJC": """
        71 Entity
        72 Physical Object
        73 Manufactured Object
        167 Substance
        168 Food
        """,
    "OCCU": """
        90 Occupation or Discipline
        91 Biomedical Occupation or Discipline
        """,
    "ORGA": """
        92 Organization
        93 Health Care Related Organization
        94 Professional Society
        95 Self-help or Relief Organization
        """,
    "PHEN": """
        34 Laboratory or Test Result
        38 Biologic Function
        67 Phenomenon or Process
        68 Human-caused Phenomenon or Process
        69 Environmental Effect of Humans
        70 Natural Phenomenon or Process
        """,
    "PHYS": """
        32 Organism Attribute
        39 Physiologic Function
        40 Organism Function
        41 Mental Process
        42 Organ or Tissue Function
        43 Cell Function
        44 Molecular Function
        45 Genetic Function
        201 Clinical Attribute
        """,
    "PROC": """
        58 Health Care Activity
        59 Laboratory Procedure
        60 Diagnostic Procedure
        61 Therapeutic or Preventive Procedure
        62 Research Activity
        63 Molecular Biology Research Technique
        65 Educational Activity
        """,
}


class SemanticType(NamedTuple):
    """One UMLS semantic type: its TUI, its name, and the code of its group."""

    tui: str
    name: str
    group_code: str


def _read_table() -> dict[str, SemanticType]:
    table = {}
    for group_code, lines in _TYPES_OF_GROUP.items():
        for line in lines.strip().splitlines():
            digits, name = line.strip().split(" ", 1)
            tui = f"T{int(digits):03d}"
            table[tui] = SemanticType(tui, name, group_code)
    return dict(sorted(table.items()))


SEMANTIC_TYPES: dict[str, SemanticType] = _read_table()

_CODE_OF_GROUP = {name.casefold(): code for code, name in GROUP_NAMES.items()} | {
    code.casefold(): code for code in GROUP_NAMES
}
_TUI_OF_TYPE = {kind.name.casefold(): tui for tui, kind in SEMANTIC_TYPES.items()} | {
    tui.casefold(): tui for tui in SEMANTIC_TYPES
}


class Preset(NamedTuple):
    """A published choice of semantic groups, or of types by the beginning of the tree number."""

    group_codes: tuple[str, ...] = ()
    tree_prefixes: tuple[str, ...] = ()


PRESETS: dict[str, Preset] = {
    "quaero": Preset(
        group_codes=(
            "ANAT", "CHEM", "DEVI", "DISO", "GEOG", "LIVB", "OBJC", "PHEN", "PHYS", "PROC",
        )
    ),
    "medmentions-st21pv": Preset(
        tree_prefixes=(
            "A1.1.4", "A1.1.2", "A1.2", "A2.1.4.1", "A1.4.2", "A2.2", "B2.3", "B2.2.1",
            "B1.3.1", "B1.3.2", "A1.3.1", "A2.1.5", "A2.6.1", "A2.7", "A2.9.1", "A2.9.2",
            "A1.4.1", "A1.4.3", "A2.4", "A2.3.1", "A1.1.3",
        )
    ),
}  # fmt: skip


def group_of_tui(tui: str) -> str | None:
    """The name of the group that a semantic type belongs to; None for an unknown TUI."""
    kind = SEMANTIC_TYPES.get(tui)
    return None if kind is None else GROUP_NAMES[kind.group_code]


def group_code_of(text: str) -> str | None:
    """The group code that a group's name or code (any case) stands for."""
    return _CODE_OF_GROUP.get(text.strip().casefold())


def tui_of(text: str) -> str | None:
    """The TUI that a TUI or a semantic type's name (any case) stands for."""
    return _TUI_OF_TYPE.get(text.strip().casefold())


def _umls_group_code(text: str) -> str | None:
    code = group_code_of(text)
    if code is not None:
        return code
    tui = tui_of(text)
    return None if tui is None else SEMANTIC_TYPES[tui].group_code


def _resolve_one(text: str, kb_groups: Sequence[str]) -> str | None:
    if text in kb_groups:
        return text
    folded = text.casefold()
    for group in kb_groups:
        if group.casefold() == folded:
            return group
    code = _umls_group_code(text)
    if code is None:
        return None
    return next((group for group in kb_groups if group_code_of(group) == code), None)


def resolve_group(text: str, kb_groups: Iterable[str]) -> str | None:
    """The knowledge base's group that a corpus's type means, None where it means none of them.

    Understood, in this order: one of `kb_groups` itself (any case), a group's name or code, a
    TUI, a semantic type's name, and a comma-separated list of these that agree on one group.
    """
    groups = tuple(kb_groups)
    text = text.strip()
    whole = _resolve_one(text, groups)
    if whole is not None or "," not in text:
        return whole
    resolved = {_resolve_one(part.strip(), groups) for part in text.split(",") if part.strip()}
    return resolved.pop() if len(resolved) == 1 else None
