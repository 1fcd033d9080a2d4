"""Keys and values of the documents under way, each document's in a slot of its own.

Slots are rows of pools: tensors in which several rows of one capacity lie together, so that the
attention of many documents is one call on a GPU. Where a pool has a single row, every document
has tensors of its own.
"""

from __future__ import annotations

import torch
from torch import Tensor

_STEP = 128  # places that a capacity is a multiple of; the attention asks for keys by 64


class RowPool:
    """Keys and values of `rows` documents, each (layers, rows, kv heads, capacity, size).

    Zero at first: what a mask hides is multiplied by 0, and must be a number for that.
    """

    def __init__(self, shape: tuple[int, int, int], rows: int, capacity: int, like: Tensor) -> None:
        layers, heads, size = shape
        self.rows, self.capacity = rows, capacity
        self.keys, self.values = (
            like.new_zeros(layers, rows, heads, capacity, size) for _ in range(2)
        )
        self.free = list(range(rows))
        self.used: set[int] = set()


class Slot:
    """One document's keys and values, and the ids of the prompt that they are of."""

    def __init__(self, pool: RowPool) -> None:
        self.ids: list[int] = []
        self._move_to(pool)

    @property
    def capacity(self) -> int:
        return self.pool.capacity

    def _move_to(self, pool: RowPool) -> None:
        self.pool, self.row = pool, pool.free.pop(0)
        # (layers, kv heads, capacity, size)
        self.keys, self.values = pool.keys[:, self.row], pool.values[:, self.row]
        if self.row in pool.used:
            self.forget(0)
        pool.used.add(self.row)

    def forget(self, length: int) -> None:
        """Zero all beyond so many places: no number of another document stays behind the masks."""
        self.keys[:, :, length:] = 0
        self.values[:, :, length:] = 0


class KeyValueCache:
    """Gives slots and takes them back. `shape` is (layers, kv heads, size).

    A pool has as many rows as its size has already, within a fourth of `pool_tokens` places and
    all of them, one row at least: at most twice as many as are wanted, but for the first.
    """

    def __init__(self, shape: tuple[int, int, int], like: Tensor, pool_tokens: int = 0) -> None:
        self._shape, self._like, self._pool_tokens = shape, like, pool_tokens
        self.pools: list[RowPool] = []
        self._released: list[Slot] = []

    def slot(self, tokens: int) -> Slot:
        """A slot for a new document: a released one of just that size, with the prompt that it
        holds, or an empty one."""
        capacity = self._capacity(tokens)
        return self._released_slot(capacity) or Slot(self._pool(capacity))

    def _released_slot(self, capacity: int) -> Slot | None:
        for index, slot in enumerate(self._released):
            if slot.capacity == capacity:
                slot.forget(len(slot.ids))
                return self._released.pop(index)
        return None

    def reserve(self, slot: Slot, tokens: int) -> None:
        """Make room for `places` tokens, keeping what is there."""
        if tokens <= slot.capacity:
            return
        pool, row, keys, values, filled = (
            slot.pool, slot.row, slot.keys, slot.values, slot.capacity
        )  # fmt: skip
        slot._move_to(self._pool(self._capacity(tokens)))
        slot.keys[:, :, :filled] = keys
        slot.values[:, :, :filled] = values
        self._give_back(pool, row)

    def release(self, slot: Slot) -> None:
        """Keep the slot for a document to come, until memory is wanted."""
        self._released.append(slot)

    def clear(self) -> None:
        """Forget everything; slots that were given are not to be reserved or released any more."""
        self._released.clear()
        self.pools.clear()

    def _pool(self, capacity: int) -> RowPool:
        """A pool with a free row. Released slots go before memory is taken, so they never add
        to the peak."""
        pool = self._with_free_row(capacity)
        if pool is None and self._released:
            while self._released:
                self._give_back_slot(self._released.pop())
            pool = self._with_free_row(capacity)
        return self._new_pool(capacity) if pool is None else pool

    def _with_free_row(self, capacity: int) -> RowPool | None:
        fitting = (pool for pool in self.pools if pool.capacity == capacity and pool.free)
        return next(fitting, None)

    def _new_pool(self, capacity: int) -> RowPool:
        """One with fewer rows where the device has no memory for more."""
        alike = sum(pool.rows for pool in self.pools if pool.capacity == capacity)
        most = self._pool_tokens // capacity
        rows = max(min(max(alike, most // 4), most), 1)
        while True:
            try:
                pool = RowPool(self._shape, rows, capacity, self._like)
            except torch.OutOfMemoryError:
                if rows == 1:
                    raise
                rows //= 2
            else:
                self.pools.append(pool)
                return pool

    def _give_back_slot(self, slot: Slot) -> None:
        self._give_back(slot.pool, slot.row)

    def _give_back(self, pool: RowPool, row: int) -> None:
        pool.free.append(row)
        if len(pool.free) == pool.rows:
            self.pools.remove(pool)

    def _capacity(self, tokens: int) -> int:
        """Exact to a step where slots have tensors of their own; else of a few sizes, a half apart
        at most, so that documents of about one length share a pool."""
        exact = -(-tokens // _STEP) * _STEP
        if not self._pool_tokens:
            return exact
        power = _STEP
        while power * 2 < exact:
            power *= 2
        return next(size for size in (power, power * 3 // 2, power * 2) if size >= exact)
