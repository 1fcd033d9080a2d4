"""Which of a concept's candidates becomes its preferred title (the first half of rule 4)."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


def is_capitalised(string: str) -> bool:
    """One capital followed by lower case (and whatever has no case)."""
    return string[:1].isupper() and string[1:] == string[1:].lower()


def best_titles(
    concept: np.ndarray, rank: np.ndarray, string: np.ndarray, strings: pa.LargeStringArray
) -> np.ndarray:
    """For each concept the position of its best candidate, ascending by concept.

    Candidate i is `strings[string[i]]` (of distinct strings). Best is: smallest rank, fewest
    characters, capitalised before not, first in code-point order.
    """
    if len(concept) == 0:
        return np.zeros(0, dtype=np.int64)
    length = pc.utf8_length(strings).to_numpy(zero_copy_only=False).astype(np.int64)
    plain = ~_capitalised_column(strings)
    shape = (length << 1 | plain)[string]
    order = np.lexsort((string, shape, rank, concept))
    same = _equal_to_previous(concept[order], rank[order], shape[order])
    distinct = same & ~_equal_to_previous(string[order])
    if distinct.any():  # equal so far but spelled differently: compare the strings themselves
        runs = np.cumsum(~same) - 1
        tied = np.isin(runs, np.unique(runs[distinct]))
        spelled = np.zeros(len(order), dtype=np.int64)
        used, inverse = np.unique(string[order[tied]], return_inverse=True)
        by_text = pc.sort_indices(strings.take(pa.array(used))).to_numpy()
        place = np.empty(len(used), dtype=np.int64)
        place[by_text] = np.arange(len(used))
        spelled[tied] = place[inverse]
        order = order[np.lexsort((spelled, runs))]
    return order[~_equal_to_previous(concept[order])]


def _equal_to_previous(*columns: np.ndarray) -> np.ndarray:
    equal = np.ones(len(columns[0]), dtype=bool)
    equal[0] = False
    for column in columns:
        equal[1:] &= column[1:] == column[:-1]
    return equal


def _capitalised_column(strings: pa.LargeStringArray) -> np.ndarray:
    """`is_capitalised` of every string: ASCII on the bytes, others by the plain function."""
    n = len(strings)
    _, offsets_buffer, data_buffer = strings.buffers()
    offsets = np.frombuffer(offsets_buffer, np.int64)[strings.offset : strings.offset + n + 1]
    if offsets[-1] == 0:
        return np.zeros(n, dtype=bool)
    data = np.frombuffer(data_buffer, dtype=np.uint8)
    capital = (data >= ord("A")) & (data <= ord("Z"))
    first = np.zeros(n, dtype=bool)
    filled = offsets[1:] > offsets[:-1]
    first[filled] = capital[offsets[:-1][filled]]
    capitalised = first & (_count(capital, offsets) == 1)
    beyond_ascii = np.flatnonzero(_count(data >= 0x80, offsets))
    if len(beyond_ascii):
        texts = strings.take(pa.array(beyond_ascii)).to_pylist()
        capitalised[beyond_ascii] = [is_capitalised(text) for text in texts]
    return capitalised


def _count(flags: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """How many flagged bytes each string has."""
    at = np.flatnonzero(flags)
    return np.diff(np.searchsorted(at, offsets))
