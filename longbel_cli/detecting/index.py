"""The keys of names in a trie, with the group that each stands for; mapped from disk or in memory.

A key has up to two groups: that of its names as they may be written in any casing, and that of all
its names, for text in capitals. Where names of several groups share a key, it has the group in
which most vocabularies use it; of equal ones that in which it is a concept's preferred name; of
equal ones the first of `GROUP_ORDER`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import marisa_trie
import numpy as np

from kb_builder.semantics import group_code_of

FORMAT_VERSION = 1
# Of groups that have an equal claim to a name, by codes of UMLS; others follow in their own order.
# Disorders come late: terminologies of findings list every other word of medicine among them.
GROUP_ORDER = ("ANAT", "CHEM", "LIVB", "PHYS", "PROC", "GENE", "DISO")
MOST_LETTERS_OF_CAPITALS, MOST_CHARACTERS_OF_CODES = 5, 3
_NONE = np.iinfo(np.uint16).max
_TRIE, _MEANINGS, _DESCRIPTION = "names.marisa", "claims.npy", "index.json"


class NameBlock(NamedTuple):
    """Names of a group, by its index. Of each: how many vocabularies use it (int[n]), whether it is
    a preferred name, and whether it is asked for (bool[n])."""

    names: Sequence[str]
    group: int
    votes: np.ndarray
    preferred: np.ndarray
    wanted: np.ndarray


class Meaning(NamedTuple):
    """The group that a key stands for, and whether the names that give it are asked for."""

    group: str
    wanted: bool


@dataclass(frozen=True)
class NameIndex:
    """`any_casing` and `capitals` (uint16[keys]) hold twice the group's index, and one more where
    no name is asked for. `longest` is the length of the longest key."""

    trie: marisa_trie.Trie
    any_casing: np.ndarray
    capitals: np.ndarray
    groups: tuple[str, ...]
    longest: int

    def __len__(self) -> int:
        return len(self.any_casing)

    def meaning(self, key_id: int, in_capitals: bool) -> Meaning | None:
        """What a key says of a text, which may be written in capitals; None where nothing."""
        meaning = int((self.capitals if in_capitals else self.any_casing)[key_id])
        if meaning == _NONE:
            return None
        return Meaning(self.groups[meaning // 2], wanted=not meaning % 2)

    def save(self, folder: Path) -> None:
        """Write the index into an empty folder."""
        self.trie.save(str(folder / _TRIE))
        np.save(folder / _MEANINGS, np.stack([self.any_casing, self.capitals]), allow_pickle=False)
        text = json.dumps(
            {"format_version": FORMAT_VERSION, "groups": self.groups, "longest": self.longest}
        )
        (folder / _DESCRIPTION).write_text(text, encoding="utf-8")

    @classmethod
    def open(cls, folder: Path) -> NameIndex:
        """The index that was saved in a folder, by memory map."""
        described = json.loads((folder / _DESCRIPTION).read_text(encoding="utf-8"))
        trie = marisa_trie.Trie()
        trie.mmap(str(folder / _TRIE))
        meanings = np.load(folder / _MEANINGS, mmap_mode="r", allow_pickle=False)
        return cls(trie, meanings[0], meanings[1], tuple(described["groups"]), described["longest"])


def build_index(
    blocks: Iterable[NameBlock],
    groups: Sequence[str],
    key_of: Callable[[str], str],
    capitals_rule: bool = True,
) -> NameIndex:
    """The index of names by their keys; names without a key or a letter are left out."""
    keys: list[str] = []
    columns: list[np.ndarray] = []
    for block in blocks:
        of_block, chosen = _keys_of(block.names, key_of)
        keys += of_block
        short = [capitals_rule and only_in_capitals(block.names[i]) for i in chosen.tolist()]
        columns.append(_columns(block, chosen, np.array(short, bool)))
    trie = marisa_trie.Trie(keys)
    rows = np.concatenate([np.empty((0, len(_COLUMNS)), np.int32), *columns])
    ids = np.fromiter(map(trie.key_id, keys), np.int32, len(keys))
    longest = max(map(len, keys), default=0)
    any_casing = ~rows[:, _COLUMNS.index("short")].astype(bool)
    winners = [
        _winners(ids[chosen], rows[chosen], len(trie), tuple(groups))
        for chosen in (any_casing, np.ones(len(rows), bool))
    ]
    return NameIndex(trie, winners[0], winners[1], tuple(groups), longest)


_COLUMNS = ("group", "votes", "preferred", "wanted", "short")


def _columns(block: NameBlock, chosen: np.ndarray, short: np.ndarray) -> np.ndarray:
    """int32[names, _COLUMNS] of the chosen names of a block."""
    group = np.full(len(chosen), block.group)
    parts = (group, block.votes[chosen], block.preferred[chosen], block.wanted[chosen], short)
    return np.stack([part.astype(np.int32) for part in parts], axis=1)


def _winners(ids: np.ndarray, rows: np.ndarray, n_keys: int, groups: tuple[str, ...]) -> np.ndarray:
    """uint16[keys]: the group that each key stands for by the rule above."""
    group, votes, preferred, wanted, _ = rows.T
    pairs, of_pair = np.unique(ids.astype(np.int64) * len(groups) + group, return_inverse=True)
    total = np.bincount(of_pair, votes, len(pairs))
    titles, asked = (np.bincount(of_pair, column, len(pairs)) for column in (preferred, wanted))
    key, of_key = np.divmod(pairs, len(groups))
    position = np.array([_place(name) for name in groups])[of_key]
    best_first = np.lexsort((of_key, position, titles == 0, -total, key))
    _, first = np.unique(key[best_first], return_index=True)
    best = best_first[first]
    meanings = np.full(n_keys, _NONE, np.uint16)
    meanings[key[best]] = 2 * of_key[best] + (asked[best] == 0)
    return meanings


def _keys_of(names: Sequence[str], key_of: Callable[[str], str]) -> tuple[list[str], np.ndarray]:
    """The keys of those names that have one with a letter, and which names these are."""
    keys = [key_of(name) for name in names]
    chosen = [i for i, key in enumerate(keys) if any(map(str.isalpha, key))]
    return [keys[i] for i in chosen], np.array(chosen, np.int64)


def only_in_capitals(name: str) -> bool:
    """Whether a name is met in capitals alone: one of up to five letters, all of them capitals, and
    whatever has up to three characters (`AIDS` is not `aids`, `ALL` is not `all`)."""
    name = name.strip()
    if len(name) <= MOST_CHARACTERS_OF_CODES:
        return True
    if len(name) > 4 * MOST_LETTERS_OF_CAPITALS or not name.isupper():
        return False
    return sum(map(str.isalpha, name)) <= MOST_LETTERS_OF_CAPITALS


def is_in_capitals(text: str) -> bool:
    """Whether all letters of a text are capitals, but for the `s` of a plural or possessive."""
    if text[-1:] == "s":
        text = text[:-1].rstrip("'\u2019\u02bc")
    return text.isupper()


def _place(group: str) -> int:
    code = group_code_of(group)
    return GROUP_ORDER.index(code) if code in GROUP_ORDER else len(GROUP_ORDER)
