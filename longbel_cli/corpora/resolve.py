"""From what a corpus calls a mention's type to the semantic group as the knowledge base spells it.

Knows the table of UMLS types and groups only through `kb_builder.semantics`.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from kb_builder.errors import LongbelError
from longbel_cli.corpora.records import OnProblem, Problem
from longbel_cli.types import Document, Mention

UNKNOWN = {
    "error": "refuse the corpus",
    "skip": "leave their mentions out",
    "all": "link their mentions to names of all groups",
}


class TypeResolver:
    """Types to groups, each looked up once. `type_map` is asked first; its groups may be spelled
    in any of the ways a type may. Raises LongbelError where it names a group the KB lacks."""

    def __init__(self, groups: Sequence[str], type_map: Mapping[str, str] | None = None) -> None:
        from kb_builder.semantics import resolve_group

        self.groups = tuple(groups)
        self._resolve = resolve_group
        self._known: dict[str, str | None] = {}
        for entity_type, group in (type_map or {}).items():
            spelled = resolve_group(group, self.groups)
            if spelled is None:
                raise LongbelError(
                    f"the type map sends {entity_type!r} to {group!r}, "
                    "which is no group of the knowledge base",
                    f"It has: {', '.join(self.groups)}.",
                )
            self._known[entity_type] = spelled

    def group(self, entity_type: str) -> str | None:
        """The group of a type, None if it has none."""
        if entity_type not in self._known:
            group = self._resolve(entity_type, self.groups)
            if group is None and "_" in entity_type:
                # BRAT's types hold no blanks: Disease_or_Syndrome.
                group = self._resolve(entity_type.replace("_", " "), self.groups)
            self._known[entity_type] = group
        return self._known[entity_type]

    def unmapped(self, types: Mapping[str, int]) -> dict[str, int]:
        """The types that have no group, with their counts, the most frequent first."""
        lacking = {name: count for name, count in types.items() if self.group(name) is None}
        return dict(sorted(lacking.items(), key=lambda pair: (-pair[1], pair[0])))

    def require(self, types: Mapping[str, int]) -> None:
        """Raise LongbelError naming every type that has no group, with its count."""
        lacking = self.unmapped(types)
        if lacking:
            listed = ", ".join(f"{name} ({count})" for name, count in lacking.items())
            raise LongbelError(
                f"entity types without a semantic group of the knowledge base: {listed}",
                f"The knowledge base has: {', '.join(self.groups)}. Map them with --type-map "
                "FILE (lines of `type<TAB>group`), or link with --unknown-group skip or all.",
            )


def resolve_types(
    documents: Iterable[Document],
    resolver: TypeResolver,
    unknown: str = "error",
    on_problem: OnProblem | None = None,
) -> Iterator[Document]:
    """The documents with each mention's semantic group as the knowledge base spells it.

    What has none: `error` raises LongbelError, `skip` leaves the mention out and tells
    `on_problem`, `all` keeps it with the corpus's type as its group.
    """
    for document in documents:
        kept: list[Mention] = []
        for mention in document.mentions:
            group = resolver.group(mention.entity_type)
            if group is not None:
                kept.append(replace(mention, semantic_group=group))
            elif unknown == "all":
                kept.append(mention)
            else:
                problem = _without_group(document, mention)
                if unknown == "error":
                    raise LongbelError(
                        problem.message,
                        f"The knowledge base has: {', '.join(resolver.groups)}. "
                        "See --type-map and --unknown-group.",
                    )
                if on_problem is not None:
                    on_problem(problem)
        yield replace(document, mentions=tuple(kept))


def _without_group(document: Document, mention: Mention) -> Problem:
    reason = f"its type {mention.entity_type!r} is no semantic group of the knowledge base"
    return Problem(document.source, mention.line, document.id, mention.id, reason, False)


def load_type_map(path: Path | str) -> dict[str, str]:
    """A type map: a JSON object, or lines `type<TAB>group` (or CSV); `#` starts a comment line."""
    file = Path(path)
    try:
        text = file.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise LongbelError(f"{path}: the type map cannot be read ({error.strerror})") from None
    except UnicodeDecodeError as error:
        raise LongbelError(f"{path}: the type map is not UTF-8 (byte {error.start})") from None
    if text.lstrip().startswith("{"):
        return _json_map(file, text)
    return dict(_table_rows(file, text))


def _json_map(path: Path, text: str) -> dict[str, str]:
    try:
        groups = json.loads(text)
    except ValueError as error:
        raise LongbelError(f"{path}: the type map is broken JSON ({error})") from None
    if not all(isinstance(group, str) for group in groups.values()):
        raise LongbelError(f"{path}: every value of the type map must be the name of a group")
    return groups


def _table_rows(path: Path, text: str) -> Iterator[tuple[str, str]]:
    for line_number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        row = line.split("\t") if "\t" in line else next(csv.reader([line]))
        if len(row) != 2 or not row[0].strip() or not row[1].strip():
            raise LongbelError(
                f"{path}:{line_number}: a line of the type map needs two columns, type and group"
            )
        yield row[0].strip(), row[1].strip()
