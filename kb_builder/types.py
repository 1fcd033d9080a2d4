"""Records of a terminology."""

from __future__ import annotations

from typing import NamedTuple


class Term(NamedTuple):
    """One name of one concept within one semantic group."""

    concept_id: str
    name: str
    semantic_group: str
    language: str | None
    preferred: bool
