"""Upper and lower case of names, for single names and for whole columns.

ASCII strings are looked at as bytes, all others by Python's own rules, so that both agree.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from kb_builder.rules.columns import bytes_of, count_of, slices


def is_all_caps(name: str) -> bool:
    """Whether every letter with case is a capital, and there is one."""
    return name == name.upper() and name != name.lower()


def is_capitalised(name: str) -> bool:
    """One capital followed by lower case (and whatever has no case)."""
    return name[:1].isupper() and name[1:] == name[1:].lower()


def all_caps_column(strings: pa.LargeStringArray) -> np.ndarray:
    """bool[n]: `is_all_caps` of every string."""
    return np.concatenate([_all_caps(part) for part in slices(strings)])


def _all_caps(strings: pa.LargeStringArray) -> np.ndarray:
    data, starts = bytes_of(strings)
    lower = count_of(_between(data, "a", "z"), starts) > 0
    caps = (count_of(_between(data, "A", "Z"), starts) > 0) & ~lower
    other = np.flatnonzero((count_of(data >= 0x80, starts) > 0) & ~lower)
    caps[other] = [is_all_caps(name) for name in strings.take(pa.array(other)).to_pylist()]
    return caps


def capitalised_column(strings: pa.LargeStringArray) -> np.ndarray:
    """bool[n]: `is_capitalised` of every string."""
    return np.concatenate([_capitalised(part) for part in slices(strings)])


def _capitalised(strings: pa.LargeStringArray) -> np.ndarray:
    data, starts = bytes_of(strings)
    capital = _between(data, "A", "Z")
    first = np.zeros(len(strings), dtype=bool)
    filled = starts[1:] > starts[:-1]
    first[filled] = capital[starts[:-1][filled]]
    capitalised = first & (count_of(capital, starts) == 1)
    other = np.flatnonzero(count_of(data >= 0x80, starts))
    texts = strings.take(pa.array(other)).to_pylist()
    capitalised[other] = [is_capitalised(text) for text in texts]
    return capitalised


def lower_column(strings: pa.LargeStringArray) -> pa.ChunkedArray:
    """`str.lower` of every string."""
    return pa.chunked_array([_lower(part) for part in slices(strings)], pa.large_string())


def _lower(strings: pa.LargeStringArray) -> pa.LargeStringArray:
    data, starts = bytes_of(strings)
    other = count_of(data >= 0x80, starts) > 0
    lowered = pc.ascii_lower(strings)
    if not other.any():
        return lowered
    mask = pa.array(other)
    plain = [name.lower() for name in strings.filter(mask).to_pylist()]
    return pc.replace_with_mask(lowered, mask, pa.array(plain, pa.large_string()))


def _between(data: np.ndarray, first: str, last: str) -> np.ndarray:
    return (data >= ord(first)) & (data <= ord(last))
