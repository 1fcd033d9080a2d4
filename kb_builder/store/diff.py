"""What differs between two knowledge bases: concepts and names, by semantic group.

A concept is there if it has a name. One that is gone is replaced if the newer knowledge base says
by which concept, else retired.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from kb_builder.store.knowledge_base import KnowledgeBase
from kb_builder.store.successors import Successors

CONCEPTS = ("added", "retired", "replaced", "without_names")
CODES = (*CONCEPTS, "unknown")  # of codes that somebody uses: unknown to both
NAMES = ("names_added", "names_dropped", "names_moved", "names_followed")


@dataclass
class Difference:
    """Counts by group, and the concepts and names themselves."""

    groups: dict[str, dict[str, int]]  # CONCEPTS and NAMES of each
    total: dict[str, int]  # a concept of several groups counts once
    knows_successors: bool
    added: list[str] = field(default_factory=list)
    retired: list[str] = field(default_factory=list)
    replaced: list[dict[str, str]] = field(default_factory=list)  # old, new, reason
    without_names: list[str] = field(default_factory=list)
    moved: list[dict[str, str]] = field(default_factory=list)  # group, name, old, new


class Comparison:
    """Two knowledge bases side by side."""

    def __init__(self, old: KnowledgeBase, new: KnowledgeBase) -> None:
        self.old, self.new = old, new
        self._successors = Successors.of_knowledge_base(new.path)
        self._old_held, self._new_held = _with_names(old), _with_names(new)
        codes = old.concept_codes(np.arange(old.n_concepts))
        held = pa.array(new.concept_codes(np.arange(new.n_concepts)), pa.large_string())
        self._codes = codes
        rows = pc.index_in(pa.array(codes, pa.large_string()), value_set=held)
        self._same = rows.fill_null(-1).to_numpy(zero_copy_only=False)  # rows in new
        self._fate: dict[int, tuple[str, int, str]] = {}  # of old rows: what, row in new, why
        for row in np.flatnonzero(self._old_held).tolist():
            fate = self._fate_of(row)
            if fate is not None:
                self._fate[row] = fate

    def _fate_of(self, row: int) -> tuple[str, int, str] | None:
        """None of a concept that is still there."""
        if self._same[row] >= 0:
            return None if self._new_held[self._same[row]] else ("without_names", -1, "")
        if self._successors is not None:
            successor = self._successors.follow(self._codes[row], self._is_named)
            if successor is not None and successor.code is not None:
                return "replaced", self.new.concept_row(successor.code), successor.reason
        return "retired", -1, ""

    def _is_named(self, code: str) -> bool:
        concept = self.new.concept(code)
        return concept is not None and concept["n_names"] > 0

    def difference(self) -> Difference:
        """Everything that differs."""
        result = Difference({}, dict.fromkeys((*CONCEPTS, *NAMES), 0), self._successors is not None)
        new_codes = self.new.concept_codes
        for row, (what, other, reason) in self._fate.items():
            code = self._codes[row]
            result.total[what] += 1
            if what == "replaced":
                row_of = {"old": code, "new": new_codes([other])[0], "reason": reason}
                result.replaced.append(row_of)
            else:
                getattr(result, what).append(code)
        was_there = np.zeros(self.new.n_concepts, dtype=bool)
        same = self._same[self._old_held]
        was_there[same[same >= 0]] = True
        added = np.flatnonzero(self._new_held & ~was_there)
        result.added = new_codes(added)
        result.total["added"] = len(added)
        for group in sorted({*self.old.groups, *self.new.groups}):
            result.groups[group] = self._of_group(group, was_there, result)
        for name in NAMES:
            result.total[name] = sum(counts[name] for counts in result.groups.values())
        return result

    def _of_group(self, group: str, was_there: np.ndarray, result: Difference) -> dict[str, int]:
        old_names, old_concept = _names_of(self.old, group)
        new_names, new_concept = _names_of(self.new, group)
        counts = dict.fromkeys((*CONCEPTS, *NAMES), 0)
        for row in np.unique(old_concept).tolist():
            if row in self._fate:
                counts[self._fate[row][0]] += 1
        counts["added"] = int(np.count_nonzero(~was_there[np.unique(new_concept)]))
        rows = pc.index_in(new_names, value_set=old_names).fill_null(-1)
        at = rows.to_numpy(zero_copy_only=False)
        both = np.flatnonzero(at >= 0)
        counts["names_added"] = len(new_names) - len(both)
        counts["names_dropped"] = len(old_names) - len(both)
        before, after = old_concept[at[both]], new_concept[both]
        moved = np.flatnonzero(self._same[before] != after)
        for index in moved.tolist():
            owner, now = int(before[index]), int(after[index])
            if self._fate.get(owner, ("", -1, ""))[1] == now:
                counts["names_followed"] += 1
                continue
            counts["names_moved"] += 1
            result.moved.append(
                {
                    "group": group,
                    "name": new_names[int(both[index])].as_py(),
                    "old": self._codes[owner],
                    "new": self.new.concept_codes([now])[0],
                }
            )
        return counts

    def fates(self, codes: Iterable[str]) -> dict[str, dict[str, Any]]:
        """What becomes of codes, sorted; those that both knowledge bases have are left out.

        `status` is one of CODES; `becomes` and `reason` are there where it is replaced.
        """
        fates = {code: self._fate_of_code(code) for code in sorted(set(codes))}
        return {code: fate for code, fate in fates.items() if fate["status"] != "kept"}

    def _fate_of_code(self, code: str) -> dict[str, Any]:
        was = self.old.concept(code)
        was_named = was is not None and was["n_names"] > 0
        if self._is_named(code):
            return _fate("kept" if was_named else "added")
        if self.new.has_code(code):
            return _fate("without_names")
        successors = self._successors
        successor = None if successors is None else successors.follow(code, self._is_named)
        if successor is not None and successor.code is not None:
            return _fate("replaced", successor.code, successor.reason)
        return _fate("retired" if was_named or successor is not None else "unknown")


def _fate(status: str, becomes: str | None = None, reason: str | None = None) -> dict[str, Any]:
    return {"status": status, "becomes": becomes, "reason": reason}


def _with_names(base: KnowledgeBase) -> np.ndarray:
    held = np.zeros(base.n_concepts, dtype=bool)
    held[base.row_concepts] = True
    return held


def _names_of(base: KnowledgeBase, group: str) -> tuple[pa.Array, np.ndarray]:
    """The names of a group and their concepts' rows; nothing of a group that it lacks."""
    if group not in base.groups:
        return pa.array([], pa.large_string()), np.zeros(0, np.int32)
    rows = base.rows_of_group(group)
    return base.name_column(rows), base.row_concepts[rows.start : rows.stop]
