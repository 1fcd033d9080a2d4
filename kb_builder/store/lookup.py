"""Look-ups for people: where a text stands in a knowledge base, or why it does not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from kb_builder.errors import LongbelError
from kb_builder.semantics import resolve_group
from kb_builder.store.beside import CODES, RELATIONS, REPLACED, read_beside
from kb_builder.store.knowledge_base import KnowledgeBase


def look_up(
    base: KnowledgeBase, text: str, group: str | None = None, limit: int = 20
) -> dict[str, Any]:
    """Names that are `text`, in another case, or begin with it; and the audit's word on it.

    With a concept's code for `text`: that concept, its names, and what it lost. With a code of
    one of its source vocabularies: the concepts that have it, and their names. `concepts` holds
    codes, parents, children and former codes of each; `successors` what became of a retired
    code. At most `limit` of each; `n_…` count all.
    """
    if not _is_text(text):
        raise LongbelError(
            "the text to search for is not UTF-8", "Set a UTF-8 locale.", exit_code=2
        )
    group = None if group is None else _resolved(base, group)
    concept = base.concept(text)
    coded = np.zeros(0, np.int64) if concept is not None else _concepts_with_code(base, text)
    if concept is not None:
        matches = {"concept": base.names_of_concept(text, group)}
    else:
        codes = base.concept_codes(coded)
        of_codes = [base.names_of_concept(code, group) for code in codes]
        by_code = np.concatenate([np.zeros(0, np.int64), *of_codes])
        matches = {"source code": by_code} if len(coded) else {}
        hits = base.search(text, group)
        matches |= {match: np.setdiff1d(rows, by_code) for match, rows in hits.items()}
    names: list[dict[str, Any]] = []
    for match, rows_of_match in matches.items():
        names += _hits(base, match, rows_of_match[: limit - len(names)])
    decisions = _decisions(base.audit(), text, group, by_code=concept is not None)
    shown = [text] if concept is not None else base.concept_codes(coded[:limit])
    return {
        "concept": concept,
        "concepts": [_card(base, code, limit) for code in shown],
        "n_concepts": len(shown) if concept is not None else len(coded),
        "successors": _successors(base, text),
        "names": names,
        "n_names": int(sum(len(rows) for rows in matches.values())),
        "decisions": decisions.slice(0, limit).to_pylist(),
        "n_decisions": len(decisions),
    }


def _is_text(text: str) -> bool:
    """Not so what the shell gave in bytes of another encoding."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _resolved(base: KnowledgeBase, group: str) -> str:
    resolved = resolve_group(group, base.groups)
    if resolved is None:
        raise LongbelError(
            f"no semantic group {group!r} in {base.path}",
            hint=f"It has {', '.join(base.groups)}.",
            exit_code=2,
        )
    return resolved


def _concepts_with_code(base: KnowledgeBase, text: str) -> np.ndarray:
    """int64: rows in the concepts table of those that a source vocabulary calls `text`.

    `UMLS:C0015967` is C0015967 of UMLS; `HP:0001250` is all of it a code.
    """
    source, _, local = text.partition(":")
    concepts = [np.zeros(0, np.int64)]
    for code, vocabulary in ((text, None), (local, source)) if local else ((text, None),):
        table = read_beside(base.path, CODES, "source_code", code)
        if table is not None and vocabulary is not None:
            table = table.filter(pc.equal(table["source"].cast(pa.string()), vocabulary))
        if table is not None:
            concepts.append(table["concept"].to_numpy().astype(np.int64))
    return np.unique(np.concatenate(concepts))


def _card(base: KnowledgeBase, code: str, limit: int) -> dict[str, Any]:
    """What the tables beside the names say of a concept."""
    concept = base.concept(code)
    assert concept is not None
    index = base.concept_row(code)
    parents = _related(base, code, "child", "parent")
    children = _related(base, code, "parent", "child")
    codes = _codes_of(base, index)
    replaces = _rows(base, REPLACED, "new", code)
    return {
        **{key: concept[key] for key in ("code", "preferred_name", "semantic_types", "groups")},
        "n_names": concept["n_names"],
        "codes": codes[:limit],
        "n_codes": len(codes),
        "parents": parents[:limit],
        "n_parents": len(parents),
        "children": children[:limit],
        "n_children": len(children),
        "replaces": [{"old": row["old"], "reason": row["reason"]} for row in replaces[:limit]],
        "n_replaces": len(replaces),
    }


def _rows(base: KnowledgeBase, name: str, column: str, value: int | str) -> list[dict[str, Any]]:
    table = read_beside(base.path, name, column, value)
    return [] if table is None else table.to_pylist()


def _codes_of(base: KnowledgeBase, index: int) -> list[dict[str, Any]]:
    """Each source code of a concept once, with the names that have it."""
    names: dict[tuple[str, str], list[str]] = {}
    for row in _rows(base, CODES, "concept", index):
        of_code = names.setdefault((row["source"], row["source_code"]), [])
        if row["row"] is not None and base.name(row["row"]) not in of_code:
            of_code.append(base.name(row["row"]))
    return [
        {"source": source, "source_code": code, "names": of_code}
        for (source, code), of_code in names.items()
    ]


def _related(base: KnowledgeBase, code: str, column: str, other: str) -> list[dict[str, Any]]:
    rows = _rows(base, RELATIONS, column, code)
    return [
        {"code": row[other], "name": _title(base, row[other]), "kind": row["kind"]} for row in rows
    ]


def _successors(base: KnowledgeBase, text: str) -> list[dict[str, Any]]:
    rows = _rows(base, REPLACED, "old", text)
    return [
        {"code": row["new"], "name": _title(base, row["new"]), "reason": row["reason"]}
        for row in rows
    ]


def _title(base: KnowledgeBase, code: str | None) -> str | None:
    concept = None if code is None else base.concept(code)
    return None if concept is None else concept["preferred_name"]


def _hits(base: KnowledgeBase, match: str, rows: np.ndarray) -> list[dict[str, Any]]:
    names, codes = base.names_of(rows), base.codes_of(rows)
    return [
        {"match": match, "name": name, "code": code, "group": base.group(row), "row": row}
        for row, name, code in zip(rows.tolist(), names, codes, strict=True)
    ]


def _decisions(audit: pa.Table, text: str, group: str | None, by_code: bool) -> pa.Table:
    if by_code:
        chosen = pc.equal(audit["code"], text)
    else:
        chosen = pc.equal(pc.utf8_lower(audit["name"]), pc.utf8_lower(pa.scalar(text)))
    if group is not None:
        chosen = pc.and_(chosen, pc.equal(audit["group"].cast(pa.string()), group))
    return audit.filter(chosen)
