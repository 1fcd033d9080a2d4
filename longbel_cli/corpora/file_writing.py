"""What outputs of one file share: options, the rows of tables, and how tables are written."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from kb_builder.text import no_formula
from longbel_cli.corpora.records import Read
from longbel_cli.types import Prediction

if TYPE_CHECKING:
    from longbel_cli.corpora.omop_options import OmopOptions

Predictions = Mapping[str, Prediction]
"""By mention id."""
_BATCH = 8192


class ConceptFacts(Protocol):
    """What a knowledge base says of a concept beside its name."""

    @property
    def vocabularies(self) -> tuple[str, ...]:
        """Those whose codes are asked for."""
        ...

    def source_codes(self, code: str, vocabulary: str) -> Sequence[str]:
        """What a vocabulary calls a concept, none where it does not have it."""
        ...

    def semantic_types(self, code: str) -> Sequence[str]:
        """The semantic types of a concept."""
        ...


@dataclass(frozen=True)
class OutputOptions:
    """`text`: mentions' texts too. `candidates`: so many rows a mention, None for the answer alone.
    `types`: semantic types too. `facts` is there where vocabularies or types are,
    `omop` for NOTE_NLP."""

    text: bool = False
    candidates: int | None = None
    types: bool = False
    for_spreadsheet: bool = False
    facts: ConceptFacts | None = None
    omop: OmopOptions | None = None


class FileWriter(Protocol):
    """Writes a file document by document."""

    def write(self, read: Read, predictions: Predictions) -> None: ...

    def close(self) -> None:
        """Finish the file, and log what it could not hold."""
        ...


class RowWriter(Protocol):
    """Writes rows with the columns of a schema."""

    def write(self, row: Sequence[Any]) -> None: ...

    def close(self) -> None: ...


class ParquetRows:
    """Rows in a Parquet file, so many at a time."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._schema, self._rows = schema, list[Sequence[Any]]()
        self._writer = pq.ParquetWriter(path, schema, compression="zstd")

    def write(self, row: Sequence[Any]) -> None:
        self._rows.append(row)
        if len(self._rows) == _BATCH:
            self._flush()

    def close(self) -> None:
        self._flush()
        self._writer.close()

    def _flush(self) -> None:
        columns = [
            pa.array([row[index] for row in self._rows], field.type)
            for index, field in enumerate(self._schema)
        ]
        self._writer.write_table(pa.table(columns, schema=self._schema))
        self._rows.clear()


class TextRows:
    """Rows in a file of text with a header; nothing is an empty cell. With `for_spreadsheet` no
    cell is computed as a formula."""

    def __init__(
        self, path: Path, schema: pa.Schema, delimiter: str, for_spreadsheet: bool = False
    ) -> None:
        self._change: Callable[[str], str] = no_formula if for_spreadsheet else str
        self._handle = path.open("w", encoding="utf-8", newline="")
        self._writer = csv.writer(self._handle, delimiter=delimiter, lineterminator="\n")
        self._writer.writerow(schema.names)

    def write(self, row: Sequence[Any]) -> None:
        self._writer.writerow([self._change(_cell(value)) for value in row])

    def close(self) -> None:
        self._handle.close()


def row_writer(
    path: Path, suffix: str, schema: pa.Schema, for_spreadsheet: bool = False
) -> RowWriter:
    """Rows as Parquet, or as text with commas or tabs."""
    if suffix == ".parquet":
        return ParquetRows(path, schema)
    return TextRows(path, schema, "\t" if suffix == ".tsv" else ",", for_spreadsheet)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)
