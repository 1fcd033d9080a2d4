"""The packed row: new tokens of many documents, side by side in one pass of the model.

Says which tokens stand where and what each may see; knows nothing of tensors, models or devices.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class Tree:
    """The search tree of a segment: for each of its new tokens a bit for each place of the tree
    that the token sees, and the rotary positions of all places; the new ones are last."""

    seen: Sequence[int]
    positions: Sequence[int]

    @property
    def size(self) -> int:
        return len(self.positions)

    def visible(self) -> npt.NDArray[np.bool_]:
        """(new tokens, places of the tree): what each token sees."""
        return bits(self.seen, self.size)


def bits(masks: Sequence[int], size: int) -> npt.NDArray[np.bool_]:
    """(numbers, size): the lowest bits of each number, the first bit first."""
    width = -(-size // 8)
    packed = b"".join([mask.to_bytes(width, "little") for mask in masks])
    rows = np.frombuffer(packed, np.uint8).reshape(len(masks), width)
    return np.unpackbits(rows, axis=1, count=size, bitorder="little").view(np.bool_)


@dataclass(frozen=True, slots=True)
class Segment:
    """Tokens of one document in a packed row.

    They stand at `[start, start + n)` of the row and are written to the slot from `offset` on.
    `positions` are rotary positions, which differ from places inside a search tree. Without a
    `tree` each sees all places up to its own.
    """

    slot: Any  # of the cache that goes with the attention
    start: int
    offset: int
    ids: Sequence[int]
    positions: Sequence[int]
    tree: Tree | None = None

    @property
    def n(self) -> int:
        return len(self.ids)

    @property
    def end(self) -> int:
        """The places that are filled once it is written."""
        return self.offset + self.n

    @property
    def prompt(self) -> int:
        """The places that all its tokens see."""
        return self.offset if self.tree is None else self.end - self.tree.size
