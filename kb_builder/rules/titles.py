"""Which of a concept's candidates becomes its preferred title (the first half of rule 4)."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from kb_builder.rules.casing import capitalised_column
from kb_builder.rules.columns import starts_of_runs, used


def best_titles(
    concept: np.ndarray,
    rank: np.ndarray,
    string: np.ndarray,
    language: np.ndarray,
    strings: pa.LargeStringArray,
) -> np.ndarray:
    """For each concept the position of its best candidate, ascending by concept.

    Candidate i is `strings[string[i]]` (of distinct strings). Best is: smallest rank, fewest
    characters, capitalised before not, first in code-point order; of equal ones that of the
    smallest language number.
    """
    if len(concept) == 0:
        return np.zeros(0, dtype=np.int64)
    length = pc.utf8_length(strings).to_numpy(zero_copy_only=False).astype(np.int64)
    shape = (length << 1 | ~capitalised_column(strings))[string]
    order = np.lexsort((language, string, shape, rank, concept))
    begins = starts_of_runs(concept[order], rank[order], shape[order])
    distinct = ~begins & starts_of_runs(string[order])
    if distinct.any():  # equal so far but spelled differently: compare the strings themselves
        run = np.cumsum(begins) - 1
        tied = np.zeros(int(run[-1]) + 1, dtype=bool)
        tied[run[distinct]] = True
        among = tied[run]
        spelled = np.zeros(len(order), dtype=np.int64)
        spelled[among] = _order_of_strings(string[order[among]], strings)
        order = order[np.lexsort((spelled, run))]
    return order[starts_of_runs(concept[order])]


def _order_of_strings(string: np.ndarray, strings: pa.LargeStringArray) -> np.ndarray:
    """Numbers that sort as the strings do."""
    some = used(string, len(strings))
    by_text = pc.sort_indices(strings.take(pa.array(some))).to_numpy()
    rank = np.empty(len(strings), dtype=np.int64)
    rank[some[by_text]] = np.arange(len(some))
    return rank[string]
