"""How NOTE_NLP is written: ids, dates and whose concepts."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import dataclass

from kb_builder.errors import LongbelError
from longbel_cli.corpora.omop_concepts import ConceptMap


@dataclass(frozen=True)
class OmopOptions:
    """`note_of`: note ids by document, None where the documents' ids are note ids. `system` is what
    nlp_system says. Without `text`, the answer's name stands for what the note says."""

    concepts: ConceptMap
    date: datetime.date
    system: str
    note_of: Mapping[str, int] | None = None
    first_id: int = 1
    bigint: bool = False
    text: bool = True

    def __post_init__(self) -> None:
        if self.first_id < 1:
            raise LongbelError("--first-id starts at 1", exit_code=2)
