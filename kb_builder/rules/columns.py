"""Small operations on columns that the rules are written in: numpy arrays and Arrow strings."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


def distinct(values: np.ndarray) -> np.ndarray:
    """The distinct values in order. By sorting: several times faster here than `np.unique`."""
    values = np.sort(values)
    return values[starts_of_runs(values)] if len(values) else values


def used(indices: np.ndarray, n: int) -> np.ndarray:
    """The distinct ones of numbers below `n`, in order."""
    flags = np.zeros(n, dtype=bool)
    flags[indices] = True
    return np.flatnonzero(flags)


def is_in(values: np.ndarray, among: np.ndarray) -> np.ndarray:
    """bool[n]: which values are among the others."""
    if len(among) == 0:
        return np.zeros(len(values), dtype=bool)
    among = np.sort(among)
    nearest = np.minimum(np.searchsorted(among, values), len(among) - 1)
    return among[nearest] == values


def starts_of_runs(*columns: np.ndarray) -> np.ndarray:
    """bool[n]: where a run of equal values begins in sorted columns."""
    starts = np.ones(len(columns[0]), dtype=bool)
    starts[1:] = False
    for column in columns:
        starts[1:] |= column[1:] != column[:-1]
    return starts


def runs(*columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Starts and sizes of the runs of equal values in sorted columns."""
    start = np.flatnonzero(starts_of_runs(*columns))
    return start, np.diff(np.append(start, len(columns[0])))


def pairs(high: np.ndarray, low: np.ndarray) -> np.ndarray:
    """int64[n]: two numbers below 2**31 as one."""
    return high.astype(np.int64) << 32 | low


def indices_of(encoded: pa.ChunkedArray) -> np.ndarray:
    """int32[n]: the indices of a dictionary-encoded column, whose chunks share one dictionary."""
    chunks = (chunk.indices.to_numpy() for chunk in encoded.chunks)
    return np.concatenate([np.zeros(0, np.int32), *chunks])


def sorted_texts(distinct: pa.LargeStringArray) -> tuple[pa.LargeStringArray, np.ndarray]:
    """Distinct texts in code-point order, and int32[n]: the place of each one in it."""
    order = pc.sort_indices(distinct).to_numpy()
    rank = np.empty(len(order), dtype=np.int32)
    rank[order] = np.arange(len(order), dtype=np.int32)
    return distinct.take(pa.array(order)), rank


def bytes_of(strings: pa.LargeStringArray) -> tuple[np.ndarray, np.ndarray]:
    """The bytes of all strings, and int64[n + 1] where each begins."""
    n = len(strings)
    _, offsets, data = strings.buffers()
    if n == 0 or data is None:
        return np.zeros(0, np.uint8), np.zeros(n + 1, np.int64)
    starts = np.frombuffer(offsets, np.int64)[strings.offset : strings.offset + n + 1]
    return np.frombuffer(data, np.uint8)[starts[0] : starts[-1]], starts - starts[0]


def slices(strings: pa.LargeStringArray, step: int = 1 << 19) -> Iterator[pa.LargeStringArray]:
    """The column a part at a time: flags for every byte of a whole one would be the peak."""
    for start in range(0, max(len(strings), 1), step):
        yield strings.slice(start, step)


def count_of(flags: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """How many flagged bytes each string has."""
    return np.diff(np.searchsorted(np.flatnonzero(flags), starts))
