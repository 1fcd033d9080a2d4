"""Tables beside the names, which linking never opens: source codes, parents, retired codes.

Here they are read; `source_tables` makes them.
"""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from kb_builder.errors import LongbelError
from kb_builder.files import new_sha256
from kb_builder.store.tables import BUILD_AGAIN, read_stored

CODES, RELATIONS, REPLACED, DOCUMENTS = "codes", "relations", "replaced", "documents"


def open_beside(folder: Path, name: str) -> pa.Table | None:
    """A whole table; None where there is no such table."""
    path = folder / f"{name}.parquet"
    return read_stored(path) if path.is_file() else None


def read_beside(folder: Path, name: str, column: str, value: int | str) -> pa.Table | None:
    """The rows of a table in which `column` is `value`; None where there is no such table."""
    path = folder / f"{name}.parquet"
    if not path.is_file():
        return None
    try:
        return pq.read_table(path, filters=[(column, "=", value)])
    except (pa.ArrowException, OSError) as error:
        raise LongbelError(f"{path}: damaged ({type(error).__name__})", BUILD_AGAIN) from error


def document_hash(document: str) -> str:
    """What stands for a document's id: ids may say who a patient is."""
    return new_sha256(document.encode("utf-8", "surrogatepass")).hexdigest()[:32]
