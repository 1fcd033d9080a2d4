"""Tables of a knowledge base in two forms: Parquet, and an Arrow file that is mapped, not read."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from kb_builder.errors import LongbelError

BUILD_AGAIN = "Build the knowledge base again."


def check_name(path: Path) -> None:
    """Raise LongbelError where a path is not UTF-8: pyarrow opens no such files."""
    try:
        str(path).encode("utf-8")
    except UnicodeEncodeError:
        raise LongbelError(
            f"{path}: the path of a knowledge base must be UTF-8", "Choose another name."
        ) from None


def open_table(folder: Path, name: str) -> pa.Table:
    """A table by memory map; from Parquet where the mapped copy is missing."""
    mapped = folder / f"{name}.arrow"
    if mapped.is_file():
        return read_mapped(mapped)
    return read_stored(folder / f"{name}.parquet").combine_chunks()


def read_stored(path: Path, hint: str = BUILD_AGAIN) -> pa.Table:
    """A Parquet file as a table."""
    if not path.is_file():
        raise LongbelError(f"{path.parent}: {path.name} is missing", hint=hint)
    try:
        return pq.read_table(path, memory_map=True)
    except (pa.ArrowException, OSError) as error:
        raise LongbelError(f"{path}: damaged ({type(error).__name__})", hint=hint) from error


def read_mapped(path: Path, hint: str = BUILD_AGAIN) -> pa.Table:
    """An Arrow file as a table over mapped memory."""
    try:
        return pa.ipc.open_file(pa.memory_map(str(path))).read_all()
    except (pa.ArrowException, OSError) as error:
        raise LongbelError(f"{path}: damaged ({type(error).__name__})", hint=hint) from error


def write_mapped(table: pa.Table, path: Path) -> None:
    """`table` as one uncompressed batch, so that its columns are mapped in one piece."""
    with pa.ipc.new_file(str(path), table.schema) as writer:
        writer.write_table(table.combine_chunks())


def write_tables(table: pa.Table, folder: Path, name: str) -> None:
    """A table in both its forms."""
    pq.write_table(
        table, folder / f"{name}.parquet", compression="zstd", use_dictionary=_repeating(table),
        write_statistics=False,
    )  # fmt: skip
    write_mapped(table, folder / f"{name}.arrow")


def _repeating(table: pa.Table) -> list[str]:
    """Columns in which values recur, the ones that a dictionary makes smaller."""
    return [name for name in table.column_names if name in ("group", "language", "rule")]
