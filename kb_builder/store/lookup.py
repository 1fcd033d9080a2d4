"""Look-ups for people: where a text stands in a knowledge base, or why it does not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from kb_builder.errors import LongbelError
from kb_builder.semantics import resolve_group
from kb_builder.store.knowledge_base import KnowledgeBase


def look_up(
    base: KnowledgeBase, text: str, group: str | None = None, limit: int = 20
) -> dict[str, Any]:
    """Names that are `text`, in another case, or begin with it; and the audit's word on it.

    With a concept's code for `text`: that concept, its names, and what it lost. At most
    `limit` names and decisions; `n_names` and `n_decisions` count all.
    """
    if not _is_text(text):
        raise LongbelError(
            "what is searched for is no text in UTF-8", "Set a UTF-8 locale.", exit_code=2
        )
    if group is not None:
        resolved = resolve_group(group, base.groups)
        if resolved is None:
            raise LongbelError(
                f"no semantic group {group!r} in {base.path}",
                hint=f"It has {', '.join(base.groups)}.",
                exit_code=2,
            )
        group = resolved
    concept = base.concept(text)
    if concept is not None:
        matches = {"concept": base.names_of_concept(text, group)}
    else:
        matches = base.search(text, group)
    names: list[dict[str, Any]] = []
    for match, rows in matches.items():
        names += _hits(base, match, rows[: limit - len(names)])
    decisions = _decisions(base.audit(), text, group, by_code=concept is not None)
    return {
        "concept": concept,
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
