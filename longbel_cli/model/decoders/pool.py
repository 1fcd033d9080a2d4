"""Keys and values of all documents in one flat pool, a contiguous stretch of places for each.

Attention that reads starts and lengths needs nothing more, whatever the number of documents. The
pool grows layer by layer, so that growing takes one layer's memory more and not all of them.
"""

from __future__ import annotations

import torch
from torch import Tensor

_STEP = 128  # places that a capacity is a multiple of
_GROWTH = 1.5
_FIRST = 8192  # places of a pool at first


class Slot:
    """One document's stretch `[start, start + capacity)`, and the ids of the prompt it holds."""

    def __init__(self, start: int, capacity: int) -> None:
        self.start, self.capacity = start, capacity
        self.ids: list[int] = []


class KeyValuePool:
    """Gives slots and takes them back. `shape` is (layers, kv heads, size).

    `keys[layer]` and `values[layer]` are (places, kv heads, size); they are other tensors once the
    pool has grown.
    """

    def __init__(self, shape: tuple[int, int, int], like: Tensor) -> None:
        self._shape, self._like = shape, like
        self.clear()

    def slot(self, tokens: int) -> Slot:
        """A slot for a new document: a released one of just that size, with the prompt that it
        holds, or an empty one."""
        capacity = _capacity(tokens)
        for index, slot in enumerate(self._released):
            if slot.capacity == capacity:
                return self._released.pop(index)
        return Slot(self._taken(capacity), capacity)

    def reserve(self, slot: Slot, tokens: int) -> None:
        """Make room for `places` tokens, keeping what is there."""
        if tokens <= slot.capacity:
            return
        start, filled = slot.start, slot.capacity
        capacity = _capacity(tokens)
        slot.start = self._taken(capacity)
        slot.capacity = capacity
        for tensor in (*self.keys, *self.values):
            tensor[slot.start : slot.start + filled] = tensor[start : start + filled]
        self._give_back(start, filled)

    def release(self, slot: Slot) -> None:
        """Keep the slot for a document to come, until its places are wanted."""
        self._released.append(slot)

    def clear(self) -> None:
        """Forget everything, and give the memory back."""
        layers, heads, size = self._shape
        self.keys, self.values = (
            [self._like.new_empty(0, heads, size) for _ in range(layers)] for _ in range(2)
        )
        self.places = 0
        self._free: list[tuple[int, int]] = []  # stretches (start, stop), ascending, apart
        self._released: list[Slot] = []

    def _taken(self, capacity: int) -> int:
        """The start of so many free places: the first that there are, else those that released
        documents give back, else new ones."""
        start = self._fitting(capacity)
        if start is None:
            for slot in self._released:
                self._give_back(slot.start, slot.capacity)
            self._released.clear()
            start = self._fitting(capacity)
        if start is None:
            self._grow(capacity)
            start = self._fitting(capacity)
        assert start is not None
        return start

    def _fitting(self, capacity: int) -> int | None:
        for index, (start, stop) in enumerate(self._free):
            if stop - start >= capacity:
                self._free[index] = (start + capacity, stop)
                if start + capacity == stop:
                    del self._free[index]
                return start
        return None

    def _give_back(self, start: int, capacity: int) -> None:
        """Free a stretch, joined with its free neighbours."""
        joined: list[tuple[int, int]] = []
        for stretch in sorted([*self._free, (start, start + capacity)]):
            if joined and joined[-1][1] == stretch[0]:
                joined[-1] = (joined[-1][0], stretch[1])
            else:
                joined.append(stretch)
        self._free = joined

    def _grow(self, capacity: int) -> None:
        """Add places at the end, at least so many that `capacity` fits there; no more than that
        where the device has no memory for what is usual."""
        free = self._free[-1] if self._free and self._free[-1][1] == self.places else None
        needed = self.places + capacity - (0 if free is None else free[1] - free[0])
        usual = max(needed, int(self.places * _GROWTH) // _STEP * _STEP, _FIRST)
        try:
            self._resize(usual)
        except torch.OutOfMemoryError:
            if usual == needed:
                raise
            self._resize(needed)

    def _resize(self, size: int) -> None:
        for tensors in (self.keys, self.values):
            for layer, tensor in enumerate(tensors):
                if len(tensor) < size:  # some are larger where memory lacked before
                    grown = tensor.new_empty(size, *tensor.shape[1:])
                    grown[: len(tensor)] = tensor
                    tensors[layer] = grown
        self._give_back(self.places, size - self.places)
        self.places = size


def _capacity(tokens: int) -> int:
    return -(-tokens // _STEP) * _STEP
