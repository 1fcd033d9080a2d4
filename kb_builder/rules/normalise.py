"""Rule 2: how a terminology's string becomes a name. Plain, and for whole columns at once.

Both give the same names: the column form changes the common case (a lower-case ASCII first
letter) on the bytes and hands every other string that may change to the plain function.
"""

from __future__ import annotations

import re

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from kb_builder.text import clean

_ENDINGS = tuple(
    re.compile(pattern)
    for pattern in (
        r"\s*\(NOS\)\s*\Z",
        r", NOS\s*\Z",
        r" NOS\s*\Z",
        r"\s*\(SAI\)\s*\Z",
        r", SAI\s*\Z",
        r" SAI\s*\Z",
    )
)


def tidy(string: str) -> str:
    """`string` as a name; empty where nothing is left of it."""
    name = string.replace("\u00a0", " ")
    for ending in _ENDINGS:
        name = ending.sub("", name, count=1)
    if name[:1].islower():
        name = name[0].upper() + name[1:]
    name = clean(name)
    return "" if name.isspace() else name


# Bytes that send a string to `tidy`: the brackets, the line feed, and U+00A0's second byte.
_CHANGING = np.zeros(256, dtype=bool)
_CHANGING[[ord("["), ord("]"), ord("{"), ord("}"), ord("\n"), 0xA0]] = True
_SPACES = np.zeros(256, dtype=bool)
_SPACES[[9, 10, 11, 12, 13, 28, 29, 30, 31, 32]] = True


def tidy_column(strings: pa.LargeStringArray) -> pa.LargeStringArray:
    """`tidy` of every string; the array must have no offset and no nulls."""
    n = len(strings)
    if n == 0:
        return strings
    _, offsets_buffer, data_buffer = strings.buffers()
    offsets = np.frombuffer(offsets_buffer, dtype=np.int64, count=n + 1)
    size = int(offsets[-1])
    data = np.frombuffer(data_buffer, dtype=np.uint8, count=size) if size else _EMPTY
    start, end = offsets[:-1], offsets[1:]
    filled = end > start
    slow = _holds_changing_byte(data, offsets) | _may_have_ending(data, start, end, filled)
    first = np.zeros(n, dtype=np.uint8)
    first[filled] = data[start[filled]]
    slow |= first >= 0x80
    slow |= _SPACES[first] & filled
    lower = (first >= ord("a")) & (first <= ord("z")) & ~slow
    if lower.any():
        data = data.copy()
        data[start[lower]] -= 32
        strings = pa.LargeStringArray.from_buffers(n, offsets_buffer, pa.py_buffer(data))
    if not slow.any():
        return strings
    mask = pa.array(slow)
    changed = [tidy(string) for string in strings.filter(mask).to_pylist()]
    return pc.replace_with_mask(strings, mask, pa.array(changed, pa.large_string()))


_EMPTY = np.zeros(0, dtype=np.uint8)


def _holds_changing_byte(data: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    holds = np.zeros(len(offsets) - 1, dtype=bool)
    at = np.flatnonzero(_CHANGING[data])
    if len(at):
        holds[np.searchsorted(offsets, at, side="right") - 1] = True
    return holds


def _may_have_ending(
    data: np.ndarray, start: np.ndarray, end: np.ndarray, filled: np.ndarray
) -> np.ndarray:
    """Strings that may end in NOS or SAI: by the last bytes, white space to be looked at."""
    last = np.zeros(len(start), dtype=np.uint8)
    last[filled] = data[end[filled] - 1]
    may = _SPACES[last] & filled
    may |= last >= 0x80  # white space beyond ASCII
    bracketed = last == ord(")")
    for candidates, back in ((bracketed, 1), (~bracketed, 0)):
        rows = np.flatnonzero(candidates & (end - start >= 3 + back))
        tail = end[rows] - back
        letters = (data[tail - 3], data[tail - 2], data[tail - 1])
        for word in (b"NOS", b"SAI"):
            hit = (letters[0] == word[0]) & (letters[1] == word[1]) & (letters[2] == word[2])
            may[rows[hit]] = True
    return may
