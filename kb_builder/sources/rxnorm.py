"""RxNorm in Rich Release Format: drugs, their ingredients and brands, with retired RXCUIs.

Atoms of RxNorm itself name a concept in its normal form, which is the preferred title; MRCONSO's
marks for titles are empty here.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from kb_builder.sources.archives import holds
from kb_builder.sources.mrconso import SAB, TTY, AtomKinds
from kb_builder.sources.mrrel import read_retired_rxcuis
from kb_builder.sources.reading import Reading
from kb_builder.sources.rrf import Rows
from kb_builder.sources.umls import Layout, read_release
from kb_builder.terms import NOT_A_TITLE, Terms

# Term types of SAB RXNORM that are other names of a concept, not its normal form.
_OTHER_NAMES = (b"SY", b"TMSY", b"PSN", b"ET")


def _title_ranks(rows: Rows, language: np.ndarray) -> np.ndarray:
    """uint8[n]: the normal form, then the prescribable name."""
    rank = np.full(len(rows), NOT_A_TITLE, dtype=np.uint8)
    sources, kinds = (rows.column(field).dictionary_encode() for field in (SAB, TTY))
    if len(rows) == 0:
        return rank
    held = [value in _OTHER_NAMES for value in kinds.dictionary.to_pylist()]
    other = np.array(held, dtype=bool)[kinds.indices.to_numpy()]
    own = [value == b"RXNORM" for value in sources.dictionary.to_pylist()]
    is_own = np.array(own, dtype=bool)[sources.indices.to_numpy()]
    rank[is_own & rows.equals(TTY, b"PSN")] = 1
    rank[is_own & ~other] = 0
    return rank


RXNORM = Layout(
    conso="RXNCONSO.RRF",
    sty="RXNSTY.RRF",
    rel="RXNREL.RRF",
    retired="RXNCUI.RRF",
    retired_fields=5,
    kinds=AtomKinds(_title_ranks),
    parents_by_rela=True,
    read_retired=read_retired_rxcuis,
    hint="Give the folder or archive of an RxNorm release, with RXNCONSO.RRF and RXNSTY.RRF in it.",
)


def matches(path: Path) -> bool:
    """Whether this is a release, or its table of names."""
    return holds(path, RXNORM.conso)


def read(reading: Reading) -> Terms:
    """The terms of an RxNorm release."""
    return read_release(reading, RXNORM)
