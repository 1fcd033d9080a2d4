"""Concept codes as corpora write them. Knows no format and no knowledge base."""

from __future__ import annotations

import re

# Prefixes that name a database and are no part of the code. Where the ontology itself writes the
# prefix (HP:, GO:, CHEBI:, MONDO:, DOID:, CL:, UBERON:), it stays.
_DATABASES = frozenset(
    (
        "MESH",
        "MSH",
        "OMIM",
        "MIM",
        "UMLS",
        "CUI",
        "SNOMEDCT",
        "SNOMEDCT_US",
        "SNOMED",
        "NCBIGENE",
        "NCBITAXID",
        "ENTREZ",
        "OPENKB",
    )
)
_SEVERAL = re.compile(r"[|+;,]")
_NOTHING = frozenset(("", "-", "-1", "None", "null"))


def split_codes(text: str) -> tuple[str, ...]:
    """The codes of a PubTator or BioC field, sorted, each once, without database prefixes.

    Codes are separated by `|`, `+`, `;` or `,`; `-` and `-1` are none.
    """
    codes = {_without_database(part.strip()) for part in _SEVERAL.split(text)}
    return tuple(sorted(codes - _NOTHING))


def _without_database(code: str) -> str:
    database, colon, rest = code.partition(":")
    return rest.strip() if colon and database.upper() in _DATABASES else code
