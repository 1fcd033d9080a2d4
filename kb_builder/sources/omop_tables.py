"""The files of an OMOP vocabulary folder in batches of columns: numbers and texts.

Athena's `.csv` files have tabs between fields, a header, and no quoting at all. Knows the names of
their columns, not what they mean.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from kb_builder.errors import LongbelError
from kb_builder.files import new_sha256
from kb_builder.sources.archives import StoredFile
from kb_builder.sources.delimited import readable, tabbed_rows
from kb_builder.sources.reading import Reading
from kb_builder.sources.rrf import Rows

CONCEPT, SYNONYM, RELATIONSHIP = "CONCEPT.csv", "CONCEPT_SYNONYM.csv", "CONCEPT_RELATIONSHIP.csv"
COLUMNS = {
    CONCEPT: (
        "concept_id", "concept_name", "domain_id", "vocabulary_id", "concept_class_id",
        "standard_concept", "concept_code", "invalid_reason",
    ),
    SYNONYM: ("concept_id", "concept_synonym_name", "language_concept_id"),
    RELATIONSHIP: ("concept_id_1", "concept_id_2", "relationship_id", "invalid_reason"),
}  # fmt: skip
_NOT_A_NUMBER = "an id that is no number"
# Which rows are wanted, by their bytes and the places of columns: bool[n].
Chosen = Callable[[Rows, dict[str, int]], np.ndarray]


class OmopTable:
    """One file in batches of the columns that are needed."""

    def __init__(self, file: StoredFile, reading: Reading) -> None:
        self.name = file.name
        self._file = file
        self._reading = reading
        self._digest = new_sha256()
        self._n_rows = 0

    @property
    def about(self) -> dict[str, object]:
        """What is to be said of the file, once all rows were taken."""
        return {"name": self.name, "rows": self._n_rows, "sha256": self._digest.hexdigest()}

    def rows(
        self, ids: tuple[str, ...], texts: tuple[str, ...], chosen: Chosen | None = None
    ) -> Iterator[Batch]:
        """The rows that are chosen and can be read: lines, columns of numbers, and of text."""
        bad = self._reading.bad
        for header, rows, unreadable, n_lines in tabbed_rows(
            self._file.blocks(self._digest.update), self._file.location
        ):
            fields = self._places(header)
            self._n_rows += n_lines
            if chosen is not None:
                rows = rows.where(chosen(rows, fields))
            lines, columns, no_text = readable(
                rows.lines, {name: rows.column(fields[name]) for name in (*ids, *texts)}
            )
            integers, good = _numbers({name: columns[name] for name in ids}, len(lines))
            bad.add_all(self.name, sorted(unreadable + no_text))
            for line in lines[~good].tolist():
                bad.add(self.name, line, _NOT_A_NUMBER)
            kept = {name: columns[name].filter(pa.array(good)) for name in texts}
            self._reading.progress(self.name, self._n_rows, None)
            yield Batch(lines[good], {name: integers[name][good] for name in ids}, kept)
        bad.check(self.name, self._n_rows, required=self.name == "CONCEPT.csv")

    def _places(self, header: list[str]) -> dict[str, int]:
        lower = [name.strip().casefold() for name in header]
        lacking = [name for name in COLUMNS[self.name] if name not in lower]
        if lacking:
            raise LongbelError(
                f"{self._file.location}:1: no column {lacking[0]}",
                hint="Athena's files have tabs between their columns, and a header.",
            )
        return {name: lower.index(name) for name in COLUMNS[self.name]}


class Batch(NamedTuple):
    lines: np.ndarray
    numbers: dict[str, np.ndarray]  # int64
    texts: dict[str, pa.LargeStringArray]


def _numbers(
    columns: dict[str, pa.LargeStringArray], n: int
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Columns of ids as numbers, and which rows have only ids."""
    integers, good = {}, np.ones(n, dtype=bool)
    for name, column in columns.items():
        try:
            integers[name] = column.cast(pa.int64()).to_numpy(zero_copy_only=False)
        except pa.ArrowInvalid:
            texts = column.to_pylist()
            is_number = np.array([text.isascii() and text.isdigit() for text in texts], dtype=bool)
            good &= is_number
            integers[name] = np.array(
                [int(text[:18]) if ok else 0 for text, ok in zip(texts, is_number, strict=True)],
                dtype=np.int64,
            )
    return integers, good
