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


def gold_codes(*texts: str) -> tuple[str, ...] | None:
    """The gold of a mention, sorted, each code once, without database prefixes.

    Codes are separated by `|`, `+`, `;` or `,`. A text of nothing, `-`, `-1`, `None` or `null`
    says nothing; None where all do.
    """
    parts = {_without_database(part.strip()) for text in texts for part in _SEVERAL.split(text)}
    return tuple(sorted(parts - _NOTHING)) or None


def _without_database(code: str) -> str:
    database, colon, rest = code.partition(":")
    return rest.strip() if colon and database.upper() in _DATABASES else code
