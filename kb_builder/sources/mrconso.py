"""MRCONSO: atoms as names, as candidates for titles, and with their source codes.

Read a block at a time; of the text only what may become a name is kept. Knows rules 1 and 2 and
the columns of the file; ambiguity is not its business.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from kb_builder.rules.columns import distinct
from kb_builder.rules.normalise import tidy_column
from kb_builder.rules.titles import best_titles
from kb_builder.sources.reading import DEFAULT_LANGUAGES
from kb_builder.sources.rrf import NOT_UTF8, BadRow, Block, Rows, as_text, split_texts
from kb_builder.sources.selection import Selection
from kb_builder.terms import NOT_A_TITLE

CONSO_FIELDS = 18
CUI, LAT, TS, SAB, TTY, CODE, STR, SUPPRESS = 0, 1, 2, 11, 12, 13, 14, 16
_WITHOUT_CODE = pa.array(["", "NOCODE"], pa.large_string())


@dataclass(frozen=True)
class AtomKinds:
    """What an atom's term type says, which differs between UMLS and RxNorm."""

    title_ranks: Callable[[Rows, np.ndarray], np.ndarray]  # of rows and language keys, uint8[n]


class Atoms(NamedTuple):
    """What one block of MRCONSO gives; `cui`, `name` and `title` index the block's own lists."""

    bad: list[BadRow]
    n_rows: int
    language_keys: np.ndarray  # of all rows, distinct
    language_counts: np.ndarray
    counts: Counter[str]
    cuis: pa.LargeStringArray  # distinct, of all rows
    cui_line: np.ndarray  # where each first stands
    cui: np.ndarray
    name: np.ndarray
    language: np.ndarray  # key
    strings: pa.LargeStringArray  # tidied, not distinct
    title_cui: np.ndarray
    title_rank: np.ndarray
    title_language: np.ndarray
    titles: pa.LargeStringArray  # as spelled
    vocabularies: list[str]  # distinct, of all rows
    codes: pa.LargeStringArray  # distinct, of usable rows
    source: np.ndarray  # of each name, index into vocabularies, -1 without a code
    code: np.ndarray  # of each name, index into codes, -1 without
    more_cui: np.ndarray  # of usable atoms that are no names: distinct cui, source and code
    more_source: np.ndarray
    more_code: np.ndarray


class _Usable(NamedTuple):
    """Rows of a block by what they may become."""

    language: np.ndarray  # key
    usable: np.ndarray  # bool: neither suppressed nor of another vocabulary
    listed: np.ndarray  # bool: a name
    rank: np.ndarray  # uint8, of titles
    counts: Counter[str]


def read_block(block: Block, selection: Selection, kinds: AtomKinds) -> Atoms:
    """The atoms of a block under `selection`."""
    rows, cuis, bad = split_texts(block, CONSO_FIELDS, CUI)
    sources = rows.column(SAB).dictionary_encode()
    kept = _select(rows, sources, selection, kinds)
    may_be_title = kept.usable & (kept.rank < NOT_A_TITLE)
    taken = np.flatnonzero(kept.listed | may_be_title)
    raw, readable = as_text(rows.column(STR, taken))
    if readable is not None:
        bad += [BadRow(int(rows.lines[row]), NOT_UTF8) for row in taken[~readable]]
        taken = taken[readable]
    encoded = raw.dictionary_encode()
    string, strings = encoded.indices.to_numpy(), encoded.dictionary
    cui = cuis.dictionary_encode()
    cui_index = cui.indices.to_numpy()
    cui_line = np.zeros(len(cui.dictionary), dtype=np.int64)
    cui_line[cui_index[::-1]] = rows.lines[::-1]
    is_name = kept.listed[taken]
    named = taken[is_name]
    language_keys, language_counts = np.unique(kept.language, return_counts=True)
    return Atoms(
        bad=bad,
        n_rows=block.n_lines,
        language_keys=language_keys,
        language_counts=language_counts,
        counts=kept.counts,
        cuis=cui.dictionary,
        cui_line=cui_line,
        cui=cui_index[named],
        name=string[is_name],
        language=kept.language[named],
        strings=tidy_column(strings),
        **_titles(kept, selection, taken, may_be_title, cui_index, string, strings),
        vocabularies=[value.decode("utf-8", "replace") for value in sources.dictionary.to_pylist()],
        **_codes(rows, sources, kept.usable, named, cui_index),
    )


def _select(
    rows: Rows, sources: pa.DictionaryArray, selection: Selection, kinds: AtomKinds
) -> _Usable:
    """Rule 1."""
    language = rows.key(LAT, 3)
    mth = rows.equals(SAB, b"MTH")
    usable = np.ones(len(rows), dtype=bool)
    if not selection.keep_suppressed:
        usable = rows.equals(SUPPRESS, b"N")
    counts = Counter(suppressed=int(np.count_nonzero(~usable)))
    if selection.vocabularies is not None:
        wanted = [value.decode("ascii", "replace") in selection.vocabularies
                  for value in sources.dictionary.to_pylist()]  # fmt: skip
        in_vocabulary = np.array(wanted, dtype=bool)[sources.indices.to_numpy()] | mth
        counts["other_vocabulary"] = int(np.count_nonzero(usable & ~in_vocabulary))
        usable &= in_vocabulary
    keys = [language_key(code) for code in selection.languages or DEFAULT_LANGUAGES]
    listed = usable & (np.isin(language, keys) | mth)
    counts["other_language"] = int(np.count_nonzero(usable & ~listed))
    return _Usable(language, usable, listed, kinds.title_ranks(rows, language), counts)


def _titles(
    kept: _Usable,
    selection: Selection,
    taken: np.ndarray,
    may_be_title: np.ndarray,
    cui: np.ndarray,
    string: np.ndarray,
    strings: pa.LargeStringArray,
) -> dict[str, np.ndarray]:
    """Of each concept of the block the best candidate for its title."""
    keys = [language_key(code) for code in selection.languages or DEFAULT_LANGUAGES]
    is_title = may_be_title[taken]
    rows, title = taken[is_title], string[is_title]
    rank, language = kept.rank[rows], kept.language[rows]
    order = _language_order(language, keys)
    best = best_titles(cui[rows], rank, title, order, strings)
    return {
        "title_cui": cui[rows][best],
        "title_rank": rank[best],
        "title_language": language[best],
        "titles": strings.take(pa.array(title[best])),
    }


def _codes(
    rows: Rows, sources: pa.DictionaryArray, usable: np.ndarray, named: np.ndarray, cui: np.ndarray
) -> dict[str, np.ndarray]:
    """Source codes of the names, and those that the concepts have beside them."""
    where = np.flatnonzero(usable)
    column, readable = as_text(rows.column(CODE, where))
    if readable is not None:  # the name stays, it only has no code
        where = where[readable]
    encoded = column.dictionary_encode()
    without = pc.is_in(encoded.dictionary, value_set=_WITHOUT_CODE)
    code = np.full(len(rows), -1, dtype=np.int32)
    code[where] = encoded.indices.to_numpy()
    code[where[without.to_numpy(zero_copy_only=False)[code[where]]]] = -1
    source = np.where(code < 0, -1, sources.indices.to_numpy())
    more = code >= 0
    more[named] = False
    # A block has fewer than 2**20 rows: 8 MiB, and a row of 18 fields is 19 bytes or more.
    key = distinct((cui[more].astype(np.int64) << 20 | code[more]) << 20 | source[more])
    return {
        "codes": encoded.dictionary,
        "source": source[named],
        "code": code[named],
        "more_cui": key >> 40,
        "more_source": key & 0xFFFFF,
        "more_code": key >> 20 & 0xFFFFF,
    }


def language_key(code: str) -> int:
    """A language code of at most three letters as a number."""
    return int.from_bytes(code.encode(), "big")


def language_code(key: int) -> str:
    """The language code of such a number."""
    return int(key).to_bytes(3, "big").strip(b"\0").decode("ascii", "replace") if key >= 0 else "?"


def _language_order(language: np.ndarray, chosen: list[int]) -> np.ndarray:
    """Numbers that sort languages as they are preferred: the chosen ones, then by their codes."""
    order = language.astype(np.int64) + len(chosen)
    for index, key in enumerate(chosen):
        order[language == key] = index
    return order


def umls_title_ranks(rows: Rows, language: np.ndarray) -> np.ndarray:
    """uint8[n]: PN, then MTH, then the preferred term in English, French, Spanish."""
    is_preferred = rows.equals(TS, b"P")
    rank = np.full(len(rows), NOT_A_TITLE, dtype=np.uint8)
    for index in (2, 1, 0):
        rank[is_preferred & (language == language_key(DEFAULT_LANGUAGES[index]))] = 2 + index
    rank[rows.equals(SAB, b"MTH")] = 1
    rank[rows.equals(TTY, b"PN")] = 0
    return rank
