"""Options with a few values: each value with a line of help, empty where it says it all."""

from __future__ import annotations

# What becomes of atoms that a release marks as suppressible.
SUPPRESSIBLE = {"drop": "", "keep": ""}
# What the groups of an OBO file are called by.
GROUPINGS = {"namespace": "", "root": ""}
# What the code of an OMOP concept is.
CODES = {"concept_id": "", "concept_code": "VOCABULARY:code where there are several"}
# Scopes of synonyms in OBO, the nearest first.
SCOPES = {"exact": "", "related": "", "broad": "", "narrow": ""}
