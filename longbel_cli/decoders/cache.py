"""Keys and values of the documents under way, each document's in a slot of its own.

Slots are rows of arenas: tensors in which several rows of one capacity lie together, so that the
attention of many documents is one call on a GPU. Where an arena has a single row, every document
has tensors of its own.
"""

from __future__ import annotations

from torch import Tensor

_STEP = 128  # places that a capacity is a multiple of


class Arena:
    """Keys and values of `rows` documents, each (layers, rows, kv heads, capacity, size).

    Never uninitialised: what a mask hides is multiplied by 0, and must be a number for that.
    """

    def __init__(self, shape: tuple[int, int, int], rows: int, capacity: int, like: Tensor) -> None:
        layers, heads, size = shape
        self.rows, self.capacity = rows, capacity
        self.keys, self.values = (
            like.new_zeros(layers, rows, heads, capacity, size) for _ in range(2)
        )
        self.free = list(range(rows))


class Slot:
    """One document's keys and values, and the ids of the prompt that they are of."""

    def __init__(self, arena: Arena) -> None:
        self.ids: list[int] = []
        self._move_to(arena)

    @property
    def capacity(self) -> int:
        return self.arena.capacity

    def _move_to(self, arena: Arena) -> None:
        self.arena, self.row = arena, arena.free.pop(0)
        # (layers, kv heads, capacity, size)
        self.keys, self.values = arena.keys[:, self.row], arena.values[:, self.row]


class KeyValueCache:
    """Gives slots and takes them back. `shape` is (layers, kv heads, size); an arena has as many
    rows as make up `arena_tokens` places, one at least."""

    def __init__(self, shape: tuple[int, int, int], like: Tensor, arena_tokens: int = 0) -> None:
        self._shape, self._like, self._arena_tokens = shape, like, arena_tokens
        self._arenas: list[Arena] = []
        self._released: list[Slot] = []

    def slot(self, places: int) -> Slot:
        """A slot for a new document: a released one of just that size, whose prompt began alike,
        or an empty one."""
        capacity = self._capacity(places)
        for number, slot in enumerate(self._released):
            if slot.capacity == capacity:
                return self._released.pop(number)
        return Slot(self._arena(capacity))

    def reserve(self, slot: Slot, places: int) -> None:
        """Make room for `places` tokens, keeping what is there."""
        if places <= slot.capacity:
            return
        arena, row, keys, values, filled = (
            slot.arena, slot.row, slot.keys, slot.values, slot.capacity
        )  # fmt: skip
        slot._move_to(self._arena(self._capacity(places)))
        slot.keys[:, :, :filled] = keys
        slot.values[:, :, :filled] = values
        self._give_back(arena, row)

    def release(self, slot: Slot) -> None:
        """Keep the slot for a document to come, until memory is wanted."""
        self._released.append(slot)

    def clear(self) -> None:
        """Forget everything; slots that were given are no longer of this cache."""
        self._released.clear()
        self._arenas.clear()

    def _arena(self, capacity: int) -> Arena:
        """An arena with a free row. Released slots go before memory is taken, so they never add
        to the peak."""
        for arena in self._arenas:
            if arena.capacity == capacity and arena.free:
                return arena
        for slot in self._released:
            self._give_back(slot.arena, slot.row)
        self._released.clear()
        for arena in self._arenas:
            if arena.capacity == capacity and arena.free:
                return arena
        arena = Arena(self._shape, max(self._arena_tokens // capacity, 1), capacity, self._like)
        self._arenas.append(arena)
        return arena

    def _give_back(self, arena: Arena, row: int) -> None:
        arena.free.append(row)
        if len(arena.free) == arena.rows:
            self._arenas.remove(arena)

    def _capacity(self, places: int) -> int:
        """Exact to a step where slots have tensors of their own; else of a few sizes, a half apart
        at most, so that documents of about one length share an arena."""
        exact = -(-places // _STEP) * _STEP
        if not self._arena_tokens:
            return exact
        power = _STEP
        while power * 2 < exact:
            power *= 2
        return next(size for size in (power, power * 3 // 2, power * 2) if size >= exact)
