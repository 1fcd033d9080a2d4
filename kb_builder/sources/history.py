"""Codes that a terminology has retired, and what became of them.

A code has one successor that means the same; a second one is a contradiction and quarantined.
Successors that only come near (broader, narrower, related) may be several.
"""

from __future__ import annotations

from collections.abc import Callable

import pyarrow as pa
import pyarrow.compute as pc

from kb_builder.sources.selection import BadRows

# Why a code is gone. Of the first ones the successor means the same.
SAME = ("merged", "replaced")
REASONS = (*SAME, "broader", "narrower", "related", "retired")
_SCHEMA = pa.schema([(name, pa.large_string()) for name in ("old", "new", "reason")])


class Retirements:
    """Gathers retired codes as they are read."""

    def __init__(self, bad: BadRows) -> None:
        self._bad = bad
        self._successor: dict[str, tuple[str, str, int]] = {}  # with its file and line
        self._batches: list[pa.RecordBatch] = []

    def add(self, old: str, new: str | None, reason: str, file: str, line: int) -> None:
        """One code, retired at a line of a file."""
        self.extend([old], [new], [reason], file, [line])

    def extend(
        self, old: list[str], new: list[str | None], reason: list[str], file: str, lines: list[int]
    ) -> None:
        """Several codes in turn."""
        kept = [
            self._is_consistent(code, successor, why, file, line)
            for code, successor, why, line in zip(old, new, reason, lines, strict=True)
        ]
        columns = [pa.array(column, pa.large_string()) for column in (old, new, reason)]
        batch = pa.RecordBatch.from_arrays(columns, schema=_SCHEMA)
        self._batches.append(batch.filter(pa.array(kept, pa.bool_())))

    def _is_consistent(self, old: str, new: str | None, reason: str, file: str, line: int) -> bool:
        if reason not in SAME or new is None:
            return True
        if old == new:
            self._bad.add(file, line, f"{old} is retired in favour of itself")
        elif self._successor.setdefault(old, (new, file, line))[0] != new:
            self._bad.add(file, line, f"{old} is retired twice")
        else:
            return True
        return False

    def table(self, is_in_use: Callable[[str], bool] = lambda code: False) -> pa.Table:
        """Distinct rows, sorted; a code that has a successor is not also listed without one.

        A code that is in use is not retired: what says so is quarantined.
        """
        table = pa.Table.from_batches(self._batches, _SCHEMA)
        in_use = [code for code in self._successor if is_in_use(code)]
        for code in in_use:
            _, file, line = self._successor[code]
            self._bad.add(file, line, f"{code} is retired and in use")
        table = table.filter(pc.invert(pc.is_in(table["old"], pa.array(in_use, pa.large_string()))))
        table = table.group_by(_SCHEMA.names, use_threads=False).aggregate([])
        followed = pc.is_in(table["old"], value_set=table.filter(pc.is_valid(table["new"]))["old"])
        table = table.filter(pc.or_(pc.is_valid(table["new"]), pc.invert(followed)))
        # Of one successor the first reason that is given: an alt_id may be replaced_by as well.
        rank = pc.index_in(table["reason"], value_set=pa.array(REASONS, pa.large_string()))
        table = table.append_column("rank", rank)
        best = table.group_by(["old", "new"], use_threads=False).aggregate([("rank", "min")])
        words = pa.array(REASONS, pa.large_string()).take(best["rank_min"].combine_chunks())
        table = pa.table({"old": best["old"], "new": best["new"], "reason": words})
        return table.sort_by([("old", "ascending"), ("new", "ascending")]).combine_chunks()
