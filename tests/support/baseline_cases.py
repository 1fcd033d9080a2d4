"""What the tests of the baselines share: a knowledge base of a few names, and a way to run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from kb_builder.store.knowledge_base import KnowledgeBase

# code, name, group, whether it is the concept's preferred title
ROWS = (
    ("C1", "Chronic obstructive lung disease", "Disorders", 1),
    ("C1", "COLD", "Disorders", 0),
    ("C2", "Common cold", "Disorders", 1),
    ("C2", "Cold", "Disorders", 0),
    ("C3", "CoLD", "Disorders", 1),
    ("C3", "Cryopyrin-linked disease", "Disorders", 0),
    ("C4", "Cold (temperature)", "Physiology", 1),
    ("C4", "cOLD", "Physiology", 0),
    ("C5", "Straße", "Anatomy", 1),
)


def small_kb(folder: Path) -> KnowledgeBase:
    """The knowledge base of ROWS."""
    from kb_builder.build import BuildOptions, build_kb

    lines = ["code\tname\tgroup\tpreferred", *("\t".join(map(str, row)) for row in ROWS)]
    table = folder / "names.tsv"
    table.write_text("\n".join(lines) + "\n", encoding="utf-8")
    build_kb(BuildOptions(table, folder / "kb"))
    return KnowledgeBase.open(folder / "kb")


class Names:
    """As much of a knowledge base as a ranker reads: names in rows, and their concepts."""

    def __init__(self, names: list[str], concepts: list[int]) -> None:
        self.names, self.annotated = names, None
        self.row_concepts = np.array(concepts, dtype=np.int32)

    def names_of(self, rows: Any) -> list[str]:
        return [self.names[int(row)] for row in rows]


def document(name: str, text: str, *mentions: tuple[str, str]) -> dict[str, Any]:
    """A BigBio document of one passage; mentions as (words, type), each found once in the text."""
    entities = []
    for ordinal, (words, kind) in enumerate(mentions, start=1):
        start = text.index(words)
        entities.append(
            {
                "id": f"T{ordinal}", "type": kind, "text": [words],
                "offsets": [[start, start + len(words)]], "normalized": [],
            }
        )  # fmt: skip
    return {
        "id": name, "document_id": name,
        "passages": [{"id": "p", "type": "t", "text": [text], "offsets": [[0, len(text)]]}],
        "entities": entities, "events": [], "coreferences": [], "relations": [],
    }  # fmt: skip
