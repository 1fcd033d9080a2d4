"""Character trigrams of many texts at once, as numbers: case-folded, a blank before and after.

What character TF-IDF counts, for the baseline and for the targets of training. numpy only.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice
from typing import NamedTuple

import numpy as np

from kb_builder.errors import LongbelError
from kb_builder.text import clean

LETTER_BITS = 21  # of a code point
_NAME_BITS = 16  # of a name's place in its block
NAMES_PER_BLOCK = 1 << _NAME_BITS  # at most


class TrigramCounts(NamedTuple):
    """The trigrams of a block of names: keys (int64, ascending), how many names hold each, and
    those names (uint16, within the block) with how often they do (uint16), key after key."""

    keys: np.ndarray
    sizes: np.ndarray
    name: np.ndarray
    times: np.ndarray


class NameFrequency:
    """How many of some texts hold a trigram."""

    def __init__(self, texts: Iterable[str]) -> None:
        nothing = np.zeros(0, dtype=np.int64)
        self._keys = self._texts = nothing
        remaining = iter(texts)
        while block := tuple(islice(remaining, NAMES_PER_BLOCK)):
            counts = count_trigrams(block)
            keys = np.concatenate([self._keys, counts.keys])
            sizes = np.concatenate([self._texts, counts.sizes])
            self._keys, column = np.unique(keys, return_inverse=True)
            self._texts = np.bincount(column, sizes, len(self._keys)).astype(np.int64)

    def __getitem__(self, gram: str) -> int:
        """Of a trigram as written."""
        key = 0
        for letter in gram:
            key = key << LETTER_BITS | ord(letter)
        row = int(np.searchsorted(self._keys, key))
        known = row < len(self._keys) and int(self._keys[row]) == key
        return int(self._texts[row]) if known else 0


def count_trigrams(names: Sequence[str]) -> TrigramCounts:
    """All pairs of a trigram and a name by one sort: of the block's own numbers for letters,
    which are small, and the name's. ValueError for more than NAMES_PER_BLOCK names."""
    if len(names) > 1 << _NAME_BITS:
        raise ValueError(f"{len(names)} names in a block")
    letters, owner = letters_of(names)
    alphabet = np.flatnonzero(np.bincount(letters))
    bits = len(alphabet).bit_length()
    if 3 * bits + _NAME_BITS > 64:
        raise LongbelError(
            f"names of {len(alphabet)} different characters stand together",
            "No writing has as many: look at the knowledge base's source.",
        )
    rank_of = np.zeros(int(alphabet[-1]) + 1, dtype=np.uint64)
    rank_of[alphabet] = np.arange(len(alphabet))
    small, of = trigram_keys(rank_of[letters], owner, bits)
    pairs, times = np.unique(small << _NAME_BITS | of.astype(np.uint64), return_counts=True)
    small = pairs >> _NAME_BITS
    new = np.ones(len(small), dtype=bool)
    new[1:] = small[1:] != small[:-1]
    mask = (1 << bits) - 1
    first, second, third = (
        alphabet[(small[new] >> position * bits & mask).astype(np.int64)] for position in (2, 1, 0)
    )
    return TrigramCounts(
        keys=first << 2 * LETTER_BITS | second << LETTER_BITS | third,
        sizes=np.diff(np.append(np.flatnonzero(new), len(small))),
        name=(pairs & (1 << _NAME_BITS) - 1).astype(np.uint16),
        times=times.astype(np.uint16),
    )


def letters_of(texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """The characters of all texts (folded, a blank before and after), and which each is of."""
    padded = [f" {clean(text).casefold()} " for text in texts]
    letters = np.frombuffer("".join(padded).encode("utf-32-le", "surrogatepass"), dtype="<u4")
    owner = np.repeat(np.arange(len(texts)), [len(text) for text in padded])
    return letters.astype(np.int64), owner


def trigram_keys(
    letters: np.ndarray, owner: np.ndarray, bits: int
) -> tuple[np.ndarray, np.ndarray]:
    """The trigrams within texts, each three letters in one number, and which text each is of."""
    keys = letters[:-2] << 2 * bits | letters[1:-1] << bits | letters[2:]
    inside = owner[:-2] == owner[2:]
    return keys[inside], owner[:-2][inside]
