"""Codes of tables in the one spelling of `kb_builder.codes`. Knows no file."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from kb_builder.codes import is_damaged, is_no_code, joined_code, plain, plain_numbers_meet

DAMAGED = "a code that a spreadsheet has changed"
# Most codes: no database before them, no state, nothing that a spreadsheet has changed.
_PLAIN = r"^([A-Z]{1,3}[0-9]+|[1-9][0-9]*)$"


def spelled(column: pa.LargeStringArray) -> tuple[pa.LargeStringArray, np.ndarray]:
    """The codes, empty where there is no concept, and bool[n]: which were changed. Numbers keep
    their databases until `without_databases` has seen all of them."""
    encoded = column.dictionary_encode()
    texts = encoded.dictionary
    odd = np.flatnonzero(~_flags(pc.match_substring_regex(texts, _PLAIN)))
    damaged = np.zeros(len(texts), dtype=bool)
    if len(odd) == 0:
        return column, damaged[encoded.indices.to_numpy()]
    made = texts.to_pylist()
    for index in odd.tolist():
        code = joined_code(made[index])
        damaged[index] = any(map(is_damaged, (made[index], code)))
        made[index] = "" if is_no_code(code) else code
    indices = encoded.indices
    return pa.array(made, pa.large_string()).take(indices), damaged[indices.to_numpy()]


def without_databases(column: pa.LargeStringArray) -> pa.LargeStringArray:
    """The codes of a whole source without the databases of plain numbers, but where it has codes of
    two of them, whose numbers could meet."""
    encoded = column.dictionary_encode()
    texts = encoded.dictionary
    if not pc.any(pc.match_substring(texts, ":")).as_py() or plain_numbers_meet(texts.to_pylist()):
        return column
    return pa.array(map(plain, texts.to_pylist()), pa.large_string()).take(encoded.indices)


def _flags(column: pa.Array) -> np.ndarray:
    return column.to_numpy(zero_copy_only=False)
