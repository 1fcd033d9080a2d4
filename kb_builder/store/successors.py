"""What became of retired codes, followed to the last successor.

The reasons are those of sources: after `merged` and `replaced` the successor means the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from kb_builder.store.beside import REPLACED, open_beside

SAME = pa.array(["merged", "replaced"], pa.large_string())


class Successor(NamedTuple):
    """The code that stands for a retired one, None where nothing does, and why."""

    code: str | None
    reason: str


class Successors:
    """Successors by retired code, of a table of `old`, `new` and `reason`."""

    def __init__(self, rows: Iterable[tuple[str, str | None, str]]) -> None:
        self._of: dict[str, Successor] = {}
        for old, new, reason in rows:
            known = self._of.get(old)
            if known is None or known.code is None:
                self._of[old] = Successor(new, reason)

    @classmethod
    def of_knowledge_base(cls, folder: Path) -> Successors | None:
        """Those that a knowledge base keeps; None where it keeps none."""
        table = open_beside(folder, REPLACED)
        if table is None:
            return None
        wanted = pc.or_(pc.is_in(table["reason"], value_set=SAME), pc.is_null(table["new"]))
        columns = (table.filter(wanted)[name].to_pylist() for name in ("old", "new", "reason"))
        return cls(zip(*columns, strict=True))

    def __len__(self) -> int:
        return len(self._of)

    def final(self, is_known: Callable[[str], bool]) -> dict[str, str]:
        """The known successor of each retired code that has one."""
        followed = ((old, self.follow(old, is_known)) for old in self._of)
        return {old: each.code for old, each in followed if each is not None and each.code}

    def follow(self, code: str, is_known: Callable[[str], bool]) -> Successor | None:
        """The first successor, or successor's successor, that is known; None without any.

        A code that is retired without a known successor gives one without a code.
        """
        seen = {code}
        successor = self._of.get(code)
        while successor is not None and successor.code is not None:
            if is_known(successor.code):
                return successor
            if successor.code in seen:
                break
            seen.add(successor.code)
            successor = self._of.get(successor.code)
        first = self._of.get(code)
        return None if first is None else Successor(None, first.reason)
