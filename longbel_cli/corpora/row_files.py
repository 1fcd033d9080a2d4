"""Rows of Parquet files, and of the Arrow files that `datasets` saves, as JSON has them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from longbel_cli.corpora.records import UnreadableError

_ARROW = ".arrow"
_BATCH = 64


def is_row_file(path: str) -> bool:
    """Whether the name says that this is such a file."""
    return path.lower().endswith((".parquet", ".pq", _ARROW))


def rows(path: str, start: int) -> Iterator[tuple[int, Any]]:
    """The rows from number `start` on, each with its number."""
    import pyarrow as pa

    batches = _arrow_batches if path.lower().endswith(_ARROW) else _parquet_batches
    try:
        for first, batch in batches(path, start):
            for row_index, value in enumerate(batch.to_pylist(), start=first):
                if row_index >= start:
                    yield row_index, value
    except OSError as error:
        reason = error.strerror or "it is no Parquet or Arrow file or is damaged"
        raise UnreadableError(f"the file cannot be read ({reason})") from None
    except pa.ArrowException:
        reason = "no Parquet or Arrow file, or damaged"
        raise UnreadableError(f"the file cannot be read ({reason})") from None
    except (ValueError, OverflowError):
        raise UnreadableError(
            "a value of the file is no text or date; the rest of the file is left out"
        ) from None


def _parquet_batches(path: str, start: int) -> Iterator[tuple[int, Any]]:
    """Batches, each with the number of its first row; row groups before `start` are passed over."""
    import pyarrow.parquet as pq

    table = pq.ParquetFile(path)
    row = 0
    for group in range(table.num_row_groups):
        size = table.metadata.row_group(group).num_rows
        if row + size <= start:
            row += size
            continue
        for batch in table.iter_batches(batch_size=_BATCH, row_groups=[group]):
            yield row, batch
            row += batch.num_rows


def _arrow_batches(path: str, start: int) -> Iterator[tuple[int, Any]]:
    """As `_parquet_batches`, of a stream of Arrow or of an Arrow file."""
    import pyarrow as pa

    with pa.memory_map(path) as source:
        row = 0
        for batch in _whole_batches(source):
            for first in range(0, batch.num_rows, _BATCH):
                if row + first + _BATCH > start:
                    yield row + first, batch.slice(first, _BATCH)
            row += batch.num_rows


def _whole_batches(source: Any) -> Iterator[Any]:
    import pyarrow as pa

    is_file = source.read(6) == b"ARROW1"
    source.seek(0)
    if not is_file:
        yield from pa.ipc.open_stream(source)
        return
    reader = pa.ipc.open_file(source)
    for index in range(reader.num_record_batches):
        yield reader.get_batch(index)
