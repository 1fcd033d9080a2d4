"""The names of a knowledge base as training needs them: by concept, and by form.

Looked up where they lie, or all held in memory. Knows nothing of tries, models or documents.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from kb_builder.store.knowledge_base import KnowledgeBase
from kb_builder.terms import Term


class Name(NamedTuple):
    """One name of one concept in one semantic group, and the language it is written in.

    `preferred` says that it is the concept's preferred title.
    """

    text: str
    code: str
    group: str
    language: str
    preferred: bool = False


_BLOCK = 1 << 14
_COLUMNS = ("name", "code", "group", "language", "preferred")


def folded(text: str) -> str:
    """The form under which two spellings of a name are taken as the same."""
    return " ".join(text.casefold().replace("-", " ").split())


@dataclass(frozen=True)
class Lexicon:
    """All names of a knowledge base, in the order of its table."""

    names: tuple[Name, ...]

    @cached_property
    def by_concept(self) -> dict[tuple[str, str], tuple[Name, ...]]:
        """The names of each (code, group), in table order."""
        concepts: dict[tuple[str, str], list[Name]] = {}
        for name in self.names:
            concepts.setdefault((name.code, name.group), []).append(name)
        return {concept: tuple(names) for concept, names in concepts.items()}

    @cached_property
    def codes_by_form(self) -> dict[tuple[str, str], frozenset[str]]:
        """The codes that a folded form stands for in a group."""
        forms: dict[tuple[str, str], set[str]] = {}
        for name in self.names:
            forms.setdefault((folded(name.text), name.group), set()).add(name.code)
        return {form: frozenset(codes) for form, codes in forms.items()}

    @cached_property
    def groups(self) -> tuple[str, ...]:
        return tuple(sorted({name.group for name in self.names}))

    def of_concept(self, code: str, group: str) -> tuple[Name, ...]:
        return self.by_concept.get((code, group), ())

    def __len__(self) -> int:
        return len(self.names)

    def texts(self) -> Iterator[str]:
        """All names, in table order."""
        return (name.text for name in self.names)


@dataclass(frozen=True)
class StoredNames:
    """The same questions to the names on disk."""

    knowledge_base: KnowledgeBase

    def of_concept(self, code: str, group: str) -> tuple[Name, ...]:
        base = self.knowledge_base
        if group not in base.groups:
            return ()
        return tuple(_name(base.term(row)) for row in base.names_of_concept(code, group).tolist())

    def __len__(self) -> int:
        return self.knowledge_base.n_names

    def texts(self) -> Iterator[str]:
        """All names, in table order."""
        for start in range(0, len(self), _BLOCK):
            rows = np.arange(start, min(start + _BLOCK, len(self)))
            yield from self.knowledge_base.names_of(rows)


def _name(term: Term) -> Name:
    return Name(
        term.name, term.concept_id, term.semantic_group, term.language or "", term.preferred
    )


def read_lexicon(kb: Path) -> Lexicon:
    """The names of the knowledge base in that directory."""
    import pyarrow.parquet as parquet

    table = parquet.read_table(kb / "names.parquet", columns=list(_COLUMNS))
    columns: Sequence[list[Any]] = [column.to_pylist() for column in table.columns]
    return Lexicon(tuple(Name(*row) for row in zip(*columns, strict=True)))
